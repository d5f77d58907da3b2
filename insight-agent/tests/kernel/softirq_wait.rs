//! Softirqs under load: every run is measured, under its own vector, and a busy one holds up others.

use crate::support::{Bench, elsewhere};
use insight_common::kernel::layout::{Counter, Distribution};
use insight_common::kernel::loss::Measurement;
use insight_common::kernel::softirq::Vector;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs so far by the kernel's own count, over all CPUs.
fn runs() -> BTreeMap<String, u64> {
    let table = std::fs::read_to_string("/proc/softirqs").unwrap();
    let row = |line: &str| {
        let (name, counts) = line.trim().split_once(':')?;
        let counts = counts.split_whitespace().map(|count| count.parse::<u64>().unwrap());
        Some((name.to_lowercase(), counts.sum()))
    };
    table.lines().filter_map(row).collect()
}

/// Sends over the loopback device until the time is up: each datagram is received in a softirq.
fn send_for(time: Duration) {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let until = Instant::now() + time;
    while Instant::now() < until {
        for _ in 0..100 {
            sender.send_to(&[0; 100], receiver.local_addr().unwrap()).unwrap();
            receiver.recv(&mut [0; 100]).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_run_of_a_softirq_is_a_sample_of_its_vector() {
    let name = "every_run_of_a_softirq_is_a_sample_of_its_vector";
    let Some(bench) = Bench::start(name, &[Measurement::SoftirqWait], |_| {}) else { return };
    let started = Instant::now();
    let (counted, before) = (runs(), bench.snapshot());
    send_for(Duration::from_secs(2));
    let (after, counted_after) = (bench.snapshot(), runs());
    let seen = started.elapsed();
    let cpus = std::thread::available_parallelism().unwrap().get() as u32;
    for vector in Vector::ALL {
        let of = |snapshot: &insight_agent::model::kernel::KernelSnapshot| {
            snapshot.all_groups(vector.distribution())
        };
        let measured = of(&after).since(&of(&before)).unwrap();
        let ran = counted_after[vector.name()] - counted[vector.name()];
        println!(
            "{:8} {ran:>7} runs {:>7} samples, mean {:?} ns",
            vector.name(),
            measured.count,
            measured.mean_ns()
        );
        // Some runs lie between the readings.
        let tolerance = 50 + ran / 20;
        assert!(measured.count.abs_diff(ran) <= tolerance, "{}: {} of {ran}", vector.name(), measured.count);
        assert!(Duration::from_nanos(measured.sum_ns) <= seen * cpus, "{}: {measured:?}", vector.name());
    }
    let received = after.all_groups(Distribution::SoftirqNetRx);
    assert!(received.count > 10_000 && received.mean_ns().unwrap() > 0.0, "{received:?}");
    assert!(after.lost.is_empty(), "{:?}", after.lost);
}

#[test]
fn a_burst_that_a_poll_has_no_budget_for_is_counted() {
    let name = "a_burst_that_a_poll_has_no_budget_for_is_counted";
    elsewhere(|| {
        let Some(bench) = Bench::start(name, &[Measurement::SoftirqWait], |_| {}) else { return };
        let exhausted = || bench.snapshot().count(Counter::NapiExhausted).unwrap();
        // A segment is a packet of its own, and what acknowledgements let go arrives while the device
        // is being polled: soon more than the 64 packets that one poll may take.
        let small = ["link", "set", "lo", "mtu", "1500", "gso_max_segs", "1"];
        assert!(Command::new("ip").args(small).status().unwrap().success());
        let before = exhausted();
        let (mut near, mut far) = bench.connect();
        let reader = std::thread::spawn(move || std::io::copy(&mut far, &mut std::io::sink()));
        let deadline = Instant::now() + Duration::from_secs(10);
        while exhausted() == before {
            assert!(Instant::now() < deadline, "no burst was more than a poll may take");
            near.write_all(&[0; 1 << 20]).unwrap();
        }
        drop(near);
        reader.join().unwrap().unwrap();
    });
}
