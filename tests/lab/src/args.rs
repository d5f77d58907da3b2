//! The command line of `insight-lab`.

use clap::{Parser, Subcommand};
use insight_lab::forwarder::{ForwarderOptions, Route, Routes};
use insight_lab::harness::launch::{DeathSignal, LaunchPlace};
use insight_lab::load::LoadOptions;
use insight_lab::relay::{DirectionSettings, RelaySettings};
use insight_lab::service::ServiceTime;
use insight_lab::stopwatch::StopwatchOptions;
use insight_lab::tun_relay::TunRelayOptions;
use insight_lab::{Fault, Forwarder, Isolation};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Two regions on one machine, to test Insight against
#[derive(Parser)]
#[command(name = "insight-lab")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// A WAN link: TCP with delay, jitter, rate, resets and black holes
    Relay(RelayArgs),
    /// A WAN link: IP packets between TUN devices of two network namespaces
    TunRelay(TunRelayArgs),
    /// The reference forwarder: routes by metadata, appends x-insight-hop
    Forwarder(ForwarderArgs),
    /// A gRPC service with a known service time
    Service(ServiceArgs),
    /// Open-loop Poisson load; prints its counters as JSON when it is over
    Load(LoadArgs),
    /// Threads that use a CPU, for a bounded time
    Spin(SpinArgs),
    /// A double of an Insight receiver that tells to the microsecond how long it took
    Stopwatch(StopwatchArgs),
    /// Run a whole lab; prints its addresses as one line of JSON when it is up
    Up(Up),
    /// Tie a program's life to its parent's, then become it
    #[command(hide = true)]
    Launch(Launch),
}

#[derive(clap::Args)]
pub(crate) struct StopwatchArgs {
    #[arg(long)]
    pub listen: SocketAddr,
    /// Never sleep: for a CPU of its own
    #[arg(long)]
    pub spin: bool,
    /// When it ends by itself
    #[arg(long, default_value_t = 600)]
    pub seconds: u64,
}

impl StopwatchArgs {
    pub(crate) fn options(&self) -> StopwatchOptions {
        let Self { listen, spin, seconds } = *self;
        StopwatchOptions { listen, spin, lifetime: Duration::from_secs(seconds) }
    }
}

#[derive(clap::Args)]
pub(crate) struct RelayArgs {
    #[arg(long)]
    pub listen: SocketAddr,
    /// Where connections are relayed to
    #[arg(long)]
    pub target: SocketAddr,
    /// Where the relay can be told and asked things while it runs
    #[arg(long)]
    pub control: SocketAddr,
    /// Delay in each direction, in microseconds
    #[arg(long, default_value_t = 0)]
    pub delay_us: u64,
    /// Upper end of the further, random delay in each direction, in microseconds
    #[arg(long, default_value_t = 0)]
    pub jitter_us: u64,
}

impl RelayArgs {
    pub fn settings(&self) -> RelaySettings {
        let one_way =
            DirectionSettings { delay_us: self.delay_us, jitter_us: self.jitter_us, ..Default::default() };
        RelaySettings { forward: one_way, backward: one_way, ..RelaySettings::default() }
    }
}

#[derive(clap::Args)]
pub(crate) struct TunRelayArgs {
    /// The network namespace of the side that connects, for example /run/netns/NAME
    #[arg(long)]
    pub near: PathBuf,
    /// The network namespace of the side that accepts
    #[arg(long)]
    pub far: PathBuf,
    /// The name of the TUN device in both namespaces
    #[arg(long)]
    pub device: String,
    /// Where the relay can be told and asked things while it runs
    #[arg(long)]
    pub control: SocketAddr,
}

