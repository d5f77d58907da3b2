//! `cargo xtask soak`: does the agent hold nothing that is over?
//!
//! Connections come and go through a real nginx, each with one request and with an upstream
//! connection of its own, beside a few that stay open, while the real agent with its kernel half is
//! scraped once a second. Then everything closes, and what the agent still holds is counted. Unlike
//! a bench it judges: the exit code is the verdict.

mod churn;
pub mod exchange;
mod pages;
mod report;
mod table;

use crate::bench::agent::memory::Memory;
use crate::bench::apart::{Apart, Site};
use crate::bench::half::{Agent, Ground};
use crate::bench::http::Connection;
use crate::bench::load;
use crate::bench::machine::Machine;
use crate::bench::ready::Set;
use crate::bench::scrapes::{pause, scrape};
use crate::bench::setting::{Addresses, Forwarder, Placement, Upstream};
use crate::bench::{Output, require_privilege};
use crate::demo::{print_line, programs::locate};
use anyhow::{Context, Result, ensure};
use churn::{Churn, Churned};
use insight_lab::Interrupt;
use pages::Cumulative;
use report::{Entries, Held, Report};
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two scrapes: what Prometheus would have in 15 s is had 15 times here.
const EVERY: Duration = Duration::from_secs(1);

/// Between two lines on stderr.
const PROGRESS: Duration = Duration::from_secs(30);

/// Connections that stay open from before the load until after it.
const IDLE: usize = 32;

/// How long what is closing may take: TIME_WAIT and orphans are a minute in the kernel.
const SETTLE_WITHIN: Duration = Duration::from_secs(90);

/// Flags of `cargo xtask soak`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How long connections come and go, such as 90s, 10m or 2h
    #[arg(long, default_value = "10m", value_parser = duration)]
    duration: Duration,
    /// Connections a second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(16..=20_000))]
    rate: u32,
    /// What stands on stdout: a table, or one JSON object
    #[arg(long, default_value = "text")]
    output: Output,
    /// A file that gets the same when the soak is over, or why there is no result
    #[arg(long)]
    report: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?}: expected a whole number with a unit, such as 90s, 10m or 2h");
    let at = text.find(|digit: char| !digit.is_ascii_digit()).ok_or_else(expected)?;
    let number: u64 = text[..at].parse().map_err(|_| expected())?;
    let seconds = match &text[at..] {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => None,
    };
    match seconds.ok_or_else(expected)? {
        // Quarters of it are compared; a week is longer than anybody waits.
        seconds @ 20..=604_800 => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("{text:?}: expected 20s to 168h")),
    }
}

