//! One child of a run: started, waited for, ended.

use super::launch::DeathSignal;
use super::record::{ChildRecord, Identity, group_members};
use super::spawner;
use crate::namespaces::NodePlace;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at again while waiting for it.
const POLL: Duration = Duration::from_millis(10);
/// How long killed workers may take to be gone. They are not scheduled before everybody else.
const DYING: Duration = Duration::from_secs(2);
/// Most of an agent's metrics that is read, in bytes: many times what one has.
const LARGEST_METRICS: u64 = 16 << 20;
/// Most of a log that an error quotes, in bytes.
const LOG_TAIL: usize = 2000;

/// What shows that a node does its work.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ready {
    /// It accepts connections here.
    Accepts(SocketAddr),
    /// It answers `GET /-/ready` with 200 here.
    Http(SocketAddr),
    /// As above, and its kernel measurements are attached or have failed: its `/metrics` tells their
    /// states. Sockets that are opened before that are never measured.
    Measures(SocketAddr),
    /// It has this many threads besides its first one.
    Threads(u32),
}

/// How to start a node.
#[derive(Debug, Clone)]
pub(super) struct NodeSpec {
    /// Unique within the run.
    pub name: &'static str,
    /// What it is to the path: agent, forwarder, link, service or load.
    pub role: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub death_signal: DeathSignal,
    pub ready: Ready,
    /// Where it runs; `None` in a run without namespaces.
    pub place: Option<NodePlace>,
}

impl NodeSpec {
    /// The launcher's arguments for the place.
    fn place_arguments(&self) -> Vec<OsString> {
        let Some(place) = &self.place else { return Vec::new() };
        let mut arguments: Vec<OsString> = vec!["--netns".into(), place.netns_path.clone().into()];
        let groups = [&place.cpu_cgroup, &place.cgroup2];
        let different = if place.cpu_cgroup == place.cgroup2 { 1 } else { 2 };
        for group in &groups[..different] {
            arguments.extend(["--cgroup".into(), group.into()]);
        }
        let cpus: Vec<String> = place.cpus.iter().map(ToString::to_string).collect();
        arguments.extend(["--cpus".into(), cpus.join(",").into()]);
        arguments
    }
}

/// A node and its process, if it has one.
pub(super) struct Node {
    pub spec: NodeSpec,
    child: Option<Child>,
}

impl Node {
    pub fn new(spec: NodeSpec) -> Node {
        Node { spec, child: None }
    }

    /// Starts the process in `folder`, with its output in `NAME.log`.
    pub fn start(&mut self, lab_binary: &Path, folder: &Path) -> Result<()> {
        let spec = &self.spec;
        let what = || format!("start {} ({})", spec.name, spec.program.display());
        let path = folder.join(format!("{}.log", spec.name));
        let log = fs::File::options().create(true).append(true).open(path).with_context(what)?;
        let mut command = Command::new(lab_binary);
        command
            .args(["launch", "--parent", &std::process::id().to_string()])
            .args(["--signal", spec.death_signal.as_str()])
            .args(spec.place_arguments())
            .arg("--")
            .arg(&spec.program)
            .args(&spec.arguments)
            .current_dir(folder)
            // Ctrl-C in a terminal goes to a whole group: the children are ended in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().with_context(what)?)
            .stderr(log);
        self.child = Some(spawner::spawn(command).with_context(what)?);
        Ok(())
    }

    /// The process id while there is a process.
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok())
    }

    /// Whether the process runs. One that has ended stays a zombie until [`Node::kill`], so that
    /// its pid, which is also its workers' group, cannot become somebody else's.
    pub fn is_alive(&self) -> bool {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        self.pid().is_some_and(|pid| waitid(Id::Pid(Pid::from_raw(pid)), look) == Ok(WaitStatus::StillAlive))
    }

    /// How many threads the process has.
    fn threads(&self) -> usize {
        let tasks = self.pid().and_then(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
        tasks.map_or(0, Iterator::count)
    }

    /// The entry for the run's record.
    pub fn record(&self) -> Option<ChildRecord> {
        Some(ChildRecord { name: self.spec.name.to_owned(), process: Identity::of(self.pid()?)? })
    }

    /// Waits until the node does its work.
    pub fn wait_ready(&mut self, folder: &Path, deadline: Instant) -> Result<()> {
        loop {
            let ready = match self.spec.ready {
                Ready::Accepts(address) => {
                    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
                }
                Ready::Http(address) => http_ready(address).unwrap_or(false),
                Ready::Measures(address) => {
                    http_ready(address).unwrap_or(false) && kernel_told(address).unwrap_or(false)
                }
                Ready::Threads(count) => self.threads() > count as usize,
            };
            if ready {
                return Ok(());
            }
            let (name, expected) = (self.spec.name, self.spec.ready);
            if !self.is_alive() {
                bail!(
                    "{name}: ended before it was ready ({expected:?}); its log ends with:\n{}",
                    self.log(folder)
                );
            }
            if Instant::now() >= deadline {
                bail!("{name}: not ready in time ({expected:?}); its log ends with:\n{}", self.log(folder));
            }
            std::thread::sleep(POLL);
        }
    }

    /// The end of the node's log.
    fn log(&self, folder: &Path) -> String {
        let log = fs::read(folder.join(format!("{}.log", self.spec.name))).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).into_owned()
    }

    /// Asks the process and its workers to end.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Kills the process and its workers, and waits until they are gone: a worker that is still
    /// dying would still accept connections.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let Some(group) = self.pid() else { return };
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        let deadline = Instant::now() + DYING;
        // The look into /proc is only for who is left: orphans may stay zombies for long.
        while killpg(Pid::from_raw(group), None).is_ok()
            && !group_members(group).is_empty()
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends all nodes: politely first, all at once, then not politely.
pub(super) fn end_all(nodes: &mut [Node], patience: Duration) {
    nodes.iter().for_each(Node::terminate);
    let deadline = Instant::now() + patience;
    while nodes.iter().any(Node::is_alive) && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
    nodes.iter_mut().for_each(Node::kill);
}

/// Whether `GET /-/ready` at `address` answers 200.
fn http_ready(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = ask(address, "/-/ready")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.starts_with(b"HTTP/1.") && status.ends_with(b" 200"))
}

/// Whether an agent's metrics tell what became of its kernel measurements.
fn kernel_told(address: SocketAddr) -> std::io::Result<bool> {
    let mut metrics = Vec::new();
    ask(address, "/metrics")?.take(LARGEST_METRICS).read_to_end(&mut metrics)?;
    let told = |line: &str| line.starts_with("insight_measurement_state{") && line.contains("\"socket_rtt\"");
    Ok(String::from_utf8_lossy(&metrics).lines().any(told))
}

/// Sends a GET; the answer is still to be read.
fn ask(address: SocketAddr, path: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    Ok(stream)
}
