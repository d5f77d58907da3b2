//! Connections that were open before the programs: measured from then on, on both ends.

use crate::support::{ANSWER, Bench, GROUP, REQUEST, assert_mean, connect, elsewhere};
use insight_agent::collect::kernel::settings::{Forwarders, Settings};
use insight_agent::model::kernel::KernelSnapshot;
use insight_common::kernel::exchange::QUIET_NS;
use insight_common::kernel::layout::{Distribution, Role};
use insight_common::kernel::loss::{Loss, Measurement};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

const DELAY: Duration = Duration::from_millis(30);
const WORK: Duration = Duration::from_millis(10);
const ROUNDS: u32 = 8;

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn seeded(snapshot: &KernelSnapshot, role: Role) -> u64 {
    snapshot.seeded.iter().find(|(of, _)| *of == role).unwrap().1
}

/// One request and its answer, the service taking its time before it reads. Gives how long it took
/// from outside.
fn exchange(near: &mut TcpStream, far: &mut TcpStream) -> Duration {
    let asked = Instant::now();
    near.write_all(&REQUEST).unwrap();
    std::thread::sleep(DELAY);
    far.read_exact(&mut [0; REQUEST.len()]).unwrap();
    far.write_all(&ANSWER).unwrap();
    near.read_exact(&mut [0; ANSWER.len()]).unwrap();
    asked.elapsed()
}

/// Longer than after which a connection owes nothing from before.
fn let_it_rest() {
    std::thread::sleep(Duration::from_nanos(QUIET_NS) + Duration::from_millis(20));
}

#[test]
fn a_connection_from_before_the_start_is_measured_on_both_ends_after_each_start() {
    let name = "a_connection_from_before_the_start_is_measured_on_both_ends_after_each_start";
    let wanted =
        [Measurement::SocketRtt, Measurement::ReceiveWait, Measurement::Turnaround, Measurement::Response];
    let mut listener = listen();
    let (mut near, mut far) = connect(&listener);
    exchange(&mut near, &mut far);
    for _start in 0..2 {
        let Some(bench) = Bench::start_on(listener, name, &wanted, |_| {}) else { return };
        bench.kernel.seeding().unwrap();
        let snapshot = bench.snapshot();
        assert!(Role::ALL.iter().all(|role| seeded(&snapshot, *role) >= 1), "{:?}", snapshot.seeded);
        let_it_rest();
        let mut seen = Duration::ZERO;
        for _ in 0..ROUNDS {
            seen += exchange(&mut near, &mut far);
            std::thread::sleep(Duration::from_millis(3));
        }
        for distribution in
            [Distribution::ReceiveWaitAccepted, Distribution::Turnaround, Distribution::Response]
        {
            // A thread that is held up between two steps of its own can make an exchange look crowded.
            let durations = bench.wait_for(distribution, u64::from(ROUNDS) - 2);
            assert!(durations.count <= u64::from(ROUNDS), "{distribution:?}: {}", durations.count);
            assert_mean(&durations, DELAY, seen / ROUNDS * 5 / 4);
        }
        bench.wait_for(Distribution::ReceiveWaitConnected, u64::from(ROUNDS));
        // Raw samples of both ends, which the kernel makes only where it is asked to.
        bench.wait_for(Distribution::RttConnected, 3);
        bench.wait_for(Distribution::RttAccepted, 3);
        listener = bench.listener;
    }
}

