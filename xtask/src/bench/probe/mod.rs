//! `cargo xtask bench probe`: how wrong is a probe, and how many can one core make?
//!
//! Against a receiver's double that knows to the microsecond how long it took: what a probe measures
//! beyond that is loopback and the prober's own error. On an idle machine, and on one whose CPUs are
//! all taken; beside what a bare socket sees there, which is loopback alone. With `--targets`, a real agent with so many probes besides.

mod accuracy;
mod floor;
mod report;
mod scale;

use super::Output;
use super::machine::Machine;
use super::process::{Launcher, Process};
use crate::demo::{print_line, programs};
use anyhow::{Context, Result};
use insight_lab::Interrupt;
use report::Report;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

/// How long a program may take to listen on a machine that compiles beside it.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The longest that a receiver lives, should nobody end it. **Unit**: s.
const LIFETIME_S: u64 = 1_800;

/// Flags of `cargo xtask bench probe`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Samples of each delay on each machine; of 100 ms a quarter of them
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(20..=10_000))]
    samples: u32,
    /// Also run an agent with so many probes, each of a connection of its own
    #[arg(long, value_parser = clap::value_parser!(u32).range(200..=18_000))]
    targets: Option<u32>,
    /// How long that agent is watched, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
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
/// A program does not start or ends early, nothing could be measured, or Ctrl-C.
pub fn run(root: &Path, args: &Args) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let built = programs::locate(root)?;
    let agent = if args.release { programs::build_release_agent(root)? } else { built.agent.clone() };
    let folder = tempfile::Builder::new()
        .prefix("insight-bench-")
        .tempdir()
        .context("create a folder for the configurations and logs")?;
    let machine = Machine::here(&agent)?;
    let bench = Bench {
        launcher: Launcher { lab: &built.lab, folder: folder.path() },
        agent: &agent,
        interrupt: &interrupt,
    };
    eprintln!("{} exchanges of a bare socket", args.samples);
    let floor = floor::measure(args.samples, accuracy::INTERVAL)?;
    let rows = accuracy::measure(&bench, args.samples)?;
    let scale =
        args.targets.map(|targets| scale::measure(&bench, targets, Duration::from_secs(args.seconds)));
    let report = Report { machine, floor, rows, scale: scale.transpose()? };
    match args.output {
        Output::Text => print_line(&report.text()),
        Output::Json => print_line(&report.json().context("write the result as JSON")?),
    }
}

/// What both halves need.
struct Bench<'a> {
    launcher: Launcher<'a>,
    agent: &'a Path,
    interrupt: &'a Interrupt,
}

/// A running receiver's double.
struct Stopwatch {
    _process: Process,
    address: SocketAddr,
}

impl Bench<'_> {
    /// Starts a receiver. `spin`: it never sleeps, which keeps it from being late where nobody else wants its
    /// CPU. Else, as root, it takes its CPU from everybody whenever it needs it: one that did so all the time
    /// would be stopped by the kernel for 50 ms a second.
    fn stopwatch(&self, cpus: &[usize], spin: bool) -> Result<Stopwatch> {
        let address = free()?;
        let lab = self.launcher.lab.as_os_str().to_owned();
        let mut command: Vec<OsString> = vec![lab, "stopwatch".into(), "--listen".into()];
        command.extend([address.to_string(), "--seconds".into(), LIFETIME_S.to_string()].map(OsString::from));
        if spin {
            command.push("--spin".into());
        } else if nix::unistd::Uid::effective().is_root() {
            let first = ["chrt", "--fifo", "10"].map(OsString::from);
            command = first.into_iter().chain(command).collect();
        }
        let mut process = self.launcher.start("stopwatch", cpus, command.remove(0), command)?;
        process
            .wait_until("listened", READY_WITHIN, self.interrupt, || Ok(TcpStream::connect(address).ok()))?;
        Ok(Stopwatch { _process: process, address })
    }
}

/// A port of loopback that is free now.
fn free() -> Result<SocketAddr> {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port on 127.0.0.1")?;
    held.local_addr().context("read the address of a listener")
}
