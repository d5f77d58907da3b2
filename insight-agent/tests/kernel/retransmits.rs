//! Segments that are sent once more: because nothing comes back, and because a queue drops some.

use crate::room::{Room, two_rooms};
use crate::support::Bench;
use insight_agent::collect::kernel::settings::Settings;
use insight_common::kernel::layout::{Counter, Distribution, Group};
use insight_common::kernel::loss::Measurement;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Two rooms, programs that know the far one's port, and a connection between them. The far end
/// reads all that comes.
struct Line {
    near: Room,
    far: Room,
    bench: Bench,
    stream: TcpStream,
    reader: JoinHandle<usize>,
}

/// **None**: skipped, and said so.
fn line(name: &str) -> Option<Line> {
    let is_root = nix::unistd::Uid::effective().is_root();
    let rooms = is_root.then(two_rooms);
    let listener = match &rooms {
        Some((_, far)) => far.inside(|| TcpListener::bind("10.9.0.2:0").unwrap()),
        None => TcpListener::bind("127.0.0.1:0").unwrap(),
    };
    let group = |settings: &mut Settings| {
        settings.peers[0].networks = vec![("10.9.0.0".parse().unwrap(), 24)];
    };
    let bench = Bench::start_on(listener, name, &[Measurement::Retransmits], group)?;
    let (near, far) = rooms?;
    let address = bench.listener.local_addr().unwrap();
    let stream = near.inside(move || TcpStream::connect(address).unwrap());
    let (mut end, _) = bench.listener.accept().unwrap();
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        std::iter::repeat_with(|| end.read(&mut buffer).unwrap()).take_while(|read| *read > 0).sum()
    });
    Some(Line { near, far, bench, stream, reader })
}

impl Line {
    fn counts(&self) -> [u64; 5] {
        let snapshot = self.bench.snapshot();
        [
            Counter::RetransmitSyn,
            Counter::RetransmitSynack,
            Counter::RetransmitProbe,
            Counter::RetransmitFast,
            Counter::RetransmitTimeout,
        ]
        .map(|counter| snapshot.counts[&(counter, Group::of_peer(crate::support::GROUP))])
    }

    fn recoveries(&self, distribution: Distribution) -> u64 {
        self.bench.count(distribution)
    }
}

#[test]
fn a_peer_that_cannot_answer_costs_probes_and_timeouts_for_as_long() {
    let Some(mut line) = line("a_peer_that_cannot_answer_costs_probes_and_timeouts_for_as_long") else {
        return;
    };
    let part = vec![7; 100_000];
    line.stream.write_all(&part).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let before = line.counts();
    assert_eq!((before[0], before[1], before[3], before[4]), (0, 0, 0, 0), "{before:?}");

    let timeouts = line.near.netstat("TCPTimeouts");
    line.far.ip("route add blackhole 10.9.0.1/32");
    let start = Instant::now();
    line.stream.write_all(&part).unwrap();
    std::thread::sleep(Duration::from_millis(1_000));
    line.far.ip("route del blackhole 10.9.0.1/32");
    let held = start.elapsed();
    let recovery = line.bench.wait_for(Distribution::RecoveryTimeout, 1);
    let whole = start.elapsed();

    let after = line.counts();
    let timeouts = line.near.netstat("TCPTimeouts") - timeouts;
    assert!(after[4] - before[4] >= timeouts && timeouts >= 1, "{before:?} {after:?}: {timeouts} timeouts");
    assert_eq!((after[0], after[1]), (0, 0), "nobody connects");
    let took = Duration::from_nanos(recovery.sum_ns);
    // The timer, at least 200 ms, runs out first; that is when it begins to recover.
    assert!(recovery.count == 1 && took > held / 2 && took < whole, "{took:?} of {held:?} to {whole:?}");
    drop(line.stream);
    assert_eq!(line.reader.join().unwrap(), 2 * part.len());
}

#[test]
fn a_queue_that_drops_costs_fast_retransmissions_and_as_many_recoveries_as_the_kernel_counts() {
    let name = "a_queue_that_drops_costs_fast_retransmissions_and_as_many_recoveries_as_the_kernel_counts";
    let Some(mut line) = line(name) else { return };
    line.near.run("tc qdisc add dev near root tbf rate 100mbit burst 32k limit 40k");
    let recoveries =
        |line: &Line| line.near.netstat("TCPSackRecovery") + line.near.netstat("TCPRenoRecovery");
    let before = recoveries(&line);
    let fast_before = line.near.netstat("TCPFastRetrans") + line.near.netstat("TCPSlowStartRetrans");
    let part = vec![7; 1 << 20];
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut written = 0;
    while recoveries(&line) < before + 3 || line.recoveries(Distribution::RecoveryFast) < 1 {
        assert!(Instant::now() < deadline, "no recovery in {written} MiB: {:?}", line.counts());
        line.stream.write_all(&part).unwrap();
        written += 1;
    }
    drop(line.stream.shutdown(std::net::Shutdown::Write));
    let counts = line.counts();
    let segments =
        line.near.netstat("TCPFastRetrans") + line.near.netstat("TCPSlowStartRetrans") - fast_before;
    let begun = recoveries(&line) - before;
    // A large segment is one event here and several segments there.
    assert!(counts[3] > 0 && counts[3] <= segments, "{counts:?}, and the kernel sent {segments} again");
    let ended = line.recoveries(Distribution::RecoveryFast) + line.recoveries(Distribution::RecoveryTimeout);
    assert!(ended > 0 && ended <= begun + counts[4], "{ended} recoveries ended of {begun}");
    assert_eq!((counts[0], counts[1]), (0, 0), "nobody connects");
    assert_eq!(line.bench.snapshot().lost, Default::default());
}
