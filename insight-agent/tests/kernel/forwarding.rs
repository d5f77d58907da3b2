//! Forwarders in a process of their own, so that every write that is counted is theirs: one that
//! works between reading and writing, and one that waits on a runtime that moves its tasks.
//!
//! The test's own program is that process, started for the same test with [`SERVICE`] set.

use crate::support::{ANSWER, Bench, GROUP, REQUEST, assert_mean};
use insight_agent::collect::kernel::settings::{Forwarders, Settings};
use insight_agent::model::kernel::{LEAST_PAIRED_SHARE, paired_share};
use insight_common::kernel::layout::{Counter, Distribution, Group, NOBODY, PEER_OTHER};
use insight_common::kernel::loss::Measurement;
use insight_common::kernel::turn::{Direction, PairOutcome};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Tells a forwarder its upstream: a port of 127.0.0.1.
const SERVICE: &str = "INSIGHT_TEST_SERVICE_PORT";

/// Tells a forwarder to take longer.
const SLOWER: &str = "INSIGHT_TEST_SLOWER";

/// What a forwarder says before the port that it listens on.
const LISTENING: &str = "forwarder listens on ";

const WORK: Duration = Duration::from_millis(10);

/// The same of a forwarder that is slower.
const MORE_WORK: Duration = Duration::from_millis(30);

/// Longer than a busy machine keeps a thread from running, so that a figure of this length could
/// only come from a pair that spans the wait.
const WAIT: Duration = Duration::from_millis(60);

/// Where a forwarder's process finds its upstream. **None**: this is the test itself.
fn service() -> Option<SocketAddr> {
    let port = std::env::var(SERVICE).ok()?.parse().unwrap();
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// The forwarder's end of the two connections, once the test has connected.
fn accept(listener: &TcpListener, service: SocketAddr) -> (TcpStream, TcpStream) {
    let (down, _) = listener.accept().unwrap();
    let up = TcpStream::connect(service).unwrap();
    for end in [&down, &up] {
        end.set_nodelay(true).unwrap();
    }
    (down, up)
}

fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("\n{LISTENING}{}", listener.local_addr().unwrap().port());
    listener
}

/// Works between reading and writing, for one connection after the other.
fn serve(service: SocketAddr, work: Duration) {
    let listener = listen();
    loop {
        let (mut down, mut up) = accept(&listener, service);
        while down.read_exact(&mut [0; REQUEST.len()]).is_ok() {
            let until = Instant::now() + work;
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            up.write_all(&REQUEST).unwrap();
            up.read_exact(&mut [0; ANSWER.len()]).unwrap();
            down.write_all(&ANSWER).unwrap();
        }
    }
}

/// The forwarder's process; ends with the test.
struct Forwarder {
    process: Child,
    port: u16,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // It may have ended by itself, with its last connection.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Forwarder {
    /// Starts this program again, for the test `name` alone.
    fn start(name: &str, service: u16) -> Self {
        Self::start_with(name, service, &[])
    }

    /// The same, with more in its environment.
    fn start_with(name: &str, service: u16, more: &[(&str, &str)]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([&format!("forwarding::{name}"), "--exact", "--nocapture"])
            .env(SERVICE, service.to_string())
            .envs(more.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.strip_prefix(LISTENING)?.parse().ok()).unwrap();
        // It says more at its end, and must find somebody who listens.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, port }
    }
}

