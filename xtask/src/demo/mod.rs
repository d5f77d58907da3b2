//! `cargo xtask demo`: two regions on this machine, and where a request's time goes between them.
//!
//! One command starts the lab (forwarders, services, both agents), asks the sending agent's API
//! twice a second, and shows the path live, as plain snapshots, or as one JSON object at the end.
//! Whatever ends it, no process and no file of it stays behind.

mod chain;
mod cpus;
mod isolation;
mod ledgers;
mod live;
mod nodes;
mod paint;
mod plain;
pub(crate) mod poll;
pub(crate) mod programs;
mod prometheus;
mod session;
pub(crate) mod status;
mod summary;
mod table;
mod view;

use crate::setup;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use insight_lab::fault::parse_duration;
use insight_lab::{Fault, Forwarder, Interrupt, Isolation, Lab, LabOptions};
use prometheus::Prometheus;
use session::{Face, Session};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The probe whose figures the demo is about.
const MAIN_PROBE: &str = "sg-insight";

/// The forwarding nodes, in path order; those of a run in namespaces have agents.
const HOPS: [&str; 3] = ["mediary-a", "mediary-b", "gateway-b"];

/// How long a run lasts where nobody sits before it to quit.
const UNATTENDED: Duration = Duration::from_secs(30);

/// Flags of `cargo xtask demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What forwards on the path: embedded (needs no package), nginx or haproxy
    #[arg(long, default_value = "embedded")]
    forwarder: Forwarder,
    /// First install what a real forwarder or Prometheus needs
    #[arg(long)]
    setup: bool,
    /// End after this time, such as 20s (default: when you quit; 30s without a terminal)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// What keeps the nodes apart
    #[arg(long, default_value = "auto")]
    isolation: isolation::Choice,
    /// What goes wrong: wan-delay=40ms, gateway-slow=30ms, service-slow=30ms, mediary-a-down; in
    /// namespaces also mediary-a-busy=6 (threads), mediary-a-throttled=20ms (repeatable)
    #[arg(long, value_name = "NAME[=TIME]")]
    fault: Vec<Fault>,
    /// Let the faults begin this long after the start, so that the change is seen
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "fault")]
    fault_after: Option<Duration>,
    /// Requests per second of other traffic through the same hops
    #[arg(long, value_name = "RPS", default_value_t = 0.0)]
    background: f64,
    /// Also start a real Prometheus that scrapes all agents every second
    #[arg(long)]
    prometheus: bool,
    /// What stands on stdout: text (a live view on a terminal), or one JSON object at the end
    #[arg(long, default_value = "text")]
    output: Output,
    /// Leave everything running afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// The form of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Runs the demo to its end.
