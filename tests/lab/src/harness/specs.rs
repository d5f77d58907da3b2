//! What each node of a run is started with: the topology turned into command lines and files.

use super::agent_config::Agents;
use super::launch::DeathSignal;
use super::node::{NodeSpec, Ready};
use super::options::{Forwarder, LabOptions};
use super::{files, real};
use crate::namespaces::{NodePlace, Places, WAN_DEVICE};
use crate::topology::Topology;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Mean service time of the background traffic, in microseconds, exponentially distributed: slow
/// and variable, as business requests are, so that a mean over everything that crosses a hop
/// tells nothing about a probe.
const BACKGROUND_MEAN_US: u64 = 100_000;
/// The load generator is told to stop after this, in seconds; it ends with the run anyway.
const LOAD_SECONDS: u64 = 86_400;
/// Competitors for a CPU end after this, in seconds, also when nobody clears the fault.
const SPIN_SECONDS: u64 = 300;

/// The agents of the forwarding nodes: their name in the run, their node, its region.
pub(super) const NODE_AGENTS: [(&str, &str, &str); 3] = [
    ("agent@gateway-b", "gateway-b", "sg"),
    ("agent@mediary-b", "mediary-b", "sg"),
    ("agent@mediary-a", "mediary-a", "eu"),
];

/// Threads that compete with a forwarder, in its place; they end by themselves after a while.
pub(super) fn spinners(options: &LabOptions, place: &NodePlace, threads: u32) -> NodeSpec {
    let arguments = ["spin".to_owned(), format!("--threads={threads}"), format!("--seconds={SPIN_SECONDS}")];
    NodeSpec {
        name: "spinners@mediary-a",
        role: "fault",
        program: options.lab_binary.clone(),
        arguments: arguments.into_iter().map(OsString::from).collect(),
        death_signal: DeathSignal::Kill,
        ready: Ready::Threads(threads),
        place: Some(place.clone()),
    }
}

/// Every node, in the order in which they are started: from the services towards the sender.
pub(super) fn all(
    options: &LabOptions,
    at: &Topology,
    folder: &Path,
    places: Option<&Places>,
) -> Result<Vec<NodeSpec>> {
    let build = Build { options, folder, kernel: places.is_some() };
    let (drill, token) = (&files::receiver_delay(folder), &files::report_token(folder));
    let agents = Agents { options, at, places, drill, token };
    let mut specs = vec![
        build.embedded("service-b", "service", at.service_b, &["service"]),
        build.embedded(
            "slow-b",
            "service",
            at.slow_b,
            &["service", "--exponential-mean-us", &BACKGROUND_MEAN_US.to_string()],
        ),
    ];
    if options.start_agents {
        specs.push(build.agent("insight-sg", &agents.sg()?, at.insight_sg.metrics)?);
    }
    let by_service = [("insight", at.insight_sg.grpc), ("business", at.service_b), ("background", at.slow_b)];
    specs.push(build.forwarder("gateway-b", at.gateway_b, "x-target-service", &by_service)?);
    specs.push(build.forwarder("mediary-b", at.mediary_b, "x-target-region", &[("sg", at.gateway_b)])?);
    specs.push(build.wan(at, places)?);
    specs.push(build.forwarder("mediary-a", at.mediary_a, "x-target-region", &[("sg", at.wan)])?);
    if options.node_agents {
        for (name, node, region) in NODE_AGENTS {
            let addresses = at.agent(node).with_context(|| format!("{name}: no addresses"))?;
            let forwards = specs.iter().find(|spec| spec.name == node);
            let process = process_name(forwards.with_context(|| format!("{name}: nothing forwards there"))?);
            specs.push(build.agent(name, &agents.node(node, region, &process)?, addresses.metrics)?);
        }
    }
    // Behind the nodes' agents: these measure only connections that are opened after their start.
    if options.background_rps > 0.0 {
        specs.push(build.load(at));
    }
    if options.start_agents {
        specs.push(build.agent("insight-eu", &agents.eu()?, at.insight_eu.metrics)?);
    }
    for spec in &mut specs {
        spec.place = places.and_then(|places| places.of(spec.name)).cloned();
    }
    Ok(specs)
}

/// The name of the program that plays a node.
pub(super) fn program_name(spec: &NodeSpec, options: &LabOptions) -> String {
    if spec.program == options.lab_binary {
        return "embedded".to_owned();
    }
    file_name(spec)
}

/// The name of a node's processes in `/proc/PID/comm`.
fn process_name(spec: &NodeSpec) -> String {
    // The kernel keeps 15 bytes of it.
    file_name(spec).chars().take(15).collect()
}

fn file_name(spec: &NodeSpec) -> String {
    spec.program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

struct Build<'a> {
    options: &'a LabOptions,
    folder: &'a Path,
    /// Whether agents measure in the kernel.
    kernel: bool,
}

