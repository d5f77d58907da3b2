//! One half of a comparison: fresh programs, a fixed time of load, figures.
//!
//! Origin and forwarder start anew each time, so that no half inherits connections that an agent
//! has not seen opened, and no half has the older processes.

use super::apart::Site;
use super::load::{self, Load};
use super::process::{Cpu, Launcher, Process};
use super::programs::{self, Snapshot};
use super::ready::{Disabled, READY_WITHIN, Set, wait_measures};
use super::setting::{self, Addresses, Forwarder, Placement, Upstream};
use crate::demo::poll;
use anyhow::{Context, Result, bail};
use insight_lab::Interrupt;
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long unloaded programs may take to be gone: an RCU grace period.
const UNLOADED_WITHIN: Duration = Duration::from_secs(5);

/// What h2load may take beyond the time that it was given.
const OVERTIME: Duration = Duration::from_secs(20);

/// What every half has in common.
pub struct Ground<'a> {
    /// `insight-agent`.
    pub agent: PathBuf,
    /// `insight-lab`.
    pub lab: PathBuf,
    /// What is measured.
    pub forwarder: Forwarder,
    /// Its program.
    pub forwarder_program: PathBuf,
    /// How the forwarder connects to its upstream.
    pub upstream: Upstream,
    /// Who runs on which CPU.
    pub placement: Placement,
    /// Who runs in which network namespace.
    pub site: &'a Site,
    /// Connections of the load.
    pub connections: u32,
    /// One in so many connections is measured in full.
    pub sample_one_in: u32,
    /// Load after the warm-up. **Unit**: s.
    pub seconds: f64,
    /// Configurations and logs.
    pub folder: &'a Path,
    /// Ctrl-C.
    pub interrupt: &'a Interrupt,
}

/// The figures of a half.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Half {
    /// What h2load saw.
    #[serde(flatten)]
    pub load: Load,
    /// The forwarder's CPU time for each request. **None**: the kernel keeps no such time.
    pub forwarder_cpu_ns_per_request: Option<f64>,
    /// Share of the half in which the forwarder ran: near 1 where it is what limits the throughput.
    pub forwarder_busy: Option<f64>,
    /// Share of the half in which the forwarder was ready but did not run: others had its CPU.
    pub forwarder_waited: Option<f64>,
    /// Share of one CPU that the agent used. **None**: it did not run.
    pub agent_cpu: Option<f64>,
}

/// What a half that counts program runs adds.
pub struct Counted {
    /// The figures.
    pub half: Half,
    /// Runs before the load.
    pub before: Snapshot,
    /// Runs after it.
    pub after: Snapshot,
    /// What the programs are called.
    pub names: BTreeMap<u32, String>,
    /// Requests whose way up the agent's `residence` has a sample of.
    pub residence_samples: u64,
    /// What the agent was asked to measure and does not.
    pub disabled: Vec<Disabled>,
}

/// Whom h2load calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The forwarder.
    Forwarder,
    /// The origin straight, while the forwarder idles: every socket with traffic is foreign to the
    /// agent where load and origin are apart from the node.
    Origin,
}

/// A running agent.
pub struct Agent {
    /// Its process.
    pub process: Process,
    /// What it was asked to measure and does not.
    pub disabled: Vec<Disabled>,
}