///
/// # Errors
/// A program cannot be built or started, or nothing could be measured.
pub fn run(root: &Path, args: &Args) -> Result<ExitCode> {
    let interrupt = Interrupt::install()?;
    if args.setup {
        setup::run(root, &interrupt)?;
    }
    check_packages(args)?;
    let (isolation, told) = args.isolation.decide(&args.fault, insight_lab::namespaces_available)?;
    if let Some(line) = told {
        eprintln!("{line}");
    }
    let programs = programs::locate(root)?;
    let face = match args.output {
        Output::Json => Face::Silent,
        Output::Text if can_draw() => Face::Live,
        Output::Text => Face::Plain,
    };
    let duration = args.duration.or((!face.is_live()).then_some(UNATTENDED));

    let apart = if isolation == Isolation::Namespaces { ", each node in a namespace of its own" } else { "" };
    eprintln!("starting two regions with {} forwarders{apart}", args.forwarder);
    let options = LabOptions {
        forwarder: args.forwarder,
        background_rps: args.background,
        isolation,
        node_agents: isolation == Isolation::Namespaces,
        ..LabOptions::new(&programs.agent, &programs.lab)
    };
    let mut lab = Lab::start(options).context("start the lab")?;
    let prometheus = match args.prometheus {
        true => Some(Prometheus::start(&lab, &programs.lab)?),
        false => None,
    };
    let addresses = addresses(&lab, prometheus.as_ref());
    eprintln!("{addresses}");

    let mut session =
        Session::new(args, duration, &lab, &interrupt, prometheus.as_ref().map(Prometheus::url))?;
    session.run(&mut lab, face)?;
    let measured = session.summary.measured();
    let log = if measured { String::new() } else { log_tail(&lab.run_dir().join("insight-eu.log")) };

    let json = (args.output == Output::Json).then(|| session.summary.to_json(&session.faults()));
    if args.keep && measured {
        if let Some(json) = &json {
            print_line(&json.to_string())?;
        }
        eprintln!("{addresses}\nstill running; Ctrl-C ends it");
        while !interrupt.wait(Duration::from_secs(3600)) {}
    }
    drop(prometheus);
    lab.stop().context("stop the lab")?;
    if !measured {
        let why =
            session.trouble().unwrap_or_else(|| format!("the probe {MAIN_PROBE} never ended a request"));
        bail!("nothing could be measured: {why}\nthe log of insight-eu ends with:\n{log}");
    }
    if let Some(json) = json.filter(|_| !args.keep) {
        print_line(&json.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what to install before anything is built or started.
fn check_packages(args: &Args) -> Result<()> {
    let missing = match args.forwarder {
        Forwarder::Nginx if insight_lab::nginx_available().is_none() => Some("nginx"),
        Forwarder::Haproxy if insight_lab::haproxy_available().is_none() => Some("haproxy"),
        _ if args.prometheus && !prometheus::available() => Some("prometheus"),
        _ => None,
    };
    if let Some(package) = missing {
        bail!("{package} is not installed: add --setup (as root), or run `apt-get install {package}`");
    }
    Ok(())
}

/// Where things listen, for people with curl.
fn addresses(lab: &Lab, prometheus: Option<&Prometheus>) -> String {
    let (eu, sg) = (lab.eu(), lab.sg());
    let mut text = format!(
        "eu   metrics http://{}/metrics   status http://{}/api/v1/status\nsg   metrics http://{}/metrics   \
         status http://{}/api/v1/status\nlogs {}",
        eu.metrics,
        eu.admin,
        sg.metrics,
        sg.admin,
        lab.run_dir().display()
    );
    for node in HOPS {
        if let Some(at) = lab.agent(node) {
            text += &format!("\n{node} metrics http://{}/metrics", at.metrics);
        }
    }
    if let Some(prometheus) = prometheus {
        text += &format!("\nprometheus {}", prometheus.url());
    }
    text
}

/// The last lines of a log.
pub(crate) fn log_tail(path: &Path) -> String {
    const LINES: usize = 15;
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// As `println!`, but a reader that has gone away is an error and no panic.
pub(crate) fn print_line(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("write to stdout")
}

/// Whether there is a terminal to draw on. One without a size (`docker run -t` can give such) shows
/// nothing of a drawing.
fn can_draw() -> bool {
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    terminal && crossterm::terminal::size().is_ok_and(|(columns, rows)| columns > 0 && rows > 0)
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
        Line::try_parse_from([&["demo"], flags].concat())
            .map(|line| line.args)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn flags_are_read_with_their_units() {
        let args = parsed(&["--duration", "500ms", "--fault", "wan-delay=40ms", "--fault", "mediary-a-down"])
            .unwrap();
        assert_eq!(args.duration, Some(Duration::from_millis(500)));
        assert_eq!(args.fault, [Fault::WanDelay(Duration::from_millis(40)), Fault::MediaryADown]);
        assert_eq!(args.forwarder, Forwarder::Embedded);
    }

    #[test]
    fn a_wrong_flag_says_what_would_be_right() {
        assert!(parsed(&["--duration", "20"]).unwrap_err().contains("unit"));
        assert!(parsed(&["--fault", "wan"]).unwrap_err().contains("wan-delay"));
        assert!(parsed(&["--forwarder", "envoy"]).unwrap_err().contains("haproxy"));
        assert!(parsed(&["--fault-after", "5s"]).unwrap_err().contains("--fault"));
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let text: String = (0..40).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let tail = log_tail(&path);
        assert!(tail.starts_with("line 25\n") && tail.ends_with("line 39"), "{tail}");
        assert_eq!(log_tail(&folder.path().join("absent")), "");
    }
}
