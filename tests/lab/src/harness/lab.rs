//! One run: its nodes, its faults, its end.

use super::node::{self, Node};
use super::options::{Isolation, LabOptions};
use super::record::{Identity, Record, boot_id};
use super::sweep::{create_run_folder, remove_run_folder, sweep};
use super::{files, specs};
use crate::control;
use crate::fault::Fault;
use crate::namespaces::{NodePlace, Places};
use crate::relay::{RelayRequest, RelaySettings, RelayState};
use crate::topology::{AgentAddresses, Topology};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one node may take until it does its work. Embedded ones need milliseconds; this is
/// for an agent on a machine that is building something else.
pub(super) const READY: Duration = Duration::from_secs(20);
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
    /// Its namespace, control groups and CPUs; `None` in a run without namespaces.
    pub place: Option<NodePlace>,
}

/// A running laboratory. Dropping it ends every process and removes the run's folder.
///
/// All calls block. A lab may be moved between threads; its children do not depend on the
/// thread that started it.
pub struct Lab {
    pub(super) options: LabOptions,
    pub(super) topology: Topology,
    pub(super) folder: PathBuf,
    record: Record,
    pub(super) nodes: Vec<Node>,
    /// What competes with mediary-a for its CPU, while that fault is in force.
    pub(super) spinners: Option<Node>,
    pub(super) active: Vec<Fault>,
    /// What a run in namespaces made outside its folder.
    pub(super) places: Option<Places>,
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
    /// No subnet is free, a program is not installed, namespaces are asked for without root, or a node ends or does not become ready
    /// within 20 s: then the end of its log is in the error, and nothing stays behind.
    pub fn start(options: LabOptions) -> Result<Lab> {
        sweep();
        let (topology, claim) = Topology::claim()
            .context("lab: every loopback subnet 127.32.0.0/16 to 127.250.0.0/16 is taken")?;
        let harness = Identity::own()?;
        let folder = create_run_folder(harness, topology.subnet)?;
        let record = Record {
            boot_id: boot_id(),
            harness,
            keep: options.keep,
            topology,
            places: Vec::new(),
            children: Vec::new(),
        };
        // From here on Drop cleans up.
        let mut lab = Lab {
            options,
            topology,
            folder,
            record,
            nodes: Vec::new(),
            spinners: None,
            active: Vec::new(),
            places: None,
            over: false,
            _claim: claim,
        };
        files::write(&lab.folder).context("lab")?;
        if lab.options.isolation == Isolation::Namespaces {
            let places = Places::create(harness, topology.subnet)?;
            lab.topology = places.topology(&topology);
            lab.record.topology = lab.topology;
            lab.record.places = places.all();
            lab.places = Some(places);
        }
        for spec in specs::all(&lab.options, &lab.topology, &lab.folder, lab.places.as_ref())? {
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
    /// The node concerned does not answer, or the fault needs namespaces and the run has none.
    pub fn inject(&mut self, fault: &Fault) -> Result<()> {
        ensure!(
            self.places.is_some() || !fault.needs_namespaces(),
            "inject {fault}: only a lab with isolation namespaces has a place for it"
        );
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

    /// The agent of a node: `insight-eu`, `insight-sg`, or with node agents a forwarding node such
    /// as `mediary-a`. `None` when the run has no agent there.
    pub fn agent(&self, node: &str) -> Option<AgentAddresses> {
        let on_forwarder = format!("agent@{node}");
        let runs =
            self.nodes.iter().any(|n| n.spec.role == "agent" && [node, &on_forwarder].contains(&n.spec.name));
        self.topology.agent(node).filter(|_| runs)
    }

    /// Where a node of a run in namespaces is; also of `load`, `wan` and the agents. `None`
    /// without namespaces, or when no node has this name.
    pub fn place(&self, node: &str) -> Option<&NodePlace> {
        self.places.as_ref()?.of(node)
    }

    /// Where everything listens.
    pub fn addresses(&self) -> &Topology {
        &self.topology
    }

    /// The folder with configurations, logs and `lab.json`.
    pub fn run_dir(&self) -> &Path {
        &self.folder
    }

    /// The file with the token that readers of the agents' reports must present.
    pub fn report_token_file(&self) -> PathBuf {
        files::report_token(&self.folder)
    }

    /// Every node, from the services towards the sender.
    pub fn nodes(&self) -> Vec<NodeState> {
        let state = |node: &Node| NodeState {
            name: node.spec.name.to_owned(),
            role: node.spec.role.to_owned(),
            program: specs::program_name(&node.spec, &self.options),
            pid: node.pid(),
            alive: node.is_alive(),
            place: node.spec.place.clone(),
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
    /// A process could not be ended, or something of the run could not be removed.
    pub fn stop(mut self) -> Result<()> {
        let kept = self.end();
        ensure!(kept.is_empty(), "stop: could not be removed: {}", kept.join(", "));
        let left: Vec<_> = self.nodes.iter().filter(|n| n.is_alive()).map(|n| n.spec.name).collect();
        ensure!(left.is_empty(), "stop: still alive: {}", left.join(", "));
        ensure!(
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
        control::ask(self.topology.wan_control, &RelayRequest::Set(settings))
    }

    /// Resets every open connection of the WAN link.
    ///
    /// # Errors
    /// The relay does not answer, or it carries packets and knows no connections (namespaces).
    pub fn reset_wan_connections(&self) -> Result<RelayState> {
        control::ask(self.topology.wan_control, &RelayRequest::DropNow)
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

    pub(super) fn save_record(&mut self) {
        self.record.children = self.nodes.iter().chain(&self.spinners).filter_map(Node::record).collect();
        if let Err(error) = self.record.save(&self.folder) {
            tracing::warn!("{error:#}");
        }
    }

    /// Ends and removes everything; names what could not be removed outside the folder.
    fn end(&mut self) -> Vec<String> {
        if std::mem::replace(&mut self.over, true) {
            return Vec::new();
        }
        // First: what slows a node down would also slow its end down.
        self.spinners = None;
        if let Some(Err(error)) = self.places.as_ref().map(|places| places.limit_cpu("mediary-a", None)) {
            tracing::warn!("{error:#}");
        }
        node::end_all(&mut self.nodes, PATIENCE);
        let kept = self.places.take().map(|places| places.remove()).unwrap_or_default();
        if self.options.keep {
            self.save_record();
        } else {
            remove_run_folder(&self.folder);
        }
        kept
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end();
    }
}
