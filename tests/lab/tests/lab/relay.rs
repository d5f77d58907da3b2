//! The WAN relay: every setting comes back as what it was set to.

use crate::echo;
use insight_lab::relay::{self, DirectionSettings, RelayRequest, RelaySettings, RelayState};
use insight_lab::{Topology, control};
use std::net::TcpListener as Claim;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A relay to a TCP echo.
struct Rig {
    at: Topology,
    _claim: Claim,
}

impl Rig {
    async fn start(settings: RelaySettings) -> Rig {
        let (at, _claim) = echo::addresses();
        echo::tcp(at.mediary_b).await;
        tokio::spawn(relay::run(at.wan, at.mediary_b, Topology::control(at.wan), settings));
        echo::accepting(Topology::control(at.wan)).await;
        Rig { at, _claim }
    }

    async fn connect(&self) -> TcpStream {
        self.try_connect().await.unwrap()
    }

    async fn try_connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(self.at.wan).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// One byte there and back on a connection of its own.
    async fn try_echo(&self) -> std::io::Result<()> {
        // A reset may already be there when connect returns, or come with any later step.
        let mut stream = self.try_connect().await?;
        stream.write_all(b"x").await?;
        stream.read_u8().await.map(|_| ())
    }

    /// One control request; blocking, hence on a thread of its own.
    async fn ask(&self, request: RelayRequest) -> RelayState {
        let address = Topology::control(self.at.wan);
        tokio::task::spawn_blocking(move || control::ask(address, &request)).await.unwrap().unwrap()
    }
}

/// The time for one small message there and back.
async fn round_trip(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
    start.elapsed()
}

