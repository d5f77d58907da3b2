//! Connections in numbers: ten thousand that say nothing, from one address and from many.

use crate::Target;
use insight_e2e::agent::Config;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const CROWD: usize = 10_000;

/// Longest wait for one connection: a SYN that found the queue full comes again after one second.
const CONNECT: Duration = Duration::from_secs(10);

/// What the crowd may cost the agent: more than the buffers of full listeners, far less than 10,000 of them.
const MEMORY: u64 = 96 << 20;

fn raise_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = (CROWD as u64 + 2000).min(hard);
    assert!(wanted > CROWD as u64, "this test needs {CROWD} files and may have {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).unwrap();
}

/// A connection from the nth of `sources` addresses.
pub async fn connect(to: SocketAddr, nth: usize, sources: usize) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    let [high, low] = u16::try_from(nth % sources).unwrap().to_be_bytes();
    socket.bind((Ipv4Addr::new(127, 252, high, low.max(1)), 0).into()).unwrap();
    // One that is refused at once was bounded, too.
    timeout(CONNECT, socket.connect(to)).await.ok()?.ok()
}

fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The crowd comes while the page is scraped, and stays.
fn besiege(listener: &str, sources: usize) {
    raise_files();
    let target = Target::start(&Config::new());
    let pid = target.agent.process.pid();
    let before = resident(pid);
    let to = match listener {
        "metrics" => target.site.metrics(),
        "admin" => target.site.admin(),
        _ => target.site.grpc(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let coming = runtime.spawn(async move {
        let mut crowd = Vec::new();
        for first in (0..CROWD).step_by(100) {
            let hundred: Vec<_> =
                (first..first + 100).map(|nth| tokio::spawn(connect(to, nth, sources))).collect();
            for one in hundred {
                crowd.extend(one.await.unwrap());
            }
        }
        crowd
    });
    let mut scrapes = 0;
    while !coming.is_finished() {
        target.scrape_in_time();
        scrapes += 1;
    }
    let crowd = runtime.block_on(coming).unwrap();
    let seen = target.scrape_in_time();
    let labels = [("listener", listener)];
    let open = seen.value("insight_listener_connections", &labels).unwrap();
    let limit = seen.value("insight_listener_connections_limit", &labels).unwrap();
    assert!(open <= limit, "{open} of {limit}");
    // Some may still stand in the kernel's queue.
    target.agent.wait_for("everybody to be counted", |seen| {
        let refused = seen.sum("insight_listener_refused_total", &labels)?;
        (refused >= crowd.len() as f64 - limit).then_some(())
    });
    assert!(crowd.len() > CROWD / 2, "only {} of {CROWD} came", crowd.len());
    assert!(scrapes > 0, "nobody looked while they came");
    let grown = resident(pid).saturating_sub(before);
    assert!(grown < MEMORY, "{grown} bytes more");
    assert!(open_files(pid) < limit as usize + 200, "{} files", open_files(pid));
    // Who came last has its time to ask, and no more: the crowd melts away.
    target.agent.wait_for("the crowd to be gone", |seen| {
        seen.value("insight_listener_connections", &labels).filter(|open| *open <= 1.0)
    });
    drop(crowd);
}

#[test]
fn a_silent_crowd_from_many_addresses_does_not_lock_the_metrics() {
    besiege("metrics", 1000);
}

#[test]
fn a_silent_crowd_from_one_address_does_not_lock_the_metrics() {
    besiege("metrics", 1);
}

#[test]
fn a_silent_crowd_at_the_admin_listener_is_bounded() {
    besiege("admin", 1000);
}

#[test]
fn a_silent_crowd_at_the_receiver_is_bounded() {
    besiege("grpc", 1000);
}