impl TunRelayArgs {
    pub fn options(self) -> TunRelayOptions {
        TunRelayOptions {
            near: self.near,
            far: self.far,
            device: self.device,
            control: self.control,
            settings: RelaySettings::default(),
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct SpinArgs {
    /// How many threads
    #[arg(long)]
    pub threads: u32,
    /// How long they run, in seconds
    #[arg(long)]
    pub seconds: u64,
}

#[derive(clap::Args)]
pub(crate) struct ForwarderArgs {
    /// The hop's name in x-insight-hop
    #[arg(long)]
    pub name: String,
    #[arg(long)]
    pub listen: SocketAddr,
    /// Where the forwarder can be told and asked things while it runs
    #[arg(long)]
    pub control: SocketAddr,
    /// KEY=VALUE=ADDRESS:PORT: where requests with this metadata go (first match wins)
    #[arg(long = "route")]
    pub routes: Vec<Route>,
    /// Append no x-insight-hop
    #[arg(long)]
    pub silent: bool,
    /// Where requests go that no route matches; without it they are refused
    #[arg(long)]
    pub default: Option<SocketAddr>,
    /// How long an upstream may take to answer, in milliseconds
    #[arg(long, default_value_t = 15_000)]
    pub timeout_ms: u64,
    /// Downstream connections at once
    #[arg(long, default_value_t = 1024)]
    pub max_connections: usize,
    /// Threads that take each other's work; with 1 there is one event loop
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
}

impl ForwarderArgs {
    pub fn options(self) -> ForwarderOptions {
        ForwarderOptions {
            name: self.name,
            silent: self.silent,
            listen: self.listen,
            control: self.control,
            routes: Routes::new(self.routes, self.default),
            upstream_timeout: Duration::from_millis(self.timeout_ms),
            max_connections: self.max_connections,
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct ServiceArgs {
    #[arg(long)]
    pub listen: SocketAddr,
    /// Where the service can be told and asked things while it runs
    #[arg(long)]
    pub control: SocketAddr,
    /// Service time of every request, in microseconds
    #[arg(long, default_value_t = 0)]
    pub fixed_us: u64,
    /// Mean of the further, exponentially distributed service time, in microseconds
    #[arg(long, default_value_t = 0)]
    pub exponential_mean_us: u64,
}

impl ServiceArgs {
    pub fn time(&self) -> ServiceTime {
        ServiceTime { fixed_us: self.fixed_us, exponential_mean_us: self.exponential_mean_us }
    }
}

#[derive(clap::Args)]
pub(crate) struct LoadArgs {
    /// The forwarder to call
    #[arg(long)]
    pub target: SocketAddr,
    /// Mean arrivals per second
    #[arg(long)]
    pub rps: f64,
    /// How long to offer the load, in seconds
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Connections that the requests share
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// KEY=VALUE metadata of every request
    #[arg(long = "metadata", value_parser = key_value)]
    pub metadata: Vec<(String, String)>,
    /// Where the counters can be asked for
    #[arg(long)]
    pub control: Option<SocketAddr>,
}

impl LoadArgs {
    pub fn options(self) -> LoadOptions {
        LoadOptions {
            target: self.target,
            requests_per_second: self.rps,
            connections: self.connections,
            metadata: self.metadata,
            duration: Duration::from_secs(self.seconds),
            control: self.control,
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or_else(|| format!("metadata {text:?}: expected KEY=VALUE"))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

#[derive(clap::Args)]
pub(crate) struct Up {
    /// How long to stay up
    #[arg(long, default_value_t = 3600)]
    pub seconds: u64,
    /// embedded, nginx or haproxy
    #[arg(long, default_value = "embedded")]
    pub forwarder: Forwarder,
    /// The insight-agent program; without it no agents are started
    #[arg(long)]
    pub agent: Option<PathBuf>,
    /// Background requests per second
    #[arg(long, default_value_t = 0.0)]
    pub background_rps: f64,
    /// Leave the run's folder behind
    #[arg(long)]
    pub keep: bool,
    /// loopback, or namespaces (needs root)
    #[arg(long, default_value = "loopback")]
    pub isolation: Isolation,
    /// One more agent on each forwarding node (needs --agent)
    #[arg(long, requires = "agent")]
    pub node_agents: bool,
    /// Without x-insight-hop: the hops tell nothing of themselves
    #[arg(long)]
    pub no_hop_headers: bool,
    /// No probes of single links (with --isolation namespaces)
    #[arg(long)]
    pub no_link_probes: bool,
    /// Faults in force from the start, for example wan-delay=40ms
    #[arg(long = "fault")]
    pub faults: Vec<Fault>,
}

#[derive(clap::Args)]
pub(crate) struct Launch {
    /// The process whose end ends the program
    #[arg(long)]
    pub parent: i32,
    /// What the program gets then
    #[arg(long)]
    pub signal: DeathSignal,
    /// The file of the network namespace to enter
    #[arg(long)]
    pub netns: Option<PathBuf>,
    /// A control group to join (one per tree)
    #[arg(long = "cgroup")]
    pub cgroups: Vec<PathBuf>,
    /// The CPUs to be confined to, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

impl Launch {
    pub fn place(&self) -> LaunchPlace {
        LaunchPlace { netns: self.netns.clone(), cgroups: self.cgroups.clone(), cpus: self.cpus.clone() }
    }
}