/// Several round trips, shortest first.
async fn round_trips(stream: &mut TcpStream, count: usize) -> Vec<Duration> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(round_trip(stream).await);
    }
    all.sort();
    all
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn delayed(forward_ms: u64, backward_ms: u64) -> RelaySettings {
    let one_way = |ms| DirectionSettings { delay_us: ms * 1000, ..DirectionSettings::default() };
    RelaySettings { forward: one_way(forward_ms), backward: one_way(backward_ms), ..RelaySettings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_comes_back_as_that_delay_also_with_many_connections_open() {
    let rig = Rig::start(delayed(5, 15)).await;
    let mut others = Vec::new();
    for _ in 0..100 {
        let mut other = rig.connect().await;
        others.push(tokio::spawn(async move {
            loop {
                round_trip(&mut other).await;
                tokio::time::sleep(ms(50)).await;
            }
        }));
    }
    let mut stream = rig.connect().await;
    let trips = round_trips(&mut stream, 40).await;
    assert!(trips[0] >= ms(20), "shorter than the delay: {:?}", trips[0]);
    // The lower quartile is what the instrument sees of a link on a busy machine.
    assert!(trips[10] < Duration::from_micros(21_500), "20 ms read {:?}", trips[10]);
    others.iter().for_each(tokio::task::JoinHandle::abort);

    // Changed while the connection is open.
    rig.ask(RelayRequest::Set(delayed(30, 30))).await;
    let trips = round_trips(&mut stream, 8).await;
    assert!(trips[0] >= ms(60) && trips[2] < ms(63), "60 ms read {trips:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jitter_spreads_and_keeps_the_order() {
    let mut settings = delayed(5, 0);
    settings.forward.jitter_us = 20_000;
    let rig = Rig::start(settings).await;
    let mut stream = rig.connect().await;
    let trips = round_trips(&mut stream, 30).await;
    assert!(trips[0] >= ms(5), "{trips:?}");
    // Uniform over 20 ms: all of 30 draws within 5 ms of each other has a chance below 1e-15.
    assert!(trips[29] - trips[0] > ms(5), "no spread: {trips:?}");

    let (mut read, mut write) = stream.split();
    let sending = async {
        for number in 0..200_u32 {
            write.write_all(&number.to_be_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    };
    let receiving = async {
        for number in 0..200 {
            assert_eq!(read.read_u32().await.unwrap(), number, "overtaken");
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limits_throughput_and_memory() {
    let mut settings = RelaySettings::default();
    settings.forward.rate_bytes_per_s = Some(400_000);
    let rig = Rig::start(settings).await;
    let mut stream = rig.connect().await;
    let payload = vec![7; 80_000];
    let start = Instant::now();
    stream.write_all(&payload).await.unwrap();
    let mut back = vec![0; payload.len()];
    stream.read_exact(&mut back).await.unwrap();
    let took = start.elapsed();
    assert!((ms(195)..ms(600)).contains(&took), "80 kB at 400 kB/s take 0.2 s, took {took:?}");

    // Far more than the link takes: the sender has to wait, the relay does not collect it all.
    let flood = vec![0; 64 * 1024 * 1024];
    let flooded = tokio::time::timeout(ms(500), stream.write_all(&flood)).await;
    assert!(flooded.is_err(), "64 MiB went into a link of 400 kB/s within 0.5 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_reset_with_the_probability_that_was_set() {
    let settings = RelaySettings { reset_probability: 1.0, ..RelaySettings::default() };
    let rig = Rig::start(settings).await;
    let error = rig.try_echo().await.unwrap_err();
    assert!(
        matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe),
        "{error:?}"
    );

    rig.ask(RelayRequest::Set(RelaySettings { reset_probability: 0.5, ..settings })).await;
    let mut survived = 0;
    for _ in 0..64 {
        survived += u32::from(rig.try_echo().await.is_ok());
    }
    // Binomial: outside this range has a chance below 1e-6.
    assert!((12..=52).contains(&survived), "{survived} of 64 survived a probability of one half");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_now_resets_what_is_open_and_nothing_later() {
    let rig = Rig::start(delayed(1, 1)).await;
    let mut old = rig.connect().await;
    round_trip(&mut old).await;
    rig.ask(RelayRequest::DropNow).await;
    let error = old.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let mut new = rig.connect().await;
    round_trip(&mut new).await;
    assert_eq!(rig.ask(RelayRequest::Get).await.reset, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_swallows_nothing_but_lets_nothing_through() {
    let rig = Rig::start(RelaySettings::default()).await;
    let mut old = rig.connect().await;
    round_trip(&mut old).await;
    let hole = RelaySettings { blackhole: true, ..RelaySettings::default() };
    rig.ask(RelayRequest::Set(hole)).await;
    let mut new = rig.connect().await; // the kernel's backlog answers
    for stream in [&mut old, &mut new] {
        stream.write_all(b"ping").await.unwrap();
        let heard = tokio::time::timeout(ms(150), stream.read_u8()).await;
        assert!(heard.is_err(), "an answer out of a black hole: {heard:?}");
    }
    rig.ask(RelayRequest::Set(RelaySettings::default())).await;
    for stream in [&mut old, &mut new] {
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_one_direction_is_relayed_with_its_delay() {
    let rig = Rig::start(delayed(20, 0)).await;
    let mut stream = rig.connect().await;
    round_trip(&mut stream).await;
    let start = Instant::now();
    stream.write_all(b"last").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"last");
    assert!(start.elapsed() >= ms(20), "the end overtook the delay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senseless_settings_are_refused_and_change_nothing() {
    let rig = Rig::start(delayed(1, 2)).await;
    let mut wrong = RelaySettings::default();
    wrong.forward.rate_bytes_per_s = Some(0);
    let address = Topology::control(rig.at.wan);
    let refused = tokio::task::spawn_blocking(move || {
        control::ask::<_, RelayState>(address, &RelayRequest::Set(wrong)).unwrap_err().to_string()
    });
    let message = refused.await.unwrap();
    assert!(message.contains("forward.rate_bytes_per_s = 0"), "{message}");
    assert_eq!(rig.ask(RelayRequest::Get).await.settings, delayed(1, 2));
}
