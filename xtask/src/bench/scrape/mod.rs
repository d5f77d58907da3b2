//! `cargo xtask bench scrape`: what does a scrape of many series cost, and what does it do to the
//! probes?
//!
//! A real agent with as many probes of a second one, on loopback, as make the wanted number of
//! series. First its page is scraped; then one probe more, of a receiver that answers after a known
//! delay, is measured with and without ten scrapes a second, in the rounds of [`super::rounds`].

mod accuracy;
mod report;
mod setting;

use super::Output;
use super::machine::Machine;
use super::process::{Launcher, Process};
use super::scrapes::{Scrapes, scrape};
use super::{http::Connection, page};
use crate::demo::{poll, print_line, programs};
use accuracy::Accuracy;
use anyhow::{Context, Result};
use insight_lab::Interrupt;
use report::Report;
use setting::Addresses;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long an agent may take to listen on a machine that compiles beside it.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How long until every probe has an answer and a window is complete: one window, and much more
/// beside compilers.
const SETTLED_WITHIN: Duration = Duration::from_secs(4 * setting::WINDOW_S);

/// Flags of `cargo xtask bench scrape`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Scrapes on a kept connection, and as many on new ones
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Series that the page shall have, roughly
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    series: u32,
    /// Rounds in which the probe is measured, of four quarters: scraped, idle, and twice idle
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(0..=1000))]
    accuracy_rounds: u32,
    /// Length of a quarter, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Of the order of the quarters and of the bootstrap intervals
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
/// A program does not start or ends early, the agent does not answer, or Ctrl-C.
pub fn run(root: &Path, args: &Args) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let built = programs::locate(root)?;
    let agent = if args.release { programs::build_release_agent(root)? } else { built.agent };
    let folder = tempfile::Builder::new()
        .prefix("insight-bench-")
        .tempdir()
        .context("create a folder for the configurations and logs")?;
    let machine = Machine::here(&agent)?;
    let launcher = Launcher { lab: &built.lab, folder: folder.path() };
    let addresses = Addresses::free()?;

    let start = |name: &'static str, config: String| -> Result<Process> {
        let path = folder.path().join(name).with_extension("toml");
        fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        launcher.start(name, &[], &agent, ["run".into(), "--config".into(), path])
    };
    let mut receiver = start("receiver", setting::receiver(&addresses))?;
    receiver.wait_until("answered", READY_WITHIN, &interrupt, || {
        Ok(poll::get(addresses.receiver_metrics, "/-/ready").ok())
    })?;
    let probes = setting::probes_for(args.series);
    eprintln!("{probes} probes; waiting for their answers and a window of {} s", setting::WINDOW_S);
    let mut prober = start("prober", setting::prober(&addresses, probes))?;
    prober.wait_until("had an answer to every probe", SETTLED_WITHIN, &interrupt, || {
        // It does not listen at first.
        let page = Connection::open(addresses.metrics).and_then(|mut c| scrape(&mut c, "")).ok();
        let page = page.map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
        Ok(page.filter(|page| is_settled(page, probes)))
    })?;

    eprintln!("scraping {} times on either kind of connection", args.rounds);
    let scrapes = Scrapes::take(addresses.metrics, &prober, args.rounds, &interrupt)?;
    let accuracy =
        Accuracy::measure(addresses.metrics, args.accuracy_rounds, args.seconds, args.seed, &interrupt)?;
    let report = Report { machine, probes, scrapes, accuracy, seed: args.seed };
    match args.output {
        Output::Text => print_line(&report.text()),
        Output::Json => print_line(&report.json().context("write the result as JSON")?),
    }
}

/// Whether a window's gauges are there, and an answer to every probe on both kinds of connection.
fn is_settled(page: &str, probes: u32) -> bool {
    let answers = page::samples(page, "insight_probe_results_total", &[("status", "OK")]);
    let answered = answers.into_iter().filter(|count| *count > 0.0).count();
    // The probe that is measured has one kind only.
    answered > 2 * probes as usize && page::sum(page, "insight_probe_success_ratio", &[]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_is_a_page_with_a_window_and_an_answer_to_each_probe() {
        let answers = |fresh: u32| {
            let line = |connection: &str, count: u32| {
                format!("insight_probe_results_total{{connection=\"{connection}\",status=\"OK\"}} {count}\n")
            };
            [line("reused", 1), line("fresh", fresh), line("measured", 9)].concat()
        };
        let window = "insight_probe_success_ratio{connection=\"reused\"} 1\n";
        assert!(is_settled(&(answers(1) + window), 1));
        assert!(!is_settled(&(answers(0) + window), 1));
        assert!(!is_settled(&answers(1), 1));
        assert!(!is_settled(&(answers(1) + window), 2));
    }
}
