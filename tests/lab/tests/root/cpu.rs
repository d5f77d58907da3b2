//! Faults in one node's own CPU time.

use crate::path::call_from_eu;
use crate::{options, root_lab, start, wait_until};
use insight_lab::{Fault, Isolation, Lab, NodePlace};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process that spins a little and sleeps a little, in a node's place: what a forwarder does.
/// Its scheduling delay is what the kernel accounts in `/proc/PID/schedstat`.
struct Probe(Child);

impl Probe {
    fn start(place: &NodePlace) -> Probe {
        let cpus: Vec<String> = place.cpus.iter().map(ToString::to_string).collect();
        // `cat` waits for its pipe and writes: a wake-up per line, with hardly any work.
        let child = Command::new(crate::lab_binary())
            .args(["launch", "--parent", &std::process::id().to_string(), "--signal", "kill"])
            .arg("--cgroup")
            .arg(&place.cpu_cgroup)
            .args(["--cpus", &cpus.join(","), "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the probe has become `cat`", || {
            fs::read_to_string(format!("/proc/{}/comm", child.id())).is_ok_and(|comm| comm.trim() == "cat")
        });
        Probe(child)
    }

    /// The mean delay from wake-up to running, in milliseconds, of three rounds in ascending
    /// order: what else this machine does moves some of them, not all.
    fn delays_ms(&mut self) -> [f64; 3] {
        let mut rounds = [(); 3].map(|()| self.delay_ms());
        rounds.sort_by(f64::total_cmp);
        rounds
    }

    fn delay_ms(&mut self) -> f64 {
        let (waited, runs) = self.schedstat();
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            self.0.stdin.as_mut().unwrap().write_all(b"wake up\n").unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        let (waited_after, runs_after) = self.schedstat();
        assert!(runs_after > runs, "it never ran");
        (waited_after - waited) as f64 / 1e6 / (runs_after - runs) as f64
    }

    /// Nanoseconds waited for the CPU, and the number of times it got it.
    fn schedstat(&self) -> (u64, u64) {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.0.id())).unwrap();
        let fields: Vec<u64> = text.split_ascii_whitespace().map(|field| field.parse().unwrap()).collect();
        (fields[1], fields[2])
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn members(group: &Path) -> usize {
    fs::read_to_string(group.join("cgroup.procs")).unwrap().lines().count()
}

#[test]
fn spinners_delay_what_runs_beside_them_and_end_with_the_fault() {
    if !root_lab("cpu::spinners_delay_what_runs_beside_them_and_end_with_the_fault") {
        return;
    }
    let mut lab = start(options());
    let place = lab.place("mediary-a").unwrap().clone();
    let before = members(&place.cpu_cgroup);
    let mut probe = Probe::start(&place);
    let [quiet, ..] = probe.delays_ms();
    lab.inject(&Fault::MediaryABusy(6)).unwrap();
    let [.., busy] = probe.delays_ms();
    assert_eq!(members(&place.cpu_cgroup), before + 2, "the spinners and the probe are there");
    // Some 20 times, on an idle machine. A probe that computed more would wait for longer.
    assert!(busy > 0.3 && busy > 3.0 * quiet, "6 spinners raise {quiet} ms to {busy} ms only");
    assert_eq!(call_from_eu(&lab).unwrap().grpc_status(), Some(0), "slower, but it works");
    lab.clear(&Fault::MediaryABusy(1)).unwrap();
    assert_eq!(members(&place.cpu_cgroup), before + 1, "gone with the fault");
    let [again, ..] = probe.delays_ms();
    assert!(again < busy / 2.0, "still {again} ms after {busy} ms");
    drop(probe);
    lab.stop().unwrap();
}

/// `nr_throttled` of a group, of either version.
fn throttled(group: &Path) -> u64 {
    let stat = fs::read_to_string(group.join("cpu.stat")).unwrap();
    let line = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
    line.unwrap_or_else(|| panic!("no nr_throttled in {stat}")).parse().unwrap()
}

#[test]
fn a_quota_throttles_the_node_and_no_other_until_it_is_cleared() {
    if !root_lab("cpu::a_quota_throttles_the_node_and_no_other_until_it_is_cleared") {
        return;
    }
    let mut lab = start(options());
    let [a, b] = ["mediary-a", "mediary-b"].map(|node| lab.place(node).unwrap().cpu_cgroup.clone());
    lab.inject(&Fault::MediaryAThrottled(Duration::from_millis(20))).unwrap();
    // Calls alone use too little: something has to want more than the quota.
    lab.inject(&Fault::MediaryABusy(1)).unwrap();
    wait_until("five periods are throttled", || throttled(&a) >= 5);
    assert_eq!(throttled(&b), 0);
    assert_eq!(lab.faults().len(), 2);
    lab.clear(&Fault::MediaryAThrottled(Duration::ZERO)).unwrap();
    let last = throttled(&a);
    std::thread::sleep(Duration::from_millis(500));
    // One period may have been under way.
    assert!(throttled(&a) <= last + 1, "throttled on, after it was cleared");
    lab.stop().unwrap();
}

#[test]
fn without_namespaces_these_faults_are_refused() {
    let mut options = options();
    options.isolation = Isolation::Loopback;
    let mut lab = Lab::start(options).unwrap();
    for fault in [Fault::MediaryABusy(6), Fault::MediaryAThrottled(Duration::from_millis(20))] {
        let refused = lab.inject(&fault).unwrap_err().to_string();
        assert!(refused.contains("namespaces") && refused.contains(fault.name()), "{refused}");
    }
    assert!(lab.faults().is_empty());
}
