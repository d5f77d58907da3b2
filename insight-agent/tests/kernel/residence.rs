//! A forwarder of one thread: what it computes is residence, what it waits for is not.

use crate::support::{ANSWER, Bench, GROUP, REQUEST, assert_mean};
use insight_agent::collect::kernel::settings::Forwarders;
use insight_common::kernel::layout::Distribution;
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::turn::{Direction, PairOutcome};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const WORK: Duration = Duration::from_millis(10);
const ROUNDS: u32 = 10;

/// Forwards requests and answers, with `pause` between reading and writing a request.
fn forward(name: &str, pause: impl Fn() + Send + 'static) -> Option<Bench> {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = upstream.local_addr().unwrap().port();
    let bench = Bench::start(name, &[Measurement::Residence], |settings| {
        // The forwarder is this process, and with it every test that is another thread of it:
        // only figures of the group with these two ports are this test's.
        settings.forwarders = Some(Forwarders::one(&[std::process::id()]));
        settings.peers[0].ports.push(port);
    })?;
    let mut up = TcpStream::connect(upstream.local_addr().unwrap()).unwrap();
    let (mut service, _) = upstream.accept().unwrap();
    let (mut client, mut down) = bench.connect();
    let serving = std::thread::spawn(move || {
        while service.read_exact(&mut [0; REQUEST.len()]).is_ok() {
            service.write_all(&ANSWER).unwrap();
        }
    });
    let forwarding = std::thread::spawn(move || {
        while down.read_exact(&mut [0; REQUEST.len()]).is_ok() {
            pause();
            up.write_all(&REQUEST).unwrap();
            up.read_exact(&mut [0; ANSWER.len()]).unwrap();
            down.write_all(&ANSWER).unwrap();
        }
    });
    for _ in 0..ROUNDS {
        client.write_all(&REQUEST).unwrap();
        client.read_exact(&mut [0; ANSWER.len()]).unwrap();
    }
    drop(client);
    forwarding.join().unwrap();
    serving.join().unwrap();
    Some(bench)
}

#[test]
fn work_between_read_and_write_is_residence() {
    let started = Instant::now();
    let work = || {
        let until = Instant::now() + WORK;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    };
    let Some(bench) = forward("work_between_read_and_write_is_residence", work) else { return };
    let seen = started.elapsed() / ROUNDS;
    let snapshot = bench.snapshot();
    let up = bench.wait_for(Distribution::ResidenceUp, 1);
    assert!(up.count >= u64::from(ROUNDS) - 1, "{up:?}, lost {:?}", snapshot.lost);
    assert_mean(&up, WORK, seen);
    let down = bench.wait_for(Distribution::ResidenceDown, 1);
    assert!(down.count >= u64::from(ROUNDS) - 1, "{down:?}, lost {:?}", snapshot.lost);
    let snapshot = bench.snapshot();
    for (direction, samples) in [(Direction::Up, &up), (Direction::Down, &down)] {
        let paired = snapshot.pairs[&1][&(direction, PairOutcome::Paired)];
        assert!(paired >= samples.count, "each sample is a pair: {samples:?} in {:?}", snapshot.pairs);
    }
    assert!(down.mean_ns().unwrap() < up.mean_ns().unwrap(), "the way back does no work: {down:?}");
}

#[test]
fn a_sleep_between_read_and_write_is_no_residence() {
    let sleep = || std::thread::sleep(WORK);
    let Some(bench) = forward("a_sleep_between_read_and_write_is_no_residence", sleep) else { return };
    let snapshot = bench.snapshot();
    let up = snapshot.of_peer(Distribution::ResidenceUp, GROUP);
    assert_eq!(up, None, "asynchronous waiting is no turn");
    assert!(
        snapshot.lost(Measurement::Residence, Loss::Unstamped) >= u64::from(ROUNDS),
        "{:?}",
        snapshot.lost
    );
    assert!(
        snapshot.lost(Measurement::Residence, Loss::SameSocket) >= u64::from(ROUNDS),
        "the service's own"
    );
    let no_read = |direction| snapshot.pairs[&1][&(direction, PairOutcome::NoRead)];
    assert!(no_read(Direction::Up) >= u64::from(ROUNDS), "{:?}", snapshot.pairs);
    let both = no_read(Direction::Up) + no_read(Direction::Down);
    assert_eq!(snapshot.lost(Measurement::Residence, Loss::Unstamped), both, "one count, shown twice");
}