/// Sends `rounds` requests over each of so many connections at once through the forwarder that the
/// test `name` is. Gives the programs, and the mean time of a round.
fn forward(name: &str, connections: usize, rounds: u32) -> Option<(Bench, Duration)> {
    let nobody = |settings: &mut Settings| {
        settings.forwarders = Some(Forwarders::one(&[]));
    };
    let mut bench = Bench::start(name, &[Measurement::Residence], nobody)?;
    let forwarder = Forwarder::start(name, bench.port);
    bench.kernel.set_forwarders(&Forwarders::one(&[forwarder.process.id()])).unwrap();
    let mut threads = Vec::new();
    let started = Instant::now();
    for _ in 0..connections {
        let mut client = connect(forwarder.port);
        let (mut service, _) = bench.listener.accept().unwrap();
        service.set_nodelay(true).unwrap();
        service.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        std::thread::spawn(move || {
            while service.read_exact(&mut [0; REQUEST.len()]).is_ok() {
                service.write_all(&ANSWER).unwrap();
            }
        });
        threads.push(std::thread::spawn(move || {
            ask(&mut client, rounds);
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    Some((bench, started.elapsed() / rounds))
}

/// A connection to `port` of this machine.
fn connect(port: u16) -> TcpStream {
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

/// Sends requests one after the other. Gives the mean time of one.
fn ask(client: &mut TcpStream, rounds: u32) -> Duration {
    let started = Instant::now();
    for _ in 0..rounds {
        client.write_all(&REQUEST).unwrap();
        client.read_exact(&mut [0; ANSWER.len()]).unwrap();
    }
    started.elapsed() / rounds
}

/// Answers everything that comes to `listener`.
fn answer(listener: TcpListener) {
    for end in listener.incoming() {
        std::thread::spawn(move || {
            let mut end = end.unwrap();
            end.set_nodelay(true).unwrap();
            while end.read_exact(&mut [0; REQUEST.len()]).is_ok() {
                end.write_all(&ANSWER).unwrap();
            }
        });
    }
}

#[test]
fn two_forwarders_and_nobody_have_figures_of_their_own() {
    const ROUNDS: u32 = 12;
    if let Some(service) = service() {
        let work = if std::env::var_os(SLOWER).is_some() { MORE_WORK } else { WORK };
        serve(service, work);
        return;
    }
    let name = "two_forwarders_and_nobody_have_figures_of_their_own";
    let wanted = [
        Measurement::Residence,
        Measurement::ReceiveWait,
        Measurement::RunqueueWait,
        Measurement::SocketRtt,
        Measurement::AcceptWait,
        Measurement::Resets,
    ];
    let two = |settings: &mut Settings| settings.forwarders = Some(Forwarders::of(&[vec![], vec![]]));
    let Some(mut bench) = Bench::start(name, &wanted, two) else { return };
    let listener = bench.listener.try_clone().unwrap();
    std::thread::spawn(move || answer(listener));
    let forwarders =
        [Forwarder::start(name, bench.port), Forwarder::start_with(name, bench.port, &[(SLOWER, "1")])];
    let pids: Vec<_> = forwarders.iter().map(|forwarder| vec![forwarder.process.id()]).collect();
    bench.kernel.set_forwarders(&Forwarders::of(&pids)).unwrap();
    // Their listeners are older: whose they are is known once somebody has used what they accept.
    let mut seen = [Duration::ZERO; 2];
    for _ in 0..2 {
        for (forwarder, seen) in forwarders.iter().zip(&mut seen) {
            *seen += ask(&mut connect(forwarder.port), ROUNDS / 2) / 2;
        }
    }
    ask(&mut connect(bench.port), ROUNDS);

    let snapshot = bench.snapshot();
    let of = |distribution: Distribution, group| {
        snapshot.durations.get(&(distribution as u32, group)).cloned().unwrap_or_default()
    };
    for (forwarder, work, seen) in [(1, WORK, seen[0]), (2, MORE_WORK, seen[1])] {
        let upstream = Group { peer: GROUP, forwarder };
        let downstream = Group { peer: PEER_OTHER, forwarder };
        assert_mean(&of(Distribution::ResidenceUp, upstream), work, seen);
        for (distribution, group) in [
            (Distribution::ResidenceUp, upstream),
            (Distribution::ResidenceDown, upstream),
            (Distribution::ReceiveWaitAccepted, downstream),
            (Distribution::ReceiveWaitConnected, upstream),
        ] {
            let count = of(distribution, group).count;
            assert!(count >= u64::from(ROUNDS) - 2, "{distribution:?} {group:?}: {count}");
        }
        let handshakes = of(Distribution::RttAccepted, downstream).count;
        assert!(handshakes >= 2, "those that waited for the first use: {handshakes}");
        assert_eq!(of(Distribution::AcceptWait, downstream).count, 2);
        assert!(of(Distribution::RunqueueWait, Group { peer: PEER_OTHER, forwarder }).count > 0);
        let queued = snapshot.counts[&(Counter::ListenQueued, downstream)];
        assert!((1..=2).contains(&queued), "all but the first, which told whose the port is: {queued}");
        let paired = snapshot.pairs[&forwarder][&(Direction::Up, PairOutcome::Paired)];
        assert_eq!(paired, of(Distribution::ResidenceUp, upstream).count);
    }
    // This process connected, too, and nobody configured it.
    assert!(of(Distribution::RttConnected, Group::of_peer(GROUP)).count > 0);
    assert_eq!(of(Distribution::ReceiveWaitConnected, Group::of_peer(GROUP)).count, 0, "reads of nobody");
    assert!(!snapshot.pairs.contains_key(&NOBODY), "{:?}", snapshot.pairs);
    let whole = snapshot.durations_of(Distribution::RunqueueWait).map(|(group, _)| group.forwarder);
    assert!(whole.collect::<Vec<_>>().iter().all(|forwarder| [1, 2].contains(forwarder)));
}

#[test]
fn a_forwarder_that_works_between_read_and_write_is_measured_and_believed() {
    const ROUNDS: u32 = 20;
    if let Some(service) = service() {
        serve(service, WORK);
        return;
    }
    let name = "a_forwarder_that_works_between_read_and_write_is_measured_and_believed";
    let Some((bench, seen)) = forward(name, 1, ROUNDS) else { return };
    let up = bench.wait_for(Distribution::ResidenceUp, u64::from(ROUNDS) - 1);
    assert_mean(&up, WORK, seen);
    let snapshot = bench.snapshot();
    for direction in Direction::ALL {
        let share = paired_share(&snapshot, direction).unwrap();
        assert!(share > LEAST_PAIRED_SHARE, "{direction:?}: {share} of {:?}", snapshot.pairs);
    }
}

#[test]
fn a_forwarder_that_awaits_between_read_and_write_is_not_believed() {
    const CONNECTIONS: usize = 4;
    const ROUNDS: u32 = 10;
    if let Some(service) = service() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = listen();
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (down, up) = accept(&listener, service);
                runtime.spawn(forward_slowly(down, up))
            })
            .collect();
        tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
        return;
    }
    let name = "a_forwarder_that_awaits_between_read_and_write_is_not_believed";
    let Some((bench, seen)) = forward(name, CONNECTIONS, ROUNDS) else { return };
    assert!(seen >= 2 * WAIT, "it waits twice: {seen:?}");
    let snapshot = bench.snapshot();
    for (direction, distribution) in
        [(Direction::Up, Distribution::ResidenceUp), (Direction::Down, Distribution::ResidenceDown)]
    {
        let writes: u64 =
            PairOutcome::ALL.iter().map(|outcome| snapshot.pairs[&1][&(direction, *outcome)]).sum();
        assert!(writes >= CONNECTIONS as u64 * u64::from(ROUNDS), "{:?}", snapshot.pairs);
        let share = paired_share(&snapshot, direction).unwrap();
        assert!(share <= LEAST_PAIRED_SHARE, "{direction:?}: {share} of {:?}", snapshot.pairs);
        // A pair by chance is possible, of two tasks in one turn; one across a wait is not.
        let samples = snapshot.of_peer(distribution, GROUP);
        if let Some(longest) = samples.and_then(|samples| samples.quantile_ns(1.0)) {
            assert!(longest < WAIT.as_nanos() as f64 / 2.0, "{direction:?}: {longest} ns in one turn");
        }
    }
}

/// Forwards as services with filters do: every message waits for something else before it goes on.
async fn forward_slowly(down: TcpStream, up: TcpStream) {
    let asynchronous = |end: TcpStream| {
        end.set_nonblocking(true).unwrap();
        tokio::net::TcpStream::from_std(end).unwrap()
    };
    let (mut down, mut up) = (asynchronous(down), asynchronous(up));
    while down.read_exact(&mut [0; REQUEST.len()]).await.is_ok() {
        tokio::time::sleep(WAIT).await;
        up.write_all(&REQUEST).await.unwrap();
        up.read_exact(&mut [0; ANSWER.len()]).await.unwrap();
        tokio::time::sleep(WAIT).await;
        down.write_all(&ANSWER).await.unwrap();
    }
}
