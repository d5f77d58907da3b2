//! What is done to a proxy and its callers, so that it is known what must be measured.

use super::ground::{Ground, Stand};
use super::traffic::Traffic;
use crate::bench::apart::Site;
use crate::bench::process::Process;
use crate::bench::scrapes::pause;
use crate::soak::exchange::{abort_on_close, request};
use anyhow::{Context, Result, bail};
use insight_lab::Interrupt;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long programs are stopped. In the middle of a bucket of the page (268 to 537 ms).
pub const STOP: Duration = Duration::from_millis(380);

/// How long a reader is stopped. In the middle of a bucket of the page (537 to 1,074 ms).
pub const STALL: Duration = Duration::from_millis(760);

/// Connections of which each kind is made while a proxy is stopped.
pub const PROBES: u32 = 5;

/// Connections that are reset.
pub const RESETS: u32 = 20;

/// Connections from the node to the origin, by nobody else than this program.
pub const CONNECTS: u32 = 20;

/// Datagrams to a port without a socket.
pub const DATAGRAMS: u32 = 50;

/// What somebody is told who asks too late.
const PATIENCE: Duration = Duration::from_secs(5);

/// A stopped group of processes. It goes on when this is dropped.
pub struct Stopped {
    group: Pid,
    /// When it stood still.
    pub since: Instant,
}

