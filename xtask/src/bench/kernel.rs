//! `cargo xtask bench kernel`: what does the agent's kernel half cost a forwarder?
//!
//! A real forwarder between h2load and an origin, with the real agent and without it, in rounds of
//! four halves whose order is drawn ([`super::rounds`]); then halves in which the kernel counts how
//! often each program runs, apart from the others since counting costs two clock reads a run.

use super::Output;
use super::half::Ground;
use super::load;
use super::machine::Machine;
use super::programs::{self, Tally};
use super::report::{Conditions, Report};
use super::rounds::{Figure, Round, Slot, order};
use super::setting::{Forwarder, Placement};
use super::statistics::Random;
use crate::demo::{print_line, programs::locate};
use anyhow::{Context, Result, bail, ensure};
use insight_lab::Interrupt;
use std::path::Path;
use std::process::Command;

/// Halves in which runs are counted: ns per event differ by a few percent between them.
const COUNTED_HALVES: u32 = 3;

/// A program that every agent with a kernel half has loaded.
const MARK: &str = "socket_state";

/// Flags of `cargo xtask bench kernel`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Rounds of four halves: with the agent, without it, and twice without it
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Load of each half, in seconds
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// What is measured
    #[arg(long, default_value = "nginx")]
    forwarder: Forwarder,
    /// Of the order of the halves and of the bootstrap intervals
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What stands on stdout: tables, or one JSON object
    #[arg(long, default_value = "text")]
    output: Output,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds, such as 3".to_owned())?;
    match (0.5..=600.0).contains(&seconds) {
        true => Ok(seconds),
        false => Err("expected 0.5 to 600 seconds".to_owned()),
    }
}

/// Runs the bench; progress on stderr, the result on stdout.
///
/// # Errors
/// Not root, a package is missing, a program does not start, requests fail, or Ctrl-C.
pub fn run(root: &Path, args: &Args) -> Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        bail!(
            "bench kernel: loading kernel programs and reading their counters needs root: run it as \
             `sudo env PATH=\"$PATH\" cargo xtask bench kernel`"
        );
    }
    let interrupt = Interrupt::install()?;
    let forwarder_program = args.forwarder.program()?;
    let load_generator = h2load_version()?;
    let built = locate(root)?;
    let folder = tempfile::Builder::new()
        .prefix("insight-bench-")
        .tempdir()
        .context("create a folder for the configurations and logs")?;
    let ground = Ground {
        agent: built.agent,
        lab: built.lab,
        forwarder: args.forwarder,
        forwarder_program,
        placement: Placement::here()?,
        seconds: args.seconds,
        folder: folder.path(),
        interrupt: &interrupt,
    };
    ground.prepare()?;
    let report = measure(&ground, args, load_generator)?;
    match args.output {
        Output::Text => print_line(&report.text()),
        Output::Json => print_line(&report.json().context("write the result as JSON")?),
    }
}

fn measure(ground: &Ground<'_>, args: &Args, load_generator: String) -> Result<Report> {
    let mut conditions = conditions(ground, args, load_generator)?;
    let mut random = Random::new(args.seed);
    let mut rounds = Vec::new();
    for (number, slots) in order(args.rounds, &mut random).into_iter().enumerate() {
        let mut round = Vec::new();
        for slot in slots {
            let before = other_agents()?;
            round.push((slot, ground.half(slot.has_agent())?));
            // Who came and went in between is not seen; tests of others last longer than a half.
            conditions.disturbed_halves += usize::from(before.max(other_agents()?) > 0);
        }
        let round: Round = round.try_into().ok().context("a round has four halves")?;
        eprintln!("round {} of {}: {}", number + 1, args.rounds, progress(&round));
        rounds.push(round);
    }
    let (mut tally, mut residence_samples) = (Tally::default(), 0);
    for number in 1..=COUNTED_HALVES {
        eprintln!("counting program runs, {number} of {COUNTED_HALVES}");
        let counted = ground.counted_half()?;
        tally.add(&counted.before, &counted.after, &counted.names, counted.half.load.requests);
        residence_samples += counted.residence_samples;
    }
    Ok(Report { conditions, rounds, tally, residence_samples })
}

/// The ratios of one round.
fn progress(round: &Round) -> String {
    let rounds = std::slice::from_ref(round);
    let ratio = |over, under| {
        let spread = Figure::Throughput.ratio(rounds, over, under, 0);
        spread.map_or("-".into(), |spread| format!("{:.3}", spread.median))
    };
    format!(
        "throughput with agent / without {}, without / without {}",
        ratio(Slot::With, Slot::Without),
        ratio(Slot::NullWith, Slot::NullWithout)
    )
}

/// Agents of others with kernel programs. Called while none of ours runs.
fn other_agents() -> Result<usize> {
    Ok(programs::names()?.values().filter(|name| *name == MARK).count())
}

fn conditions(ground: &Ground<'_>, args: &Args, load_generator: String) -> Result<Conditions> {
    Ok(Conditions {
        forwarder: args.forwarder.to_string(),
        forwarder_version: args.forwarder.version(&ground.forwarder_program),
        load_generator,
        connections: load::CONNECTIONS,
        seconds: args.seconds,
        seed: args.seed,
        machine: Machine::here(&ground.agent)?,
        placement: ground.placement.clone(),
        disturbed_halves: 0,
    })
}

/// The load generator, as it names itself.
fn h2load_version() -> Result<String> {
    let output = Command::new("h2load").arg("--version").output();
    let output =
        output.context("run h2load: install it with `cargo xtask setup` as root (nghttp2-client)")?;
    ensure!(output.status.success(), "h2load --version: {}: reinstall nghttp2-client", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(flags: &[&str]) -> Result<Args, String> {
        let line = Line::try_parse_from([&["kernel"], flags].concat());
        line.map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_ten_rounds_of_three_seconds_against_nginx() {
        let args = parsed(&[]).unwrap();
        assert_eq!((args.rounds, args.seconds, args.forwarder), (10, 3.0, Forwarder::Nginx));
        assert_eq!(args.output, Output::Text);
    }

    #[test]
    fn a_wrong_flag_says_what_would_be_right() {
        assert!(parsed(&["--forwarder", "envoy"]).unwrap_err().contains("haproxy"));
        assert!(parsed(&["--seconds", "0.1"]).unwrap_err().contains("0.5 to 600"));
        assert!(parsed(&["--seconds", "3s"]).unwrap_err().contains("number of seconds"));
        assert!(parsed(&["--rounds", "0"]).unwrap_err().contains("1..=1000"));
    }
}