impl Build<'_> {
    /// A component of `insight-lab` that listens at `listen`, with its control port beside it.
    fn embedded(
        &self,
        name: &'static str,
        role: &'static str,
        listen: SocketAddr,
        arguments: &[&str],
    ) -> NodeSpec {
        let control = Topology::control(listen);
        let mut arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        arguments
            .extend(["--listen", &listen.to_string(), "--control", &control.to_string()].map(OsString::from));
        NodeSpec {
            name,
            role,
            program: self.options.lab_binary.clone(),
            arguments,
            death_signal: DeathSignal::Kill,
            // Bound after the other one, so both are there.
            ready: Ready::Accepts(control),
            place: None,
        }
    }

    /// The WAN: a relay of connections, or in namespaces one of packets.
    fn wan(&self, at: &Topology, places: Option<&Places>) -> Result<NodeSpec> {
        let Some(places) = places else {
            return Ok(self.embedded(
                "wan",
                "link",
                at.wan,
                &["relay", "--target", &at.mediary_b.to_string()],
            ));
        };
        let netns = |node: &str| {
            let place = places.of(node).with_context(|| format!("wan: no namespace of {node}"))?;
            anyhow::Ok(place.netns_path.clone().into_os_string())
        };
        let arguments = vec![
            "tun-relay".into(),
            "--near".into(),
            netns("mediary-a")?,
            "--far".into(),
            netns("mediary-b")?,
            "--device".into(),
            WAN_DEVICE.into(),
            "--control".into(),
            at.wan_control.to_string().into(),
        ];
        Ok(NodeSpec {
            name: "wan",
            role: "link",
            program: self.options.lab_binary.clone(),
            arguments,
            death_signal: DeathSignal::Kill,
            ready: Ready::Accepts(at.wan_control),
            place: None,
        })
    }

    fn agent(&self, name: &'static str, config: &str, metrics: SocketAddr) -> Result<NodeSpec> {
        let path = self.folder.join(format!("{name}.toml"));
        fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        Ok(NodeSpec {
            name,
            role: "agent",
            program: self.options.agent_binary.clone(),
            arguments: vec!["run".into(), "--config".into(), path.into()],
            death_signal: DeathSignal::Kill,
            ready: if self.kernel { Ready::Measures(metrics) } else { Ready::Http(metrics) },
            place: None,
        })
    }

    /// A hop that routes by the value of `key`, played by the program that the run asks for.
    fn forwarder(
        &self,
        name: &'static str,
        listen: SocketAddr,
        key: &'static str,
        routes: &[(&'static str, SocketAddr)],
    ) -> Result<NodeSpec> {
        // HAProxy is the gateway of both kinds: a fault holds requests inside it.
        match (self.options.forwarder, routes) {
            (Forwarder::Embedded, _) => {
                let mut arguments = vec!["forwarder".to_owned(), "--name".to_owned(), name.to_owned()];
                if !self.options.hop_headers {
                    arguments.push("--silent".to_owned());
                }
                for (value, upstream) in routes {
                    arguments.extend(["--route".to_owned(), format!("{key}={value}={upstream}")]);
                }
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                Ok(self.embedded(name, "forwarder", listen, &arguments))
            }
            (Forwarder::Nginx, [(_, next)]) => self.nginx(name, listen, *next),
            (Forwarder::Nginx | Forwarder::Haproxy, _) => self.haproxy(name, listen, key, routes),
        }
    }

    fn nginx(&self, name: &'static str, listen: SocketAddr, next: SocketAddr) -> Result<NodeSpec> {
        let program = real::nginx_available().context("nginx is not installed: apt-get install nginx")?;
        let config = real::write_nginx(self.folder, name, listen, next, self.options.hop_headers)?;
        let arguments: Vec<OsString> =
            vec!["-p".into(), self.folder.into(), "-e".into(), "stderr".into(), "-c".into(), config.into()];
        let ready = Ready::Accepts(listen);
        let death_signal = DeathSignal::Term;
        Ok(NodeSpec { name, role: "forwarder", program, arguments, death_signal, ready, place: None })
    }

    fn haproxy(
        &self,
        name: &'static str,
        listen: SocketAddr,
        key: &str,
        routes: &[real::HaproxyRoute],
    ) -> Result<NodeSpec> {
        let program =
            real::haproxy_available().context("haproxy is not installed: apt-get install haproxy")?;
        let config = real::write_haproxy(self.folder, name, listen, (key, routes), self.options.hop_headers)?;
        // -db: stay in the foreground, one process.
        let arguments: Vec<OsString> = vec!["-db".into(), "-f".into(), config.into()];
        let ready = Ready::Accepts(listen);
        let death_signal = DeathSignal::Kill;
        Ok(NodeSpec { name, role: "forwarder", program, arguments, death_signal, ready, place: None })
    }

    /// Background traffic through the whole path.
    fn load(&self, at: &Topology) -> NodeSpec {
        let arguments = [
            "load".to_owned(),
            format!("--target={}", at.mediary_a),
            format!("--rps={}", self.options.background_rps),
            format!("--seconds={LOAD_SECONDS}"),
            "--metadata=x-target-region=sg".to_owned(),
            "--metadata=x-target-service=background".to_owned(),
            format!("--control={}", at.load_control),
        ];
        NodeSpec {
            name: "load",
            role: "load",
            program: self.options.lab_binary.clone(),
            arguments: arguments.into_iter().map(OsString::from).collect(),
            death_signal: DeathSignal::Kill,
            ready: Ready::Accepts(at.load_control),
            place: None,
        }
    }
}
