//! `cargo xtask bench beside`: a real blackbox_exporter and Insight, asked about the same targets.
//!
//! The question is not which one is faster, but who is right: each row is a situation whose truth is known
//! because it is made here. A probe of a good target shall say how long the target took, one of a bad target
//! shall say what is bad.

mod blackbox;
mod insight;
mod names;
mod report;
mod situations;
mod tls;

use super::Output;
use super::machine::Machine;
use crate::demo::{print_line, programs};
use crate::setup;
use anyhow::{Context, Result, ensure};
use blackbox::Blackbox;
use insight_e2e::agent::Site;
use insight_lab::Interrupt;
use report::{Report, Row};
use std::path::Path;
use std::time::Duration;

/// The package of the exporter. Installed when the bench first runs: nothing else needs it.
const PACKAGE: &str = "prometheus-blackbox-exporter";

/// Flags of `cargo xtask bench beside`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Probes of each good target by each tool; bad ones have 3
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(5..=1_000))]
    samples: u32,
    /// What stands on stdout: a table, or one JSON object
    #[arg(long, default_value = "text")]
    output: Output,
}

/// What is so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Truth {
    /// It answers, after this time in the server.
    Good(Duration),
    /// It answers at once, and its name after this time.
    SlowName(Duration),
    /// It does not; the classes of Insight that name the cause.
    Bad(&'static [&'static str]),
}

/// How far a good target's time may be from the truth: a twentieth, or what loopback and two programs on a
/// machine of two cores take besides.
fn bound(truth: Duration) -> Duration {
    (truth / 20).max(Duration::from_millis(5))
}

/// Whether a tool's time is that of the target.
fn is_near(seconds: f64, truth: Duration) -> bool {
    (seconds - truth.as_secs_f64()).abs() <= bound(truth).as_secs_f64()
}

/// Runs the bench; progress on stderr, the result on stdout.
///
/// # Errors
/// A program is missing or does not start, or Ctrl-C. A wrong answer is no error: it stands in its row.
pub fn run(root: &Path, args: &Args) -> Result<()> {
    let interrupt = Interrupt::install()?;
    ensure!(
        nix::unistd::Uid::effective().is_root(),
        "bench beside: giving both tools a name server of our own needs root (mount namespaces, port 53)"
    );
    ensure!(
        setup::ensure(&[PACKAGE, "nginx"], &interrupt)? == setup::Outcome::Ready,
        "bench beside: {PACKAGE} is missing: install it with apt-get"
    );
    let agent = programs::locate(root)?.agent;
    let machine = Machine::here(&agent)?;
    let site = Site::new();
    tls::write(&site)?;
    let _names = names::Names::start(site.loopback.ip(names::HOST))?;
    let resolver = site.write("resolv.conf", &format!("nameserver {}\n", site.loopback.ip(names::HOST)));
    let blackbox = Blackbox::start(&site, &resolver)?;
    let mut rows = Vec::new();
    for situation in situations::all(&site, &agent)? {
        ensure!(!interrupt.wait(Duration::ZERO), "interrupted");
        eprintln!("{}", situation.name);
        let samples = if matches!(situation.truth, Truth::Bad(_)) { 3 } else { args.samples };
        let theirs = blackbox.probe(&situation, samples).with_context(|| situation.name)?;
        let ours =
            insight::probe(&agent, &site, &resolver, &situation, samples).with_context(|| situation.name)?;
        rows.push(Row::new(&situation, theirs, ours));
    }
    let report = Report { machine, blackbox: blackbox.version()?, rows };
    match args.output {
        Output::Text => print_line(&report.text()),
        Output::Json => print_line(&report.json().context("write the result as JSON")?),
    }
}

/// A command that sees `resolver` in place of `/etc/resolv.conf`.
fn with_resolver(resolver: &Path, program: &Path) -> std::process::Command {
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""]);
    command.arg(resolver).arg(program);
    command
}
