//! `cargo xtask bench kernel`: what does the agent's kernel half cost a forwarder?
//!
//! A real forwarder between h2load and an origin, with the real agent and without it, in rounds of
//! six halves whose order is drawn ([`super::rounds`]); then halves in which the kernel counts how
//! often each program runs, apart from the others since counting costs two clock reads a run. As
//! root, load and origin are in a network namespace of their own ([`super::apart`]): in some of the
//! counted halves they talk past the forwarder, which tells what a foreign socket costs.

use super::apart::{Apart, Site};
use super::half::{Ground, Target};
use super::load;
use super::machine::Machine;
use super::programs::{self, Tally};
use super::ready::Set;
use super::report::{Conditions, Cost, Report};
use super::rounds::{Figure, Pair, Round, order};
use super::setting::{Forwarder, Placement, Upstream};
use super::statistics::Random;
use super::{Output, require_privilege};
use crate::demo::{print_line, programs::locate};
use anyhow::{Context, Result, ensure};
use insight_lab::Interrupt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Halves of a kind in which runs are counted: ns per event differ by a few percent between them.
const COUNTED_HALVES: u32 = 3;

/// A program that every agent with a kernel half has loaded.
const MARK: &str = "socket_state";

/// Flags of `cargo xtask bench kernel`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Rounds of six halves: the agent's default set, everything it can measure, nothing, each
    /// beside a half without the agent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Load of each half, in seconds
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// What is measured
    #[arg(long, default_value = "nginx")]
    forwarder: Forwarder,
    /// Connections of the load, each with one request under way
    #[arg(long, default_value_t = load::CONNECTIONS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// The agent's kernel.sample_one_in: of more than 16 connections one in so many is measured in full
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    sample_one_in: u32,
    /// Load and origin in the forwarder's network namespace, as without root
    #[arg(long)]
    loopback: bool,
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
/// Not privileged, a package is missing, a program does not start, requests fail, or Ctrl-C.
pub fn run(root: &Path, args: &Args) -> Result<()> {
    require_privilege("bench kernel")?;
    let interrupt = Interrupt::install()?;
    let forwarder_program = args.forwarder.program()?;
    let load_generator = h2load_version()?;
    let built = locate(root)?;
    let folder = tempfile::Builder::new()
        .prefix("insight-bench-")
        .tempdir()
        .context("create a folder for the configurations and logs")?;
    let placement = Placement::here()?;
    let site = site(args, &placement)?;
    let ground = Ground {
        agent: built.agent,
        lab: built.lab,
        forwarder: args.forwarder,
        forwarder_program,
        upstream: Upstream::Kept,
        placement,
        site: &site,
        connections: args.connections,
        sample_one_in: args.sample_one_in,
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

/// Namespaces for root, loopback else.
fn site(args: &Args, placement: &Placement) -> Result<Site> {
    if args.loopback || !nix::unistd::Uid::effective().is_root() {
        return Ok(Site::Loopback);
    }
    let apart = Apart::create(&placement.forwarder, &placement.others);
    Ok(Site::Apart(apart.context("put load and origin apart; --loopback goes without")?))
}

fn measure(ground: &Ground<'_>, args: &Args, load_generator: String) -> Result<Report> {
    let mut conditions = conditions(ground, args, load_generator)?;
    let mut random = Random::new(args.seed);
    let mut rounds = Vec::new();
    let began = Instant::now();
    for (number, slots) in order(&Pair::EVERY, args.rounds, &mut random).into_iter().enumerate() {
        let mut round = Vec::new();
        for slot in slots {
            let before = other_agents()?;
            round.push((slot, ground.half(slot.set())?));
            // Who came and went in between is not seen; tests of others last longer than a half.
            conditions.disturbed_halves += usize::from(before.max(other_agents()?) > 0);
        }
        let round: Round = round.try_into().ok().context("a round has six halves")?;
        let (done, took) = (number + 1, began.elapsed().as_secs());
        eprintln!("round {done} of {}, {took} s: {}", args.rounds, progress(&round));
        rounds.push(round);
    }
    let [mut default, mut all] = [Cost::default(), Cost::default()];
    for number in 1..=COUNTED_HALVES {
        for (set, cost) in [(Set::Default, &mut default), (Set::All, &mut all)] {
            eprintln!("counting program runs, {number} of {COUNTED_HALVES}, {}", set.word());
            count(ground, set, cost)?;
        }
    }
    Ok(Report { conditions, rounds, default, all })
}

/// One counted half through the forwarder and, where load and origin are apart, one past it.
fn count(ground: &Ground<'_>, set: Set, cost: &mut Cost) -> Result<()> {
    let counted = ground.counted_half(set, Target::Forwarder)?;
    cost.tally.add(&counted.before, &counted.after, &counted.names, counted.half.load.requests);
    cost.residence_samples += counted.residence_samples;
    cost.disabled = counted.disabled;
    if ground.site.far().is_some() {
        let counted = ground.counted_half(set, Target::Origin)?;
        let foreign = cost.foreign.get_or_insert_with(Tally::default);
        foreign.add(&counted.before, &counted.after, &counted.names, counted.half.load.requests);
    }
    Ok(())
}

/// The ratios of one round.
fn progress(round: &Round) -> String {
    let rounds = std::slice::from_ref(round);
    let ratio = |pair| {
        let spread = Figure::Throughput.ratio(rounds, pair, 0);
        spread.map_or("-".into(), |spread| format!("{:.3}", spread.median))
    };
    format!(
        "throughput with the default set / without {}, with all / without {}, without / without {}",
        ratio(Pair::DEFAULT),
        ratio(Pair::ALL),
        ratio(Pair::IDENTICAL)
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
        connections: ground.connections,
        sample_one_in: ground.sample_one_in,
        seconds: args.seconds,
        seed: args.seed,
        machine: Machine::here(&ground.agent)?,
        placement: ground.placement.clone(),
        apart: ground.site.far().is_some(),
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
