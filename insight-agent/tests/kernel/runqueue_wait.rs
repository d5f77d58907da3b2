//! A thread that shares its CPU with spinners, and what the kernel's own account says of it.

use crate::support::Bench;
use insight_agent::collect::kernel::settings::Forwarders;
use insight_agent::model::kernel::Durations;
use insight_common::kernel::layout::Distribution;
use insight_common::kernel::loss::Measurement;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Enough beside the thread for a wait of several ticks.
const SPINNERS: usize = 6;

const WINDOW: Duration = Duration::from_secs(3);

/// Keeps a thread on the first CPU; 0 is the calling one.
fn pin(thread: i32) {
    let mut first = CpuSet::new();
    first.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(thread), &first).unwrap();
}

/// Processes that do nothing but use the first CPU; end with the test.
struct Spinners(Vec<Child>);

impl Spinners {
    fn start() -> Self {
        let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let spinners = Self((0..SPINNERS).map(|_| spin()).collect());
        spinners.0.iter().for_each(|spinner| pin(spinner.id() as i32));
        spinners
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for spinner in &mut self.0 {
            // They end by this alone.
            let _ = spinner.kill();
            let _ = spinner.wait();
        }
    }
}

/// What the scheduler has on account of this process's threads: how long they waited for a CPU, and
/// how often they got one.
fn account() -> (Duration, u64) {
    let (mut waited, mut times) = (Duration::ZERO, 0);
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let line = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        let fields: Vec<u64> = line.split_whitespace().map(|field| field.parse().unwrap()).collect();
        waited += Duration::from_nanos(fields[1]);
        times += fields[2];
    }
    (waited, times)
}

fn waits(bench: &Bench) -> Durations {
    bench.snapshot().all_groups(Distribution::RunqueueWait)
}

/// Works on the first CPU in short turns until the window is over; gives what was measured of this
/// process, and what is on its account.
fn work(bench: &Bench) -> (Durations, Duration, u64) {
    let (ready, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let thread = {
        let (ready, over) = (Arc::clone(&ready), Arc::clone(&over));
        std::thread::spawn(move || {
            pin(0);
            ready.store(true, Ordering::Release);
            while !over.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(1));
                let until = Instant::now() + Duration::from_millis(1);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            }
        })
    };
    while !ready.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (before, (waited, times)) = (waits(bench), account());
    std::thread::sleep(WINDOW);
    let (after, (waited_after, times_after)) = (waits(bench), account());
    over.store(true, Ordering::Release);
    thread.join().unwrap();
    (after.since(&before).unwrap(), waited_after - waited, times_after - times)
}

fn start(name: &str) -> Option<Bench> {
    Bench::start(name, &[Measurement::RunqueueWait], |settings| {
        settings.forwarders = Some(Forwarders::one(&[std::process::id()]));
    })
}

#[test]
fn a_thread_among_spinners_waits_as_long_as_the_schedulers_own_account_says() {
    let name = "a_thread_among_spinners_waits_as_long_as_the_schedulers_own_account_says";
    let Some(bench) = start(name) else { return };
    let spinners = Spinners::start();
    // One that had no CPU when it was entered is lost once, when it gets one.
    std::thread::sleep(Duration::from_millis(300));
    let lost = bench.snapshot().lost;
    let (measured, waited, times) = work(&bench);
    drop(spinners);
    assert!(waited > WINDOW / 4, "the spinners take the CPU: {waited:?}");
    let seen = Duration::from_nanos(measured.sum_ns);
    assert!(seen > waited.mul_f64(0.9) && seen < waited.mul_f64(1.1), "{seen:?} of {waited:?}");
    // A few switches lie between the two readings.
    assert!(measured.count.abs_diff(times) <= 20 + times / 20, "{} waits of {times}", measured.count);
    let longest = measured.quantile_ns(1.0).unwrap();
    assert!(longest > 1e6, "at least one tick: {longest} ns");
    assert_eq!(bench.snapshot().lost, lost, "once every thread has been seen, nothing is lost");
}

#[test]
fn threads_of_other_processes_are_not_in_it() {
    let name = "threads_of_other_processes_are_not_in_it";
    let Some(mut bench) = start(name) else { return };
    let spinners = Spinners::start();
    bench.kernel.set_forwarders(&Forwarders::one(&[])).unwrap();
    let (nobody, waited, _) = work(&bench);
    assert!(waited > WINDOW / 4, "{waited:?}");
    assert_eq!((nobody.count, nobody.sum_ns), (0, 0));
    let spinner = spinners.0[0].id();
    bench.kernel.set_forwarders(&Forwarders::one(&[spinner])).unwrap();
    let (measured, ..) = work(&bench);
    // Its waits come one after the other, so there is no room for those of a second process.
    assert!(Duration::from_nanos(measured.sum_ns) < WINDOW + WINDOW / 4, "{:?}", measured.sum_ns);
    assert!(Duration::from_nanos(measured.sum_ns) > WINDOW / 4, "{:?}", measured.sum_ns);
}

/// What a process that counts waits for a CPU after it has done `then`, which begins a child of it that
/// competes with the spinners, while the process itself sleeps.
fn waits_of_a_child(name: &str, then: &str) -> Option<Duration> {
    let mut bench = start(name)?;
    let _spinners = Spinners::start();
    let script = format!("read begin; {then} & read end; kill $!");
    let mut parent = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    pin(parent.id() as i32);
    bench.kernel.set_forwarders(&Forwarders::one(&[parent.id()])).unwrap();
    let mut input = parent.stdin.take().unwrap();
    let before = waits(&bench);
    input.write_all(b"\n").unwrap();
    std::thread::sleep(WINDOW);
    let measured = waits(&bench).since(&before).unwrap();
    input.write_all(b"\n").unwrap();
    parent.wait().unwrap();
    Some(Duration::from_nanos(measured.sum_ns))
}

#[test]
fn a_worker_that_a_forwarder_forks_counts_before_the_next_look_for_it() {
    let name = "a_worker_that_a_forwarder_forks_counts_before_the_next_look_for_it";
    let Some(waited) = waits_of_a_child(name, "(while :; do :; done)") else { return };
    assert!(waited > WINDOW / 4, "{waited:?}");
}

#[test]
fn another_program_that_a_forwarder_starts_does_not_count() {
    let name = "another_program_that_a_forwarder_starts_does_not_count";
    let Some(waited) = waits_of_a_child(name, "sh -c 'while :; do :; done'") else { return };
    assert!(waited < WINDOW / 4, "{waited:?}");
}
