//! One run: its nodes, its faults, its end.

use super::node::{self, Node};
use super::options::{Forwarder, LabOptions};
use super::record::{Identity, Record, boot_id};
use super::sweep::{create_run_folder, remove_run_folder, sweep};
use super::{real, specs};
use crate::control;
use crate::fault::Fault;
use crate::forwarder::{ForwarderRequest, ForwarderState};
use crate::relay::{RelayRequest, RelaySettings, RelayState};
use crate::service::{ServiceRequest, ServiceState, ServiceTime};
use crate::topology::{AgentAddresses, Topology};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one node may take until it does its work. Embedded ones need milliseconds; this is
/// for an agent on a machine that is building something else.
const READY: Duration = Duration::from_secs(20);
/// How long nodes have to end by themselves.
const PATIENCE: Duration = Duration::from_secs(2);

/// A node as seen from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Unique within the run, for example `mediary-a`.
    pub name: String,
    /// `agent`, `forwarder`, `link`, `service` or `load`.
    pub role: String,
    /// The program that plays it: `embedded`, `nginx`, `haproxy` or `insight-agent`.
    pub program: String,
    /// Its process; `None` after [`Lab::kill`].
    pub pid: Option<i32>,
    /// Whether the process runs.
    pub alive: bool,
}

/// A running laboratory. Dropping it ends every process and removes the run's folder.
///
/// All calls block. A lab may be moved between threads; its children do not depend on the
/// thread that started it.
pub struct Lab {
    options: LabOptions,
    topology: Topology,
    folder: PathBuf,
    record: Record,
    nodes: Vec<Node>,
    active: Vec<Fault>,
    /// Whether everything has been ended and removed.
    over: bool,
    /// Closed last: from then on another run may take the subnet.
    _claim: TcpListener,
}

impl Lab {
    /// Removes what dead runs left, claims a subnet, and starts every node of `options`, from
    /// the services towards the sender. Returns when all of them do their work.
    ///
    /// # Errors
    /// No subnet is free, a program is not installed, or a node ends or does not become ready
    /// within 20 s: then the end of its log is in the error, and nothing stays behind.
    pub fn start(options: LabOptions) -> Result<Lab> {
        sweep();
        let (topology, claim) = Topology::claim()
            .context("lab: every loopback subnet 127.32.0.0/16 to 127.250.0.0/16 is taken")?;
        let harness = Identity::own()?;
        let folder = create_run_folder(harness, topology.subnet)?;
        let record =
            Record { boot_id: boot_id(), harness, keep: options.keep, topology, children: Vec::new() };
        // From here on Drop cleans up.
        let mut lab = Lab {
            options,
            topology,
            folder,
            record,
            nodes: Vec::new(),
            active: Vec::new(),
            over: false,
            _claim: claim,
        };
        fs::write(lab.receiver_delay_file(), "0\n").context("lab: write the receiver's delay")?;
        for spec in specs::all(&lab.options, &lab.topology, &lab.folder, &lab.receiver_delay_file())? {
            let is_wan = spec.name == "wan";
            lab.nodes.push(Node::new(spec));
            lab.start_node(lab.nodes.len() - 1)?;
            // Before anything is sent: the first request shall not find a WAN without delay.
            if is_wan {
                lab.set_wan()?;
            }
        }
        Ok(lab)
    }

    /// Makes `fault` happen; it stays until cleared, and over restarts of the node it concerns.
    ///
    /// # Errors
    /// The node concerned does not answer.
    pub fn inject(&mut self, fault: &Fault) -> Result<()> {
        self.active.retain(|active| active.name() != fault.name());
        self.active.push(*fault);
        self.apply(fault.name()).with_context(|| format!("inject {fault}"))
    }

    /// Ends the fault of this kind, whatever its size; one that is not active stays so.
    ///
    /// # Errors
    /// The node concerned does not answer or, for `mediary-a-down`, does not come back.
    pub fn clear(&mut self, fault: &Fault) -> Result<()> {
        self.active.retain(|active| active.name() != fault.name());
        self.apply(fault.name()).with_context(|| format!("clear {}", fault.name()))
    }

    /// The faults in force, the newest last.
    pub fn faults(&self) -> &[Fault] {
        &self.active
    }

    /// The sending agent.
    pub fn eu(&self) -> &AgentAddresses {
        &self.topology.insight_eu
    }

    /// The receiving agent.
    pub fn sg(&self) -> &AgentAddresses {
        &self.topology.insight_sg
    }

    /// Where everything listens.
    pub fn addresses(&self) -> &Topology {
        &self.topology
    }

    /// The folder with configurations, logs and `lab.json`.
    pub fn run_dir(&self) -> &Path {
        &self.folder
    }

    /// Every node, from the services towards the sender.
    pub fn nodes(&self) -> Vec<NodeState> {
        let state = |node: &Node| NodeState {
            name: node.spec.name.to_owned(),
            role: node.spec.role.to_owned(),
            program: specs::program_name(&node.spec, &self.options),
            pid: node.pid(),
            alive: node.is_alive(),
        };
        self.nodes.iter().map(state).collect()
    }

    /// Kills a node with SIGKILL and leaves it dead. A name that no node has is ignored.
    pub fn kill(&mut self, node: &str) {
        if let Some(node) = self.nodes.iter_mut().find(|n| n.spec.name == node) {
            node.kill();
        }
        self.save_record();
    }

