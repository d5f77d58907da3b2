//! `cargo xtask bench agent`: what does an agent hold and use that nobody asks anything?
//!
//! A real agent with everything of its kernel half switched on, as many peer groups as there can be,
//! and connections without traffic in its table, spread over the groups: a helper ([`hold`]) opens
//! them once the agent is up.

pub mod hold;
pub mod memory;
mod report;
mod setting;

use super::Output;
use super::apart::Site;
use super::http::Connection;
use super::machine::Machine;
use super::page;
use super::process::{Launcher, Process};
use super::ready::{Set, wait_measures};
use super::scrapes::{Scrapes, pause, scrape};
use crate::demo::{print_line, programs};
use anyhow::{Context, Result, bail};
use insight_lab::Interrupt;
use memory::Memory;
use report::Report;
use setting::Addresses;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the agent or the helper may take on a machine that compiles beside them.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// After the connections are open: the start's threads end, the allocator has what it needs.
const SETTLE: Duration = Duration::from_secs(12);

/// The helpers, by the names of their logs.
const HOLDERS: [&str; 4] = ["holder-1", "holder-2", "holder-3", "holder-4"];

/// Connections of one helper: both ends fit below a hard limit of 20,000 open files, which some
/// containers have and root cannot raise there.
const HELD_EACH: u32 = 4_000;

/// Where the agent counts the handshakes that the agent has seen.
const HANDSHAKES: &str = "insight_socket_rtt_seconds_count";

/// Flags of `cargo xtask bench agent`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Connections that are held
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=15_000))]
    connections: u32,
    /// How long the agent is watched, in seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Scrapes on a kept connection, and as many on new ones, after it was watched
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Measure a release build of the agent, which takes minutes to make the first time
    #[arg(long)]
    release: bool,
    /// What stands on stdout: a table, or one JSON object
    #[arg(long, default_value = "text")]
    output: Output,
}

/// Runs the bench; progress on stderr, the result on stdout.
///
/// # Errors
/// Not root, a program does not start or ends early, a measurement of the kernel half is not
/// active, or Ctrl-C.
pub fn run(root: &Path, args: &Args) -> Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        bail!(
            "bench agent: loading kernel programs needs root: run it as \
             `sudo env PATH=\"$PATH\" cargo xtask bench agent`"
        );
    }
    let interrupt = Interrupt::install()?;
    let built = programs::locate(root)?;
    let program = if args.release { programs::build_release_agent(root)? } else { built.agent };
    let folder = tempfile::Builder::new()
        .prefix("insight-bench-")
        .tempdir()
        .context("create a folder for the configurations and logs")?;
    let machine = Machine::here(&program)?;
    let launcher = Launcher { lab: &built.lab, folder: folder.path() };
    let addresses = Addresses::free()?;

    let config = folder.path().join("agent.toml");
    fs::write(&config, setting::agent(&addresses)).with_context(|| format!("write {}", config.display()))?;
    let arguments = ["run".into(), "--config".into(), config];
    let mut agent = launcher.start("insight-agent", &[], &program, arguments)?;
    wait_measures(&mut agent, &Site::Loopback, addresses.admin, Set::Default, &interrupt)?;

    eprintln!("opening {} connections", args.connections);
    let _holders = hold_connections(&launcher, args.connections, &interrupt)?;
    // An active and a passive end each, and each end saw a handshake: all are in the table.
    agent.wait_until("had all connections in its table", READY_WITHIN, &interrupt, || {
        let seen = handshakes(&addresses)?;
        Ok((seen >= f64::from(2 * args.connections)).then_some(()))
    })?;
    pause(SETTLE, &interrupt)?;

    eprintln!("watching the agent for {} s", args.seconds);
    let (began, used) = (Instant::now(), agent.cpu_time()?);
    pause(Duration::from_secs(args.seconds), &interrupt)?;
    let cpu_share = (agent.cpu_time()? - used).as_secs_f64() / began.elapsed().as_secs_f64();
    let memory = Memory::read(agent.pid())?;
    eprintln!("scraping {} times on either kind of connection", args.rounds);
    let scrapes = Scrapes::take(addresses.metrics, &agent, args.rounds, &interrupt)?;
    let report = Report {
        machine,
        connections: args.connections,
        peer_groups: setting::GROUPS + 1,
        seconds: args.seconds,
        cpu_share,
        memory,
        scraped: Memory::read(agent.pid())?,
        scrapes,
    };
    match args.output {
        Output::Text => print_line(&report.text()),
        Output::Json => print_line(&report.json().context("write the result as JSON")?),
    }
}

/// Starts the helpers, and waits until they hold them all.
fn hold_connections(
    launcher: &Launcher<'_>,
    connections: u32,
    interrupt: &Interrupt,
) -> Result<Vec<Process>> {
    // Not by its path: the build before may have put a newer one there.
    let own = format!("/proc/{}/exe", std::process::id());
    let mut holders = Vec::new();
    let mut left = connections;
    for name in HOLDERS {
        if left == 0 {
            break;
        }
        let count = left.min(HELD_EACH).to_string();
        left = left.saturating_sub(HELD_EACH);
        let mut holder = launcher.start(name, &[], &own, ["bench", "hold", "--connections", &count])?;
        let log = launcher.folder.join(name).with_extension("log");
        holder.wait_until("held its connections", READY_WITHIN, interrupt, || {
            let text = fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
            Ok(text.contains(&format!("{} {count}\n", hold::HELD)).then_some(()))
        })?;
        holders.push(holder);
    }
    Ok(holders)
}

/// Round trips of handshakes, in every group that the helper uses.
fn handshakes(addresses: &Addresses) -> Result<f64> {
    let body = scrape(&mut Connection::open(addresses.metrics)?, "")?.body;
    let text = String::from_utf8(body).context("read the page as text")?;
    let everyone = page::sum(&text, HANDSHAKES, &[]).unwrap_or(0.0);
    let others = page::sum(&text, HANDSHAKES, &[("peer", "other")]).unwrap_or(0.0);
    Ok(everyone - others)
}