impl Stopped {
    /// Stops a process with its workers; returns when all stand still.
    ///
    /// # Errors
    /// They are gone, or do not stop.
    pub fn stop(process: &Process) -> Result<Self> {
        let group = Pid::from_raw(i32::try_from(process.pid()).context("a process number")?);
        killpg(group, Signal::SIGSTOP).context("stop a group of processes")?;
        // From here on Drop lets it go on.
        let mut stopped = Self { group, since: Instant::now() };
        let deadline = Instant::now() + PATIENCE;
        while !crate::bench::process::members(process.pid()).into_iter().all(stands_still) {
            if Instant::now() >= deadline {
                bail!("process group {group} does not stop");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        stopped.since = Instant::now();
        Ok(stopped)
    }

    /// Lets it go on. Gives when.
    pub fn go_on(self) -> Instant {
        Instant::now()
        // Dropped here.
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Fails where the group is gone.
        let _ = killpg(self.group, Signal::SIGCONT);
    }
}

/// Whether no thread of the process runs.
fn stands_still(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    stats.all(|stat| state(&stat) == Some('T'))
}

fn state(stat: &str) -> Option<char> {
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

/// What is known of a stop.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// The shortest that a connection waited. **Unit**: s.
    pub least: f64,
    /// The longest.
    pub most: f64,
}

/// Stops the proxy; [`PROBES`] connections that were open before ask something, and as many new ones
/// are opened and ask. Nothing else goes on.
///
/// # Errors
/// A connection cannot be opened, the proxy does not stop, or Ctrl-C.
pub fn stop_with_probes(ground: &Ground<'_>, stand: &Stand) -> Result<Stop> {
    let target = stand.addresses.forwarder;
    let open = || (0..PROBES).map(|_| connect(target)).collect::<Result<Vec<_>>>();
    let request = request(target);
    let ask = |streams: &mut Vec<TcpStream>| {
        streams.iter_mut().try_for_each(|stream| stream.write_all(&request).context("ask"))
    };
    let mut early = ground.site.at_far(open)??;
    // So that they are accepted: what is to wait is their first request.
    pause(Duration::from_millis(100), ground.interrupt)?;
    let stopped = Stopped::stop(&stand.proxy)?;
    let asked = Instant::now();
    ask(&mut early)?;
    let mut late = ground.site.at_far(open)??;
    ask(&mut late)?;
    let last = Instant::now();
    pause(STOP.saturating_sub(asked.elapsed()), ground.interrupt)?;
    let went_on = stopped.go_on();
    early.append(&mut late);
    early.iter_mut().for_each(drain);
    Ok(Stop { least: (went_on - last).as_secs_f64(), most: (went_on - asked).as_secs_f64() })
}

/// Stops the proxy while callers are at work.
///
/// # Errors
/// It does not stop, or Ctrl-C.
pub fn stop(process: &Process, time: Duration, interrupt: &Interrupt) -> Result<()> {
    let stopped = Stopped::stop(process)?;
    pause(time.saturating_sub(stopped.since.elapsed()), interrupt)?;
    stopped.go_on();
    Ok(())
}

/// Opens [`RESETS`] connections and ends each with a reset.
///
/// # Errors
/// A connection cannot be opened, or Ctrl-C.
pub fn reset(ground: &Ground<'_>, target: SocketAddr) -> Result<()> {
    let streams =
        ground.site.at_far(|| (0..RESETS).map(|_| connect(target)).collect::<Result<Vec<_>>>())??;
    pause(Duration::from_millis(100), ground.interrupt)?;
    streams.iter().try_for_each(abort_on_close)
}

/// Connects to the origin from the node, [`CONNECTS`] times. Gives how long each took. **Unit**: s.
///
/// # Errors
/// Nobody accepts there.
pub fn connects(ground: &Ground<'_>, origin: SocketAddr) -> Result<Vec<f64>> {
    let connect = || -> Result<f64> {
        let began = Instant::now();
        let mut stream = TcpStream::connect_timeout(&origin, PATIENCE).context("connect to the origin")?;
        let took = began.elapsed().as_secs_f64();
        // To its end: bytes that nobody reads are answered with a reset.
        stream.set_read_timeout(Some(PATIENCE)).context("limit reads")?;
        stream.shutdown(Shutdown::Write).context("end a connection")?;
        drain(&mut stream);
        Ok(took)
    };
    ground.site.at_node(|| (0..CONNECTS).map(|_| connect()).collect())?
}

/// Sends [`DATAGRAMS`] to a port of the node where nobody listens.
///
/// # Errors
/// They cannot be sent.
pub fn datagrams(site: &Site, node: IpAddr) -> Result<()> {
    const DISCARD: u16 = 9;
    let socket = site.at_far(|| UdpSocket::bind("0.0.0.0:0"))?.context("open a UDP socket")?;
    for _ in 0..DATAGRAMS {
        socket.send_to(b"truth", (node, DISCARD)).context("send a datagram")?;
    }
    Ok(())
}

/// Has a caller ask for much, stop reading, and read on. Gives how long nothing fitted any more.
///
/// # Errors
/// The buffer did not become full, or Ctrl-C.
pub fn stall(ground: &Ground<'_>, stand: &Stand, bulk: &Traffic) -> Result<Stop> {
    let port = stand.addresses.forwarder.port();
    let queued = || -> Result<u64> {
        let table = ground.site.at_node(|| fs::read_to_string("/proc/thread-self/net/tcp"))?;
        Ok(send_queue(&table.context("read /proc/net/tcp")?, port))
    };
    let deadline = Instant::now() + PATIENCE;
    while queued()? == 0 {
        if Instant::now() >= deadline {
            bail!("nothing was sent to a caller who asked for much");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let stopped = Stopped::stop(bulk.process())?;
    let (mut full, mut held) = (Instant::now(), 0);
    while full.elapsed() < Duration::from_millis(100) {
        let now = queued()?;
        if now != held {
            (full, held) = (Instant::now(), now);
        }
        if stopped.since.elapsed() >= PATIENCE || ground.interrupt.wait(Duration::from_millis(2)) {
            bail!("the send buffer of the proxy is not full after {:?}", stopped.since.elapsed());
        }
    }
    let since = stopped.since;
    pause(STALL.saturating_sub(full.elapsed()), ground.interrupt)?;
    let went_on = stopped.go_on();
    Ok(Stop { least: (went_on - full).as_secs_f64(), most: (went_on - since).as_secs_f64() })
}

/// Bytes that sockets with a local port have not got rid of, by `/proc/net/tcp`.
fn send_queue(table: &str, port: u16) -> u64 {
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let sent = fields.next()?.split_once(':')?.0;
        // Of a listener it is another figure.
        (local.ends_with(&suffix) && state == "01").then(|| u64::from_str_radix(sent, 16).ok())?
    });
    rows.sum()
}

fn connect(target: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE).context("connect to the proxy")?;
    stream.set_read_timeout(Some(Duration::from_millis(300))).context("limit reads")?;
    stream.set_nodelay(true).context("send at once")?;
    Ok(stream)
}

/// Reads what comes until nothing does.
fn drain(stream: &mut TcpStream) {
    let mut part = [0; 4096];
    // An error is a connection that the proxy has ended, or silence.
    while let Ok(1..) = stream.read(&mut part) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_queued_is_of_established_connections_of_one_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n\
             0: 0100FEC6:13BB 0000FEC6:C350 01 00000010:00000000 00:00000000\n\
             1: 0100FEC6:13BB 00000000:0000 0A 00000005:00000000 00:00000000\n\
             2: 0100FEC6:13BC 0000FEC6:C351 01 00000100:00000000 00:00000000\n";
        assert_eq!(send_queue(table, 5051), 16);
    }

    #[test]
    fn a_stopped_thread_is_told_by_its_state() {
        assert_eq!(state("12 (nginx: (a) b) T 1 77"), Some('T'));
        assert_eq!(state("12 (x) S 1"), Some('S'));
        assert_eq!(state("12"), None);
    }

    #[test]
    fn a_stopped_process_stands_still_and_goes_on_by_itself_when_dropped() {
        use std::os::unix::process::CommandExt;
        let mut child = std::process::Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
        killpg(group, Signal::SIGSTOP).unwrap();
        let until = |wanted: bool| {
            let deadline = Instant::now() + PATIENCE;
            while stands_still(child.id()) != wanted {
                assert!(Instant::now() < deadline, "stands still: {}", !wanted);
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        until(true);
        drop(Stopped { group, since: Instant::now() });
        until(false);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
