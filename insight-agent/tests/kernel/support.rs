//! A listener, programs that know its port as a peer group, and bytes.

use insight_agent::collect::kernel::Kernel;
use insight_agent::collect::kernel::settings::{PeerGroup, Settings};
use insight_agent::model::kernel::{Durations, KernelSnapshot, Reason, State};
use insight_common::kernel::layout::Distribution;
use insight_common::kernel::loss::Measurement;
use insight_lab::skip::{SkipReason, skip};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// The peer group of the test's own port.
pub const GROUP: u8 = 1;

/// As many bytes as no HTTP/2 housekeeping has.
pub const REQUEST: [u8; 100] = [b'q'; 100];
pub const ANSWER: [u8; 200] = [b'a'; 200];

/// One test's programs and port.
pub struct Bench {
    pub kernel: Kernel,
    pub listener: TcpListener,
    pub port: u16,
}

impl Bench {
    /// **None**: skipped, and said so.
    pub fn start(name: &str, wanted: &[Measurement], adapt: impl FnOnce(&mut Settings)) -> Option<Self> {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), name, wanted, adapt)
    }

    /// As [`Bench::start`], with a listener that may have connections already.
    pub fn start_on(
        listener: TcpListener,
        name: &str,
        wanted: &[Measurement],
        adapt: impl FnOnce(&mut Settings),
    ) -> Option<Self> {
        if !nix::unistd::Uid::effective().is_root() {
            skip(name, SkipReason::Missing("loading programs into the kernel needs root"));
            return None;
        }
        let port = listener.local_addr().unwrap().port();
        let group = PeerGroup {
            name: "test".into(),
            networks: vec![("127.0.0.0".parse().unwrap(), 8)],
            ports: vec![port],
        };
        let mut settings =
            Settings { measurements: wanted.to_vec(), peers: vec![group], ..Settings::default() };
        adapt(&mut settings);
        let kernel = Kernel::start(&settings);
        for measurement in wanted {
            match kernel.state(*measurement) {
                State::Active => {}
                State::Disabled(Reason::HookAbsent | Reason::NoBtf) => {
                    let detail = &kernel.problem(*measurement).unwrap().detail;
                    skip(name, SkipReason::Impossible(detail));
                    return None;
                }
                state => panic!("{}: {state:?}: {:#?}", measurement.name(), kernel.problem(*measurement)),
            }
        }
        Some(Self { kernel, listener, port })
    }

    /// A connection: the connecting end, the accepting end.
    pub fn connect(&self) -> (TcpStream, TcpStream) {
        connect(&self.listener)
    }

    /// The same, greeted by the accepting end, as servers of HTTP/2 do: then the first answer is that of the
    /// first request, and what follows can be measured without a rest.
    pub fn connect_greeted(&self) -> (TcpStream, TcpStream) {
        let (mut near, mut far) = self.connect();
        far.write_all(&ANSWER).unwrap();
        near.read_exact(&mut [0; ANSWER.len()]).unwrap();
        (near, far)
    }

    /// How many values this test's port has in a distribution now.
    pub fn count(&self, distribution: Distribution) -> u64 {
        self.snapshot().of_peer(distribution, GROUP).map_or(0, |durations| durations.count)
    }

    pub fn snapshot(&self) -> KernelSnapshot {
        self.kernel.snapshot().unwrap()
    }

    /// The distribution of this test's port, once it holds `count` values.
    pub fn wait_for(&self, distribution: Distribution, count: u64) -> Durations {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let snapshot = self.snapshot();
            let found = snapshot.of_peer(distribution, GROUP).unwrap_or_default();
            if found.count >= count {
                return found;
            }
            assert!(Instant::now() < deadline, "{distribution:?}: {found:?}, lost {:?}", snapshot.lost);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A connection to `listener`: the connecting end, the accepting end.
pub fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for end in [&near, &far] {
        end.set_nodelay(true).unwrap();
        end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    (near, far)
}

/// The mean lies between the delay and what the test saw from outside.
#[track_caller]
pub fn assert_mean(durations: &Durations, least: Duration, seen: Duration) {
    let mean = durations.mean_ns().unwrap();
    let (low, high) = (least.as_nanos() as f64 * 0.95, seen.as_nanos() as f64 * 1.05 + 1e6);
    assert!(low <= mean && mean <= high, "mean {mean} ns is not in {low}..{high}");
    let median = durations.quantile_ns(0.5).unwrap();
    assert!(median >= least.as_nanos() as f64 * 0.85, "median {median} ns of {durations:?}");
}

/// What a thread does in a network namespace of its own, which lives as long as the thread.
pub fn elsewhere<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|threads| {
        let thread = threads.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
            assert!(up.success(), "raise the loopback device of a new namespace");
            work()
        });
        thread.join().unwrap()
    })
}

/// The network namespace of this thread, by the number of its inode.
pub fn namespace() -> u32 {
    std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino() as u32
}