impl Ground<'_> {
    /// One half without counting. `set` **None**: without the agent.
    ///
    /// # Errors
    /// A program does not start or ends early, requests fail, or somebody pressed Ctrl-C.
    pub fn half(&self, set: Option<Set>) -> Result<Half> {
        let (mut path, addresses) = self.start_path()?;
        let agent = set.map(|set| self.start_agent(&addresses, set)).transpose()?;
        let process = agent.as_ref().map(|agent| &agent.process);
        let half = self.load(&mut path, process, addresses.forwarder)?;
        agent.map_or(Ok(()), |agent| self.stop_agent(agent))?;
        Ok(half)
    }

    /// One half with the agent while the kernel counts program runs.
    ///
    /// # Errors
    /// As [`Self::half`].
    pub fn counted_half(&self, set: Set, target: Target) -> Result<Counted> {
        let (mut path, addresses) = self.start_path()?;
        let agent = self.start_agent(&addresses, set)?;
        let process = &agent.process;
        let called = match target {
            Target::Forwarder => addresses.forwarder,
            Target::Origin => addresses.origin,
        };
        let counting = programs::count_runs()?;
        let before = programs::held_by(process.pid())?;
        let half = self.load(&mut path, Some(process), called)?;
        let after = programs::held_by(process.pid())?;
        let names = programs::names()?;
        drop(counting);
        let residence_samples = match target {
            Target::Forwarder => self.residence_samples(addresses.metrics)?,
            Target::Origin => 0,
        };
        let disabled = agent.disabled.clone();
        self.stop_agent(agent)?;
        Ok(Counted { half, before, after, names, residence_samples, disabled })
    }

    /// Starts origin and forwarder, and waits until both accept.
    ///
    /// # Errors
    /// One of them does not start, or somebody pressed Ctrl-C.
    pub fn start_path(&self) -> Result<(Chain, Addresses)> {
        let addresses = self.site.addresses()?;
        let launcher = self.launcher();
        let config = self.write("origin.cfg", &setting::origin(&addresses, &self.message()))?;
        // Under a name of its own: a forwarder is known by its name, and this is none.
        let program = self.folder.join("origin");
        let arguments = Forwarder::Haproxy.arguments(self.folder, &config);
        let (far, others) = (self.site.far(), &self.placement.others);
        let mut origin = launcher.start_in(far, "origin", others, program, arguments)?;
        self.wait_accepts(&mut origin, addresses.origin, 1)?;

        let forwarder = self.forwarder;
        let config = self.write("forwarder.cfg", &forwarder.configuration(&addresses, self.upstream))?;
        let arguments = forwarder.arguments(self.folder, &config);
        let program = &self.forwarder_program;
        let (node, cpus) = (self.site.node(), &self.placement.forwarder);
        let mut process = launcher.start_in(node, forwarder.as_str(), cpus, program, arguments)?;
        self.wait_accepts(&mut process, addresses.forwarder, forwarder.processes())?;
        Ok((Chain { forwarder: process, _origin: origin }, addresses))
    }

    /// Starts the agent, and waits until its kernel measurements are active.
    ///
    /// # Errors
    /// As [`wait_measures`], or it does not start.
    pub fn start_agent(&self, addresses: &Addresses, set: Set) -> Result<Agent> {
        let sampling = self.sample_one_in;
        let text = setting::agent(self.forwarder, addresses, set, sampling, self.site.node());
        let arguments = ["run".into(), "--config".into(), self.write("agent.toml", &text)?];
        let name = "insight-agent";
        let mut process = self.launcher().start_in(self.site.node(), name, &[], &self.agent, arguments)?;
        let disabled = wait_measures(&mut process, self.site, addresses.admin, set, self.interrupt)?;
        Ok(Agent { process, disabled })
    }

    /// Ends the agent, and waits until the kernel has let go of its programs.
    fn stop_agent(&self, agent: Agent) -> Result<()> {
        let held = programs::held_by(agent.process.pid())?;
        drop(agent);
        let deadline = Instant::now() + UNLOADED_WITHIN;
        loop {
            let loaded = programs::names()?;
            if !held.keys().any(|id| loaded.contains_key(id)) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("the agent's programs are still loaded {UNLOADED_WITHIN:?} after its end");
            }
            if self.interrupt.wait(Duration::from_millis(20)) {
                bail!("interrupted");
            }
        }
    }

    /// Runs h2load against `target`.
    fn load(&self, path: &mut Chain, agent: Option<&Process>, target: SocketAddr) -> Result<Half> {
        let log = self.folder.join("requests.log");
        // h2load appends to what is there.
        if log.exists() {
            fs::remove_file(&log).with_context(|| format!("remove {}", log.display()))?;
        }
        let arguments = load::arguments(target, self.connections, self.seconds, &self.message(), &log);
        let (forwarder_before, agent_before) = (path.forwarder.cpu(), agent.and_then(Process::cpu));
        let began = Instant::now();
        let (far, cpus) = (self.site.far(), &self.placement.others);
        let mut h2load = self.launcher().start_in(far, "h2load", cpus, "h2load", arguments)?;
        h2load.succeed(Duration::from_secs_f64(self.seconds) + OVERTIME, self.interrupt)?;
        let took_ns = began.elapsed().as_nanos() as f64;
        let added = |before: Option<Cpu>, after: Option<Cpu>| Some(after?.since(before?));
        let forwarder = added(forwarder_before, path.forwarder.cpu());
        let agent_used = added(agent_before, agent.and_then(Process::cpu));

        let text = fs::read_to_string(&log).with_context(|| {
            format!("read {}; h2load's output ends with:\n{}", log.display(), h2load.log_tail())
        })?;
        let load = Load::parse(&text, self.seconds).with_context(|| {
            format!("load {}; its log ends with:\n{}", self.forwarder, path.forwarder.log_tail())
        })?;
        Ok(Half {
            load,
            forwarder_cpu_ns_per_request: forwarder.map(|cpu| cpu.used_ns as f64 / load.requests as f64),
            forwarder_busy: forwarder.map(|cpu| cpu.used_ns as f64 / took_ns),
            forwarder_waited: forwarder.map(|cpu| cpu.waited_ns as f64 / took_ns),
            agent_cpu: agent_used.map(|cpu| cpu.used_ns as f64 / took_ns),
        })
    }

    /// How many residences on the way up the agent has counted: whether it measured at all.
    fn residence_samples(&self, metrics: SocketAddr) -> Result<u64> {
        // The agent reads its maps once a second: the second reading after the load has all.
        if self.interrupt.wait(Duration::from_secs(2)) {
            bail!("interrupted");
        }
        let page = self.site.at_node(|| poll::get(metrics, "/metrics"))??;
        Ok(residences_up(&String::from_utf8_lossy(&page)))
    }

    fn wait_accepts(&self, process: &mut Process, address: SocketAddr, processes: usize) -> Result<()> {
        let pid = process.pid();
        process.wait_until("accepted connections", READY_WITHIN, self.interrupt, || {
            let accepts =
                self.site.at_far(|| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())?;
            Ok((accepts && super::process::members(pid).len() >= processes).then_some(()))
        })
    }

    fn launcher(&self) -> Launcher<'_> {
        Launcher { lab: &self.lab, folder: self.folder }
    }

    fn message(&self) -> PathBuf {
        self.folder.join("message")
    }

    fn write(&self, file: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(file);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// What lies in the folder for all halves: the message, and the origin's program by its name.
    ///
    /// # Errors
    /// HAProxy, which is the origin, is not installed, or the folder cannot be written.
    pub fn prepare(&self) -> Result<()> {
        let message = self.message();
        fs::write(&message, load::EMPTY_MESSAGE).with_context(|| format!("write {}", message.display()))?;
        let (program, link) = (Forwarder::Haproxy.program()?, self.folder.join("origin"));
        std::os::unix::fs::symlink(program, &link).with_context(|| format!("create {}", link.display()))
    }
}

/// The programs behind h2load; they end with this, the forwarder first.
pub struct Chain {
    /// The forwarder.
    pub forwarder: Process,
    _origin: Process,
}

/// Sums what the page counts of residences on the way to the origin.
fn residences_up(page: &str) -> u64 {
    let counts = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let labels = series.strip_prefix("insight_forward_residence_seconds_count{")?;
        let wanted = labels.contains("direction=\"up\"") && labels.contains("peer=\"origin\"");
        wanted.then(|| value.parse::<f64>().ok())?
    });
    counts.sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_residences_on_the_way_to_the_origin_count() {
        let page = "\
# TYPE insight_forward_residence_seconds histogram
insight_forward_residence_seconds_count{direction=\"up\",node=\"bench\",peer=\"origin\"} 40
insight_forward_residence_seconds_count{direction=\"down\",node=\"bench\",peer=\"callers\"} 39
insight_forward_residence_seconds_count{direction=\"up\",node=\"bench\",peer=\"other\"} 5
insight_forward_residence_seconds_sum{direction=\"up\",node=\"bench\",peer=\"origin\"} 0.5
";
        assert_eq!(residences_up(page), 40);
        assert_eq!(residences_up(""), 0);
    }
}