/// Runs it; progress on stderr, the result on stdout and in the report file.
///
/// # Errors
/// Not root, a package is missing, a program does not start or ends early, or Ctrl-C.
pub fn run(root: &Path, args: &Args) -> Result<ExitCode> {
    let outcome = soak(root, args).and_then(|report| {
        let text = match args.output {
            Output::Text => report.text(),
            Output::Json => report.json().context("write the result as JSON")?,
        };
        Ok((text, report.passed()))
    });
    if let Some(path) = &args.report {
        let text = match &outcome {
            Ok((text, _)) => format!("{text}\n"),
            Err(error) => format!("error: {error:#}\n"),
        };
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let (text, passed) = outcome?;
    print_line(&text)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn soak(root: &Path, args: &Args) -> Result<Report> {
    require_privilege("soak")?;
    ensure!(nix::unistd::Uid::effective().is_root(), "soak: making network namespaces needs root");
    let interrupt = Interrupt::install()?;
    let forwarder = Forwarder::Nginx;
    let forwarder_program = forwarder.program()?;
    let built = locate(root)?;
    let folder = tempfile::Builder::new()
        .prefix("insight-soak-")
        .tempdir()
        .context("create a folder for the configurations and logs")?;
    let machine = Machine::here(&built.agent)?;
    let placement = Placement::here()?;
    let site = Site::Apart(Apart::create(&placement.forwarder, &placement.others)?);
    let ground = Ground {
        agent: built.agent,
        lab: built.lab,
        forwarder,
        forwarder_program,
        upstream: Upstream::PerRequest,
        placement,
        site: &site,
        connections: load::CONNECTIONS,
        sample_one_in: 1,
        seconds: args.duration.as_secs_f64(),
        folder: folder.path(),
        interrupt: &interrupt,
    };
    ground.prepare()?;
    let (chain, addresses) = ground.start_path()?;
    let agent = ground.start_agent(&addresses, Set::Default)?;
    let report = Soak { args, ground: &ground, agent: &agent, addresses: &addresses }.run(machine);
    // nginx last: what it logs is of interest when connections failed.
    drop(agent);
    report.with_context(|| format!("nginx' log ends with:\n{}", chain.forwarder.log_tail()))
}

struct Soak<'a> {
    args: &'a Args,
    ground: &'a Ground<'a>,
    agent: &'a Agent,
    addresses: &'a Addresses,
}

/// What was seen while connections came and went.
#[derive(Default)]
struct Watched {
    rss_bytes: Vec<u64>,
    pages: Cumulative,
    scrapes: u64,
}

impl Soak<'_> {
    fn run(&self, machine: Machine) -> Result<Report> {
        let (site, interrupt) = (self.ground.site, self.ground.interrupt);
        let _idle = site.at_far(|| open_idle(self.addresses.forwarder))??;
        let mut scraper = site.at_node(|| Connection::open(self.addresses.metrics))??;
        let mut watched = Watched::default();
        self.look(&mut scraper, &mut watched)?;
        let start =
            Held { entries: self.settled(&mut scraper, &mut watched, None)?.0, open: self.open_sockets()? };

        let (used, began) = (self.agent.process.cpu_time()?, Instant::now());
        let churn = site.at_far(|| Churn::start(self.addresses.forwarder, self.args.rate))??;
        watched.rss_bytes.clear();
        self.watch(&churn, &mut scraper, &mut watched)?;
        let churned: Churned = churn.stop();
        let seconds = began.elapsed().as_secs_f64();
        let agent_cpu = (self.agent.process.cpu_time()? - used).as_secs_f64() / seconds;

        // Kept connections are closed after ten idle seconds.
        scraper = site.at_node(|| Connection::open(self.addresses.metrics))??;
        let after_load = self.entries(&mut scraper, &mut watched)?;
        eprintln!("the load is over, {after_load} entries; waiting until all is closed");
        let (entries, settled) = self.settled(&mut scraper, &mut watched, Some(start.entries))?;
        let end = Held { entries, open: self.open_sockets()? };
        // What was counted last is on the page after the next reading of the maps.
        pause(2 * EVERY, interrupt)?;
        let text = self.look(&mut scraper, &mut watched)?;
        Ok(Report {
            seconds,
            rate: self.args.rate,
            churned,
            idle_connections: IDLE,
            rss_bytes: watched.rss_bytes,
            entries: Entries { start, after_load, end, settled_seconds: settled.as_secs_f64() },
            scrapes: watched.scrapes,
            cumulative_series: watched.pages.series(),
            violations: watched.pages.count,
            first_violations: watched.pages.violations,
            lost: losses(&text),
            agent_cpu,
            machine,
        })
    }

    /// Scrapes and reads the memory once a second, until the load has lasted as long as it shall.
    fn watch(&self, churn: &Churn, scraper: &mut Connection, watched: &mut Watched) -> Result<()> {
        let (began, mut due, mut told) = (Instant::now(), Instant::now(), Instant::now());
        while began.elapsed() < self.args.duration {
            due = (due + EVERY).max(Instant::now());
            pause(due - Instant::now(), self.ground.interrupt)?;
            watched.rss_bytes.push(Memory::read(self.agent.process.pid())?.rss_bytes);
            self.look(scraper, watched)?;
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                eprintln!(
                    "{:.0} s: {} connections, {:.1} MiB resident, {} falls",
                    began.elapsed().as_secs_f64(),
                    churn.answered(),
                    watched.rss_bytes.last().map_or(0.0, |bytes| *bytes as f64 / 1048576.0),
                    watched.pages.count,
                );
            }
        }
        Ok(())
    }

    /// One page of metrics.
    fn look(&self, scraper: &mut Connection, watched: &mut Watched) -> Result<String> {
        let page = scrape(scraper, "").with_context(|| format!("agent:\n{}", self.agent.process.log_tail()));
        let text = String::from_utf8(page?.body).context("read the page as text")?;
        watched.pages.add(&text);
        watched.scrapes += 1;
        Ok(text)
    }

    /// Connections of the node that the kernel has.
    fn open_sockets(&self) -> Result<usize> {
        self.ground.site.at_node(table::open_sockets)?
    }

    /// What the agent says is in its table of sockets.
    fn entries(&self, scraper: &mut Connection, watched: &mut Watched) -> Result<usize> {
        table::entries(&self.look(scraper, watched)?)
    }

    /// Entries once they stay the same for three seconds and, if that is known, are `wanted`; or
    /// when [`SETTLE_WITHIN`] is over. Also how long it took.
    fn settled(
        &self,
        scraper: &mut Connection,
        watched: &mut Watched,
        wanted: Option<usize>,
    ) -> Result<(usize, Duration)> {
        let began = Instant::now();
        let (mut entries, mut since) = (self.entries(scraper, watched)?, Instant::now());
        loop {
            let is_wanted = wanted.is_none_or(|wanted| entries <= wanted);
            let is_still = since.elapsed() >= Duration::from_secs(3);
            if (is_wanted && is_still) || began.elapsed() >= SETTLE_WITHIN {
                return Ok((entries, since - began));
            }
            pause(Duration::from_millis(200), self.ground.interrupt)?;
            let now = self.entries(scraper, watched)?;
            if now != entries {
                (entries, since) = (now, Instant::now());
            }
        }
    }
}

/// Connections that have asked once, so that nginx keeps them for an hour.
fn open_idle(target: SocketAddr) -> Result<Vec<TcpStream>> {
    let request = exchange::request(target);
    let open = (0..IDLE).map(|_| exchange::call(target, &request));
    open.collect::<Result<_>>().context("open the idle connections")
}

/// What a page says was lost: measurement and kind. Zeros are left out.
fn losses(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix("insight_lost_total{")?.rsplit_once("} ")?;
        let label = |name: &str| {
            let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
            let value = pairs.into_iter().find(|(key, _)| *key == name)?.1;
            Some(value.trim_matches('"'))
        };
        let value: f64 = value.parse().ok()?;
        (value > 0.0).then_some((format!("{} {}", label("measurement")?, label("loss")?), value))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_bounds() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["10", "m", "1.5m", "-1m", "10 m", ""] {
            assert!(duration(wrong).unwrap_err().contains("with a unit"), "{wrong}");
        }
        assert!(duration("1s").unwrap_err().contains("20s to 168h"));
    }

    #[test]
    fn losses_are_told_by_measurement_and_kind_and_zeros_are_none() {
        let page = "insight_lost_total{measurement=\"sockets\",loss=\"map_full\"} 2\n\
                    insight_lost_total{measurement=\"probe\",loss=\"dropped\"} 0\n\
                    insight_lost_total{loss=\"overlap\",measurement=\"turnaround\"} 7\nup 1\n";
        let lost = losses(page);
        assert_eq!(lost.len(), 2);
        assert_eq!((lost["sockets map_full"], lost["turnaround overlap"]), (2.0, 7.0));
    }
}