    /// Starts a node again, with the faults that concern it, and waits until it does its work.
    ///
    /// # Errors
    /// No node has this name, or it does not become ready.
    pub fn restart(&mut self, node: &str) -> Result<()> {
        let index = self.nodes.iter().position(|n| n.spec.name == node);
        let index = index.with_context(|| format!("restart {node:?}: no node has this name"))?;
        self.nodes[index].kill();
        self.start_node(index)?;
        match node {
            "wan" => self.set_wan(),
            "gateway-b" => self.set_gateway(),
            "service-b" => self.set_service(),
            _ => Ok(()),
        }
    }

    /// Ends every process and removes the folder (unless it shall be kept).
    ///
    /// # Errors
    /// A process could not be ended, or the folder could not be removed.
    pub fn stop(mut self) -> Result<()> {
        self.end();
        let left: Vec<_> = self.nodes.iter().filter(|n| n.is_alive()).map(|n| n.spec.name).collect();
        anyhow::ensure!(left.is_empty(), "stop: still alive: {}", left.join(", "));
        anyhow::ensure!(
            self.options.keep || !self.folder.exists(),
            "stop: {} could not be removed",
            self.folder.display()
        );
        Ok(())
    }

    /// Sets everything about the WAN link at once (loss, rate, black hole), for tests that need
    /// more than [`Fault`]; the next WAN fault replaces it.
    ///
    /// # Errors
    /// The relay does not answer, or refuses the settings.
    pub fn set_relay(&self, settings: RelaySettings) -> Result<RelayState> {
        control::ask(Topology::control(self.topology.wan), &RelayRequest::Set(settings))
    }

    /// Resets every open connection of the WAN link.
    ///
    /// # Errors
    /// The relay does not answer.
    pub fn reset_wan_connections(&self) -> Result<RelayState> {
        control::ask(Topology::control(self.topology.wan), &RelayRequest::DropNow)
    }
}

// ── nodes ───────────────────────────────────────────────────────────────────────────────────

impl Lab {
    fn start_node(&mut self, index: usize) -> Result<()> {
        self.nodes[index].start(&self.options.lab_binary, &self.folder)?;
        // Recorded before it is ready: a harness killed while it waits must leave a trace.
        self.save_record();
        self.nodes[index].wait_ready(&self.folder, Instant::now() + READY)
    }

    fn save_record(&mut self) {
        self.record.children = self.nodes.iter().filter_map(Node::record).collect();
        if let Err(error) = self.record.save(&self.folder) {
            tracing::warn!("{error:#}");
        }
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        node::end_all(&mut self.nodes, PATIENCE);
        if self.options.keep {
            self.save_record();
        } else {
            remove_run_folder(&self.folder);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end();
    }
}

// ── faults ──────────────────────────────────────────────────────────────────────────────────

impl Lab {
    /// Brings the node that faults of this name concern to what the active faults say.
    fn apply(&mut self, fault: &str) -> Result<()> {
        match fault {
            "wan-delay" => self.set_wan(),
            "gateway-slow" => self.set_gateway(),
            "service-slow" => self.set_service(),
            _ if self.active.contains(&Fault::MediaryADown) => {
                self.kill("mediary-a");
                Ok(())
            }
            _ => {
                let up = self.nodes.iter().any(|n| n.spec.name == "mediary-a" && n.is_alive());
                if up { Ok(()) } else { self.restart("mediary-a") }
            }
        }
    }

    /// What active faults of this kind add; zero without one.
    fn added(&self, fault: &str) -> Duration {
        self.active.iter().find(|f| f.name() == fault).and_then(Fault::added).unwrap_or_default()
    }

    fn set_wan(&self) -> Result<()> {
        let rtt = self.options.wan_rtt + self.added("wan-delay");
        self.set_relay(RelaySettings::round_trip(rtt)).map(|_| ())
    }

    fn set_gateway(&self) -> Result<()> {
        let delay = self.added("gateway-slow");
        match self.options.forwarder {
            Forwarder::Embedded => {
                let request = ForwarderRequest::SetRequestDelayUs(micros(delay));
                let control = Topology::control(self.topology.gateway_b);
                control::ask::<_, ForwarderState>(control, &request).map(|_| ())
            }
            Forwarder::Nginx | Forwarder::Haproxy => {
                real::set_haproxy_delay(&self.folder, "gateway-b", delay)
            }
        }
    }

    /// Both services that stand for "the service": the business one and Insight's receiver,
    /// which follows its `drill_delay_file`.
    fn set_service(&self) -> Result<()> {
        let delay = self.added("service-slow");
        // The receiver must never read half a number: write aside, then rename.
        let (file, fresh) = (self.receiver_delay_file(), self.folder.join("receiver-delay-ms.new"));
        fs::write(&fresh, format!("{}\n", delay.as_secs_f64() * 1e3))
            .and_then(|()| fs::rename(&fresh, &file))
            .with_context(|| format!("write {}", file.display()))?;
        let time = ServiceTime { fixed_us: micros(delay), exponential_mean_us: 0 };
        let control = Topology::control(self.topology.service_b);
        control::ask::<_, ServiceState>(control, &ServiceRequest::Set(time)).map(|_| ())
    }

    fn receiver_delay_file(&self) -> PathBuf {
        self.folder.join("receiver-delay-ms")
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
