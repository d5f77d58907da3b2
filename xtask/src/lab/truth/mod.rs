//! `cargo xtask lab truth`: is what the agent's kernel half says true?
//!
//! For each kind of forwarder and of traffic, the real agent beside the real thing, and things done
//! to it of which is known what must come of them: an origin with a set think time on a link with a
//! set delay, stops, resets, lost packets, readers that do not read, CPUs that are not free. What is
//! not set is read from the kernel's own accounts. Each measurement must then give what is known, or
//! refuse and count why: a third thing is a lie, and the exit code is 1.

mod cells;
mod ground;
mod inject;
mod judge;
mod phases;
mod reading;
mod rows;
mod setting;
mod table;
mod traffic;

use crate::bench::apart::{Apart, Site};
use crate::bench::machine::Machine;
use crate::bench::require_privilege;
use crate::demo::{print_line, programs::locate};
use anyhow::{Context, Result, ensure};
use ground::Ground;
use insight_lab::Interrupt;
use rows::Row;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::{Failed, Judged, Report};

/// Flags of `cargo xtask lab truth`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Only these rows
    #[arg(long, value_delimiter = ',')]
    only: Vec<Row>,
    /// How long the traffic of a row lasts that its medians are taken of, in seconds
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=600))]
    seconds: u32,
    /// One JSON object on stdout instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs it; progress on stderr, the result on stdout. The exit code is 1 where a cell is wrong.
///
/// # Errors
/// Not root, a package is missing, a program does not start or ends early, or Ctrl-C.
pub fn run(root: &Path, args: &Args) -> Result<ExitCode> {
    require_privilege("lab truth")?;
    ensure!(nix::unistd::Uid::effective().is_root(), "lab truth: making network namespaces needs root");
    let interrupt = Interrupt::install()?;
    let built = locate(root)?;
    let machine = Machine::here(&built.agent)?;
    let wanted = |row: &Row| args.only.is_empty() || args.only.contains(row);
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for row in Row::ALL.into_iter().filter(wanted) {
        eprintln!("{}", row.title());
        let began = Instant::now();
        let folder = tempfile::Builder::new()
            .prefix("insight-truth-")
            .tempdir()
            .context("create a folder for the configurations and logs")?;
        // Anew for each: what a row leaves in its namespaces is none of the next one's.
        let site = Site::Apart(Apart::create(&[], &[])?);
        let ground = Ground {
            agent: built.agent.clone(),
            lab: built.lab.clone(),
            site: &site,
            folder: folder.path(),
            interrupt: &interrupt,
        };
        match measure(&ground, row, args.seconds) {
            Ok(judged) => rows.push(Judged { seconds: began.elapsed().as_secs_f64(), ..judged }),
            // Nobody waits for the other rows.
            Err(error) if interrupt.wait(Duration::ZERO) => return Err(error),
            Err(error) => {
                eprintln!("{}: {error:#}", row.title());
                failed.push(Failed { row, why: format!("{error:#}") });
            }
        }
    }
    let report = Report { machine, rows, failed };
    match args.json {
        false => print_line(&report.text())?,
        true => print_line(&report.json().context("write the result as JSON")?)?,
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(ground: &Ground<'_>, row: Row, seconds: u32) -> Result<Judged> {
    ground.prepare(row)?;
    let stand = ground.start(row)?;
    let happened = phases::run(ground, row, &stand, seconds).with_context(|| {
        let (proxy, agent) = (stand.proxy.log_tail(), stand.agent.log_tail());
        format!("the proxy's log ends with:\n{proxy}\nthe agent's with:\n{agent}")
    })?;
    if let Some(spliced) = happened.spliced {
        ensure!(spliced > 0, "HAProxy has spliced nothing, so the row would prove nothing");
    }
    let mut cells = cells::judge(row, &happened);
    for cell in &mut cells {
        if stand.disabled.iter().any(|disabled| disabled.measurement == cell.measurement) {
            cell.verdict = judge::Verdict::Nothing("this kernel does not carry it");
        }
    }
    Ok(Judged { row, cells, spliced_bytes: happened.spliced, seconds: 0.0 })
}