#[test]
fn what_was_under_way_at_the_start_is_not_measured_and_nothing_passes_for_an_opening() {
    let name = "what_was_under_way_at_the_start_is_not_measured_and_nothing_passes_for_an_opening";
    let wanted = [Measurement::ReceiveWait, Measurement::Turnaround, Measurement::Response];
    let listener = listen();
    let (mut near, mut far) = connect(&listener);
    near.write_all(&REQUEST).unwrap();
    // Only this process, so that losses are not of the whole host's reads.
    let alone = |settings: &mut Settings| settings.forwarders = Some(Forwarders::one(&[std::process::id()]));
    let Some(bench) = Bench::start_on(listener, name, &wanted, alone) else { return };
    far.read_exact(&mut [0; REQUEST.len()]).unwrap();
    far.write_all(&ANSWER).unwrap();
    near.read_exact(&mut [0; ANSWER.len()]).unwrap();
    for distribution in [Distribution::ReceiveWaitAccepted, Distribution::Turnaround, Distribution::Response]
    {
        assert_eq!(bench.count(distribution), 0, "{distribution:?}");
    }
    // The answer came after the start, and was waited for.
    assert_eq!(bench.wait_for(Distribution::ReceiveWaitConnected, 1).count, 1);
    assert_eq!(bench.snapshot().lost(Measurement::ReceiveWait, Loss::Unstamped), 0);
    let_it_rest();
    let seen = exchange(&mut near, &mut far);
    assert_mean(&bench.wait_for(Distribution::Turnaround, 1), DELAY, seen);
    assert_mean(&bench.wait_for(Distribution::Response, 1), DELAY, seen);
}

#[test]
fn a_forwarders_old_connections_show_its_residence_both_ways() {
    let name = "a_forwarders_old_connections_show_its_residence_both_ways";
    let (upstream, listener) = (listen(), listen());
    let (mut up, mut service) = connect(&upstream);
    let (mut client, mut down) = connect(&listener);
    let port = upstream.local_addr().unwrap().port();
    let started = Bench::start_on(listener, name, &[Measurement::Residence], |settings| {
        settings.forwarders = Some(Forwarders::one(&[std::process::id()]));
        settings.peers[0].ports.push(port);
    });
    let Some(bench) = started else { return };
    let serving = std::thread::spawn(move || {
        while service.read_exact(&mut [0; REQUEST.len()]).is_ok() {
            service.write_all(&ANSWER).unwrap();
        }
    });
    let forwarding = std::thread::spawn(move || {
        while down.read_exact(&mut [0; REQUEST.len()]).is_ok() {
            let until = Instant::now() + WORK;
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            up.write_all(&REQUEST).unwrap();
            up.read_exact(&mut [0; ANSWER.len()]).unwrap();
            down.write_all(&ANSWER).unwrap();
        }
    });
    let asked = Instant::now();
    for _ in 0..ROUNDS {
        client.write_all(&REQUEST).unwrap();
        client.read_exact(&mut [0; ANSWER.len()]).unwrap();
    }
    let seen = asked.elapsed() / ROUNDS;
    drop(client);
    forwarding.join().unwrap();
    serving.join().unwrap();
    let going_up = bench.wait_for(Distribution::ResidenceUp, u64::from(ROUNDS) - 1);
    assert_mean(&going_up, WORK, seen);
    let going_down = bench.wait_for(Distribution::ResidenceDown, u64::from(ROUNDS) - 1);
    assert!(going_down.mean_ns().unwrap() < going_up.mean_ns().unwrap(), "the way back does no work");
}

#[test]
fn only_sockets_in_the_scope_are_seeded() {
    let name = "only_sockets_in_the_scope_are_seeded";
    let listener = listen();
    let (mut near, mut far) = connect(&listener);
    let elsewhere = |settings: &mut Settings| settings.scope.namespaces = vec![1];
    let Some(bench) = Bench::start_on(listener, name, &[Measurement::ReceiveWait], elsewhere) else { return };
    bench.kernel.seeding().unwrap();
    assert_eq!(bench.snapshot().seeded, Role::ALL.map(|role| (role, 0)));
    near.write_all(&REQUEST).unwrap();
    far.read_exact(&mut [0; REQUEST.len()]).unwrap();
    assert!(!bench.snapshot().durations.keys().any(|(_, group)| group.peer == GROUP));
}

