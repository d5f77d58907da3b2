//! The running kernel's own files: this test is the forwarder.

use insight_agent::collect::host::{HostReader, HostSettings, Root, detect};
use insight_agent::model::host::Selector;
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// A listener on a port that nobody else has, and a selector that knows nothing else.
fn listening() -> (TcpListener, Selector) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Selector { name: "test".into(), port: Some(port), ..Selector::default() })
}

#[test]
fn a_process_is_found_by_the_port_that_it_listens_on_and_not_after() {
    let (listener, selector) = listening();
    let root = Root::default();
    assert_eq!(detect(&root, std::slice::from_ref(&selector)).pids, [vec![std::process::id()]]);
    drop(listener);
    assert_eq!(detect(&root, &[selector]).pids, [Vec::<u32>::new()]);
}

#[test]
fn what_a_process_burns_is_what_its_counters_gain() {
    let (_listener, selector) = listening();
    let settings =
        HostSettings { selectors: vec![selector], node_metrics: false, period: Duration::from_secs(5) };
    let mut reader = HostReader::new(Root::default(), settings);
    let start = Instant::now();
    let before = reader.read(start).forwarders.remove(0).totals.unwrap();
    // By the process' own clock: on a busy machine it takes longer.
    let mut burnt = Duration::ZERO;
    let clock = || {
        let line = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(line.split(' ').next().unwrap().parse().unwrap())
    };
    let began = clock();
    while burnt < Duration::from_millis(300) {
        burnt = clock() - began;
    }
    let after = reader.read(Instant::now()).forwarders.remove(0);
    let totals = after.totals.unwrap();
    let gained = (totals.user + totals.system) - (before.user + before.system);
    // Other tests of this process burn too, on every CPU that there is; ticks are 10 ms.
    let most = start.elapsed() * std::thread::available_parallelism().unwrap().get() as u32;
    let slack = Duration::from_millis(30);
    assert!((burnt - slack..=most + slack).contains(&gained), "{gained:?} of {burnt:?} to {most:?}");
    assert!(after.threads.iter().any(|thread| thread.tid == std::process::id()));
    let busy = after.allowed_busy.unwrap();
    assert!(busy > 0.0 && busy <= 1.0, "{busy}");
}
