//! A queue that lets packets out at a known rate: each waits as long as those before it take.

use crate::support::{Bench, elsewhere};
use insight_agent::collect::kernel::Kernel;
use insight_agent::collect::kernel::settings::{Device, Settings};
use insight_agent::model::kernel::{Durations, Reason, State};
use insight_common::kernel::layout::Distribution;
use insight_common::kernel::loss::{Loss, Measurement};
use nix::sys::socket::{setsockopt, sockopt};
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

/// 20 Mbit/s. **Unit**: bytes per second.
const RATE: f64 = 2_500_000.0;
/// What may leave at once. **Unit**: bytes.
const BURST: f64 = 32.0 * 1_024.0;
const PACKETS: u32 = 200;
const PAYLOAD: usize = 1_000;
/// With the headers of UDP, IPv4 and Ethernet.
const LENGTH: f64 = (PAYLOAD + 8 + 20 + 14) as f64;

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{command}");
}

/// Sends over a device, to an address at its other end.
fn send(address: &str, packets: u32) {
    let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
    // The wait shall be in the device's queue, not in front of the socket's full buffer.
    setsockopt(&sender, sockopt::SndBufForce, &(4 << 20)).unwrap();
    for _ in 0..packets {
        sender.send_to(&[0; PAYLOAD], (address, 9)).unwrap();
    }
}

fn of(bench: &Bench, distribution: Distribution, device: u8) -> Durations {
    bench.snapshot().of_peer(distribution, device).unwrap_or_default()
}

#[test]
fn packets_behind_a_shaper_wait_as_long_as_its_rate_says_and_neighbours_do_not() {
    let name = "packets_behind_a_shaper_wait_as_long_as_its_rate_says_and_neighbours_do_not";
    elsewhere(|| {
        for (device, other, net) in
            [("slow", "slow-far", 1), ("fast", "fast-far", 2), ("none", "none-far", 3)]
        {
            run(&format!("ip link add {device} type veth peer name {other}"));
            run(&format!("ip addr add 10.9.{net}.1/24 dev {device}"));
            run(&format!("ip link set {other} up"));
            run(&format!("ip link set {device} up"));
            run(&format!("ip neigh add 10.9.{net}.2 lladdr 02:00:00:00:00:01 dev {device}"));
        }
        run("tc qdisc add dev slow root tbf rate 20mbit burst 32k latency 200ms");
        let devices = |settings: &mut Settings| {
            settings.devices = ["fast", "slow"].map(Device::find).to_vec();
        };
        let Some(bench) = Bench::start(name, &[Measurement::QdiscWait], devices) else { return };
        let [fast, slow] = [1, 2];
        let had = [fast, slow].map(|device| of(&bench, Distribution::QdiscWait, device));
        let (started, count) = (Instant::now(), u64::from(PACKETS));
        send("10.9.1.2", PACKETS);
        let sending = started.elapsed();
        send("10.9.2.2", PACKETS);
        send("10.9.3.2", PACKETS);
        let deadline = started + Duration::from_secs(10);
        let waited =
            |device: u8, had: &Durations| of(&bench, Distribution::QdiscWait, device).since(had).unwrap();
        // The kernel leaves a program out that it would run within itself, as where a softirq interrupts a
        // sender, and counts that.
        let missed = || bench.kernel.costs().iter().map(|cost| cost.recursion_misses).sum::<u64>();
        while waited(slow, &had[1]).count + missed() < count && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = started.elapsed().as_secs_f64();
        let (measured, neighbour, missed) = (waited(slow, &had[1]), waited(fast, &had[0]), missed());
        assert!(missed <= count / 5, "{missed} runs left out");
        // A few of IPv6's own may come between.
        let counts = count - missed..count + 20;
        let lost = bench.snapshot().lost;
        assert!(
            counts.contains(&measured.count),
            "{} of {count}, {missed} left out: {lost:?}",
            measured.count
        );
        assert!(counts.contains(&neighbour.count), "{} of {count}, {missed} left out", neighbour.count);
        let wait = |packet: u32| (f64::from(packet + 1) * LENGTH - BURST).max(0.0) / RATE;
        let expected: f64 = (0..PACKETS).map(wait).sum();
        // Sent one after the other, not at once; and no packet waits for longer than the test saw.
        let told = (count - missed) as f64 / count as f64;
        let least = expected * 0.9 * told - sending.as_secs_f64() * f64::from(PACKETS) / 2.0;
        let sum = measured.sum_ns as f64 / 1e9;
        println!("waited {sum} s in all, expected {expected} s, sent in {sending:?}");
        assert!(least > expected / 2.0, "sending took too long to tell: {sending:?}");
        assert!(
            (least..expected * 1.1 + 0.01 * f64::from(PACKETS)).contains(&sum),
            "{sum} s of {expected} s"
        );
        assert!(measured.quantile_ns(1.0).unwrap() / 1e9 <= took * 1.07, "{measured:?} in {took} s");
        assert!(neighbour.mean_ns().unwrap() < 1e6, "nothing holds up the other: {neighbour:?}");
        let driver = of(&bench, Distribution::DriverXmit, slow);
        assert!(driver.count >= count - missed && driver.mean_ns().unwrap() < 1e6, "{driver:?}");
        assert_eq!(bench.snapshot().lost(Measurement::QdiscWait, Loss::MapFull), 0);
        assert_eq!(bench.snapshot().lost(Measurement::QdiscWait, Loss::Unstamped), 0);
    });
}

#[test]
fn without_a_device_that_is_here_it_is_disabled_and_says_which() {
    let start = |devices: Vec<Device>| {
        Kernel::start(&Settings {
            measurements: vec![Measurement::QdiscWait],
            devices,
            ..Settings::default()
        })
    };
    let none = start(vec![]);
    assert_eq!(none.state(Measurement::QdiscWait), State::Disabled(Reason::NoDevice));
    let gone = start(vec![Device::find("eth-gone")]);
    let problem = gone.problem(Measurement::QdiscWait).unwrap();
    assert_eq!(problem.state, State::Disabled(Reason::NoDevice));
    assert!(problem.detail.contains("eth-gone"), "{}", problem.detail);
}