/// Starts with the caller's namespace, in which `listener` is, as the scope, out of the first one.
/// None: skipped.
fn start_outside(listener: TcpListener, name: &str, wanted: &[Measurement]) -> Option<Bench> {
    let inum = File::open("/proc/thread-self/ns/net").unwrap().metadata().unwrap().ino() as u32;
    let path = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
    let start = || {
        let first = File::open("/proc/self/ns/net").unwrap();
        nix::sched::setns(first, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        Bench::start_on(listener, name, wanted, |settings| {
            settings.scope.namespaces = vec![inum];
            settings.scope.namespace_paths = vec![path.into()];
        })
    };
    let bench = std::thread::scope(|threads| threads.spawn(start).join().unwrap())?;
    bench.kernel.seeding().unwrap();
    Some(bench)
}

#[test]
fn old_connections_of_another_namespace_of_the_scope_are_found_there() {
    let name = "old_connections_of_another_namespace_of_the_scope_are_found_there";
    elsewhere(|| {
        let listener = listen();
        let (mut near, mut far) = connect(&listener);
        let Some(bench) = start_outside(listener, name, &[Measurement::ReceiveWait]) else { return };
        assert_eq!(bench.snapshot().seeded, Role::ALL.map(|role| (role, 1)), "one of either end");
        near.write_all(&REQUEST).unwrap();
        far.read_exact(&mut [0; REQUEST.len()]).unwrap();
        assert_eq!(bench.wait_for(Distribution::ReceiveWaitAccepted, 1).count, 1);
    });
}

#[test]
fn with_more_listeners_than_can_be_kept_no_role_is_guessed() {
    const KEPT: usize = 1_024;
    let name = "with_more_listeners_than_can_be_kept_no_role_is_guessed";
    elsewhere(|| {
        let listeners: Vec<_> = (0..KEPT + 6).map(|_| listen()).collect();
        let open: Vec<_> = listeners.iter().map(connect).collect();
        let Some(bench) = start_outside(listen(), name, &[Measurement::ReceiveWait]) else { return };
        let snapshot = bench.snapshot();
        assert_eq!(seeded(&snapshot, Role::Connected), 0, "{:?}", snapshot.seeded);
        // The programs' own listener, without a connection, may be one of those that are kept.
        let accepted = seeded(&snapshot, Role::Accepted);
        assert!((KEPT as u64 - 1..=KEPT as u64).contains(&accepted), "{:?}", snapshot.seeded);
        let left_out = open.len() as u64 * 2 - accepted;
        let listeners = listeners.len() as u64 + 1 - KEPT as u64;
        assert_eq!(snapshot.lost(Measurement::Sockets, Loss::MapFull), left_out + listeners);
    });
}

#[test]
fn a_namespace_that_cannot_be_entered_fails_the_seeding_and_no_measurement() {
    let name = "a_namespace_that_cannot_be_entered_fails_the_seeding_and_no_measurement";
    let gone = |settings: &mut Settings| {
        let own = std::fs::metadata("/proc/self/ns/net").unwrap().ino() as u32;
        settings.scope.namespaces = vec![own];
        settings.scope.namespace_paths = vec!["/proc/self/ns/gone".into(), "/proc/self/ns/net".into()];
    };
    let listener = listen();
    let _open = connect(&listener);
    let Some(bench) = Bench::start_on(listener, name, &[Measurement::ReceiveWait], gone) else { return };
    let problem = bench.kernel.seeding().unwrap_err();
    assert!(problem.detail.contains("/proc/self/ns/gone"), "{problem:?}");
    assert!(seeded(&bench.snapshot(), Role::Accepted) >= 1, "the other namespace has been walked");
    let (mut near, mut far) = bench.connect();
    near.write_all(&REQUEST).unwrap();
    far.read_exact(&mut [0; REQUEST.len()]).unwrap();
    bench.wait_for(Distribution::ReceiveWaitAccepted, 1);
}

/// Printed for the journal: `cargo test -p insight-agent --test kernel seeding_takes -- --nocapture`.
#[test]
fn seeding_takes_little_for_many_sockets() {
    const PAIRS: usize = 400;
    let listener = listen();
    let open: Vec<_> = (0..PAIRS).map(|_| connect(&listener)).collect();
    let name = "seeding_takes_little_for_many_sockets";
    let wanted = [Measurement::SocketRtt, Measurement::ReceiveWait];
    let Some(bench) = Bench::start_on(listener, name, &wanted, |_| {}) else { return };
    let took = bench.kernel.seeding().unwrap();
    let snapshot = bench.snapshot();
    println!("{took:?} for {:?}", snapshot.seeded);
    assert!(Role::ALL.iter().all(|role| seeded(&snapshot, *role) >= PAIRS as u64), "{:?}", snapshot.seeded);
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(open);
}
