//! Softirqs that are held up for a known time: it comes back, under their vector alone.

use crate::hold::{Held, Program, now, own_cpu, sleep_until, turn};
use crate::support::{Bench, elsewhere};
use insight_agent::model::kernel::{Durations, KernelSnapshot};
use insight_common::histogram::{EXPORT_POWER, bucket_of};
use insight_common::kernel::layout::Counter;
use insight_common::kernel::loss::Measurement;
use insight_common::kernel::softirq::Vector;
use insight_lab::skip::{SkipReason, skip};
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

const MS: u64 = 1_000_000;

/// How long a CPU is kept. All are told apart by a histogram's buckets, and none is long enough to be
/// noticed by the kernel as a lock-up or to use a real-time thread's share up.
const LENGTHS: [u64; 3] = [20 * MS, 34 * MS, 58 * MS];

/// A timer that ends while the CPU is kept.
const TIMER: Duration = Duration::from_millis(4);

/// How often each.
const ROUNDS: usize = 4;

/// A longer wait was injected.
const LONG: u64 = 10 * MS;

/// The CPU that is kept, and the other one.
const KEPT: usize = 1;
const FREE: usize = 0;

/// Datagrams that the other CPU receives meanwhile.
const MEANWHILE: u64 = 200;

/// Programs, and what holds softirqs up. **None**: skipped, and said so.
fn start(name: &str, load: fn() -> std::io::Result<Program>) -> Option<(Bench, Program)> {
    let bench = Bench::start(name, &[Measurement::SoftirqWait], |_| {})?;
    if std::thread::available_parallelism().unwrap().get() < 2 {
        skip(name, SkipReason::Missing("one CPU is kept, and another one goes on"));
        return None;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version: Vec<u32> = release.split(['.', '-']).take(2).map(|part| part.parse().unwrap()).collect();
    if version < vec![6, 9] {
        skip(name, SkipReason::Impossible("before 6.9 no program may loop until an instant"));
        return None;
    }
    Some((bench, load().unwrap()))
}

/// What came between two snapshots.
fn between(before: &KernelSnapshot, after: &KernelSnapshot, vector: Vector) -> Durations {
    let [after, before] = [after, before].map(|snapshot| snapshot.all_groups(vector.distribution()));
    after.since(&before).unwrap()
}

/// How many of `durations` may be from `least` to `most`: a bucket that holds either is counted.
fn within(durations: &Durations, least: u64, most: u64) -> u64 {
    let (first, last) = (bucket_of(least, EXPORT_POWER), bucket_of(most, EXPORT_POWER));
    durations.buckets.iter().skip(first).take(last - first + 1).sum()
}

/// How many of `durations` are longer than any but an injected one.
fn long(durations: &Durations) -> u64 {
    durations.buckets[bucket_of(LONG, EXPORT_POWER)..].iter().sum()
}

/// Lets the datagrams that reach this network namespace over loopback be received on `cpu`.
fn steer_to(cpu: usize) {
    // The folder of a device shows the namespace that it was mounted in.
    let script = format!(
        "mount -t sysfs sysfs /sys && echo {:x} > /sys/class/net/lo/queues/rx-0/rps_cpus",
        1_u32 << cpu
    );
    assert!(Command::new("unshare").args(["-m", "sh", "-c", &script]).status().unwrap().success());
}

/// A socket that receives, and one that sends to it.
fn pair() -> (UdpSocket, UdpSocket) {
    let (to, from) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    from.connect(to.local_addr().unwrap()).unwrap();
    to.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (to, from)
}

/// A wait as it was injected. **Unit**: ns.
#[derive(Debug, Clone, Copy)]
struct Injected {
    least: u64,
    most: u64,
    /// The datagram was there soon after the beginning: so it is known which wait it was.
    in_time: bool,
}

/// Disables softirqs on one CPU for `length`, and lets the other one send `datagrams` to it right after
/// the beginning, of which the first raises NET_RX there.
fn injected(program: &Program, length: u64, datagrams: u64, steered: &(UdpSocket, UdpSocket)) -> Injected {
    let plain = pair();
    let at = now() + 10 * MS;
    let (held, sent) = std::thread::scope(|threads| {
        let keeper = threads.spawn(|| {
            own_cpu(KEPT);
            sleep_until(at);
            program.run_until(at + length)
        });
        let sender = threads.spawn(|| {
            own_cpu(FREE);
            sleep_until(at + MS);
            let before = now();
            steered.1.send(&[0; 100]).unwrap();
            let after = now();
            (1..datagrams).for_each(|_| assert_eq!(steered.1.send(&[0; 100]).unwrap(), 100));
            // Nothing holds these up here: each is received while it is sent.
            for _ in 0..MEANWHILE {
                plain.1.send(&[0; 100]).unwrap();
                plain.0.recv(&mut [0; 100]).unwrap();
            }
            (before, after)
        });
        (keeper.join().unwrap(), sender.join().unwrap())
    });
    let Held { began, ended } = held;
    for _ in 0..datagrams {
        steered.0.recv(&mut [0; 100]).unwrap();
    }
    let in_time = began < sent.0 && sent.1 + length / 2 < ended;
    Injected { least: ended.saturating_sub(sent.1), most: ended - began, in_time }
}

/// Sockets whose datagrams are received on the CPU that is kept.
fn steered() -> (UdpSocket, UdpSocket) {
    elsewhere(|| {
        steer_to(KEPT);
        pair()
    })
}

/// Does what may fail because something else on this machine, such as another agent's tests, holds softirqs up
/// in the same moment: what is wrong with the programs is wrong each time.
fn at_most_thrice(work: impl Fn()) {
    for attempt in 1..3 {
        if catch_unwind(AssertUnwindSafe(&work)).is_ok() {
            return;
        }
        println!("attempt {attempt} of 3 was disturbed");
    }
    work();
}

#[test]
fn packets_for_a_cpu_with_softirqs_disabled_wait_as_long_as_they_are() {
    let name = "packets_for_a_cpu_with_softirqs_disabled_wait_as_long_as_they_are";
    let Some((bench, program)) = start(name, Program::to_run) else { return };
    let _turn = turn();
    at_most_thrice(|| {
        let steered = steered();
        let deadline = Instant::now() + Duration::from_secs(60);
        let (mut all, mut late) = (Vec::new(), 0);
        let before = bench.snapshot();
        for length in LENGTHS.into_iter().cycle().take(LENGTHS.len() * ROUNDS) {
            let mut wait = injected(&program, length, 1, &steered);
            while !wait.in_time {
                assert!(Instant::now() < deadline, "this machine was never in time");
                late += 1;
                wait = injected(&program, length, 1, &steered);
            }
            all.push((length, wait));
        }
        let after = bench.snapshot();
        let received = between(&before, &after, Vector::NetRx);
        for length in LENGTHS {
            let of = || all.iter().filter(|(of, _)| *of == length).map(|(_, wait)| wait);
            let (least, most) =
                (of().map(|it| it.least).min().unwrap(), of().map(|it| it.most).max().unwrap());
            let found = within(&received, least - least / 10, most + most / 10);
            println!("{length} ns: injected {least} to {most}, found {found}");
            let expected = ROUNDS as u64..=ROUNDS as u64 + late;
            assert!(expected.contains(&found), "{found} waits from {least} to {most} ns: {received:?}");
        }
        let injected: u64 = all.iter().map(|(_, wait)| wait.least).sum();
        println!("{injected} ns in all, measured {} ns in {}", received.sum_ns, received.count);
        assert!(received.sum_ns >= injected - injected / 10, "{} of {injected} ns", received.sum_ns);
        // Packets on the other CPU, meanwhile, and what was not raised on this one.
        let expected = all.len() as u64..=all.len() as u64 + late;
        assert!(expected.contains(&long(&received)), "{late} late: {received:?}");
        assert!(received.count >= MEANWHILE * all.len() as u64, "{received:?}");
        let sending = between(&before, &after, Vector::NetTx);
        assert_eq!(long(&sending), 0, "{sending:?}");
        assert!(after.lost.is_empty(), "{:?}", after.lost);
    });
}

#[test]
fn packets_that_were_held_up_exhaust_one_poll_for_each_of_its_budgets() {
    let name = "packets_that_were_held_up_exhaust_one_poll_for_each_of_its_budgets";
    let Some((bench, program)) = start(name, Program::to_run) else { return };
    let _turn = turn();
    at_most_thrice(|| {
        let weight = std::fs::read_to_string("/proc/sys/net/core/dev_weight").unwrap();
        let budget: u64 = weight.trim().parse().unwrap();
        let (steered, polls) = (steered(), 3);
        let exhausted = || bench.snapshot().count(Counter::NapiExhausted).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let before = exhausted();
        // One more than that: it is of the last poll, which is not used up.
        while !injected(&program, LENGTHS[0], polls * budget + 1, &steered).in_time {
            assert!(Instant::now() < deadline, "this machine was never in time");
        }
        let found = exhausted() - before;
        println!("{found} polls of {budget} packets");
        // One that was late is received as it comes. Bursts of others are no business of this test, but few.
        assert!((polls..2 * polls).contains(&found), "{found} polls for {polls}");
    });
}

#[test]
fn a_timer_waits_for_the_softirq_that_runs_before_it_and_packets_do_not() {
    let name = "a_timer_waits_for_the_softirq_that_runs_before_it_and_packets_do_not";
    let Some((bench, program)) = start(name, Program::to_filter) else { return };
    let _turn = turn();
    at_most_thrice(|| {
        let (filtered, sender) = pair();
        program.filter(&filtered);
        // It ends by a timer of the tick: sleeping would end by one of high resolution.
        let (timed, _) = pair();
        timed.set_read_timeout(Some(TIMER)).unwrap();
        let before = bench.snapshot();
        let length = LENGTHS[2];
        let mut all = Vec::new();
        for _ in 0..ROUNDS {
            let at = now() + 10 * MS;
            let wait = std::thread::scope(|threads| {
                threads.spawn(|| {
                    own_cpu(KEPT);
                    sleep_until(at);
                    assert!(timed.recv(&mut [0; 1]).is_err());
                });
                let keeper = threads.spawn(|| {
                    own_cpu(KEPT);
                    sleep_until(at + MS);
                    let began = now();
                    // Received where it is sent, before this returns: the filter keeps the CPU in NET_RX.
                    sender.send(&(began + length).to_ne_bytes()).unwrap();
                    now() - began
                });
                keeper.join().unwrap()
            });
            all.push(wait);
        }
        let after = bench.snapshot();
        let timers = between(&before, &after, Vector::Timer);
        // It is raised by a tick: of the timer's own time, which is rounded up, and the one after it.
        let tick = nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
        let late = 3 * tick.tv_nsec() as u64 + TIMER.as_nanos() as u64;
        let (least, most) = (length - late, *all.iter().max().unwrap());
        let found = within(&timers, least - least / 10, most + most / 10);
        println!("{all:?}: {found} timers from {least} to {most}");
        assert!(found >= ROUNDS as u64, "{found} timers waited from {least} to {most} ns: {timers:?}");
        for vector in [Vector::NetRx, Vector::NetTx] {
            let others = between(&before, &after, vector);
            assert_eq!(long(&others), 0, "{}: {others:?}", vector.name());
        }
        assert!(after.lost.is_empty(), "{:?}", after.lost);
    });
}
