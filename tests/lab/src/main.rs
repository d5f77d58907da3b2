//! `insight-lab`: the components of the laboratory as programs, and a run of all of them.

mod args;

use anyhow::{Context, Result};
use args::{Args, Command, Up};
use clap::Parser;
use insight_lab::harness::launch;
use insight_lab::{Interrupt, Lab, LabOptions, forwarder, load, relay, service, spin, stopwatch, tun_relay};
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, for people and for the log tail that a failed start quotes.
            eprintln!("insight-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match command {
        Command::Relay(relay) => {
            component(relay::run(relay.listen, relay.target, relay.control, relay.settings()))
        }
        Command::TunRelay(relay) => component(tun_relay::run(relay.options())),
        Command::Forwarder(forwarder) if forwarder.threads > 1 => {
            let threads = usize::from(forwarder.threads);
            work_stealing(threads, forwarder::run(forwarder.options()))
        }
        Command::Forwarder(forwarder) => component(forwarder::run(forwarder.options())),
        Command::Service(service) => component(service::run(service.listen, service.control, service.time())),
        Command::Load(load) => {
            let state = component(load::run(load.options()))?;
            println!("{}", serde_json::to_string(&state)?);
            Ok(())
        }
        Command::Spin(spin) => spin::run(spin.threads, Duration::from_secs(spin.seconds)),
        Command::Stopwatch(stopwatch) => stopwatch::run(stopwatch.options()),
        Command::Up(up) => run_lab(up),
        Command::Launch(launch) => {
            launch::become_program(launch.parent, launch.signal, &launch.place(), &launch.command)
        }
    }
}

/// Runs one component on one thread: like a worker of a real proxy, it has one event loop.
fn component<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(work)
}

/// Runs one component on several threads, between which its tasks move: like a proxy that is built
/// on a work-stealing runtime.
fn work_stealing<T>(threads: usize, work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(work)
}

/// A whole lab until its time is over or a signal comes. Prints one JSON line when it is up.
fn run_lab(up: Up) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let own = std::env::current_exe().context("find the insight-lab program")?;
    let mut options = LabOptions::new(up.agent.clone().unwrap_or_default(), own);
    options.forwarder = up.forwarder;
    options.background_rps = up.background_rps;
    options.start_agents = up.agent.is_some();
    options.keep = up.keep;
    options.isolation = up.isolation;
    options.node_agents = up.node_agents;
    options.hop_headers = !up.no_hop_headers;
    options.link_probes = !up.no_link_probes;
    let mut lab = Lab::start(options)?;
    for fault in &up.faults {
        lab.inject(fault)?;
    }
    let told = serde_json::json!({
        "run_dir": lab.run_dir(), "topology": lab.addresses(), "nodes": lab.nodes(),
    });
    println!("{told}");
    interrupt.wait(Duration::from_secs(up.seconds));
    lab.stop()
}
