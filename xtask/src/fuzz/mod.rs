//! `cargo xtask fuzz`: does any input make a parser panic, hang, or say what cannot be?
//!
//! Every target of `insight-agent/fuzz` runs on libFuzzer, as many at once as there are CPUs. What
//! reached something new is kept below `target/fuzz`, and the next run begins with it.

mod engine;
pub mod instrument;
mod report;

use anyhow::{Context, Result, bail};
use engine::{End, Limits, Outcome};
use insight_lab::Interrupt;
use instrument::Target;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Inputs, logs and the report, below the checkout.
const FOLDER: &str = "target/fuzz";

/// How long each target runs where nothing is said.
const SECONDS: u64 = 60;

/// Flags of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these targets, as insight-agent/fuzz/Cargo.toml names them
    targets: Vec<String>,
    /// Stop each target after so many inputs
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// Stop each target after so many seconds; without --runs by default after 60
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Where the report is written
    #[arg(long, default_value = "target/fuzz/report.txt")]
    report: PathBuf,
}

/// Builds and runs the targets; the report goes to its file and to stdout. The exit code is 1 when
/// an input crashed or hung one of them.
///
/// # Errors
/// A target cannot be built or started, is not known, or the run was interrupted.
pub fn run(root: &Path, args: &Args) -> Result<ExitCode> {
    let interrupt = Interrupt::install()?;
    let seconds = args.seconds.or_else(|| args.runs.is_none().then_some(SECONDS));
    let limits = Limits { runs: args.runs, seconds };
    let found_nothing = fuzz(root, &args.targets, limits, &args.report, &interrupt)?;
    Ok(if found_nothing { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All targets for so many seconds each, for `cargo xtask test`. True: none found anything.
///
/// # Errors
/// As [`run`].
pub fn test(root: &Path, seconds: u64, interrupt: &Interrupt) -> Result<bool> {
    let limits = Limits { runs: None, seconds: Some(seconds) };
    fuzz(root, &[], limits, &Path::new(FOLDER).join("report.txt"), interrupt)
}

fn fuzz(root: &Path, only: &[String], limits: Limits, report: &Path, interrupt: &Interrupt) -> Result<bool> {
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let targets = chosen(instrument::build(root)?, only)?;
    let outcomes = run_all(root, &targets, limits, interrupt)?;
    let text = report::text(&outcomes, limits);
    let report = root.join(report);
    fs::write(&report, &text).with_context(|| format!("write {}", report.display()))?;
    print!("{text}");
    if outcomes.iter().any(|outcome| outcome.end == End::Interrupted) || outcomes.len() < targets.len() {
        bail!("interrupted; {} has what was found so far", report.display());
    }
    Ok(!outcomes.iter().any(report::failed))
}

/// The targets that were asked for, all of them where none was named.
fn chosen(mut targets: Vec<Target>, only: &[String]) -> Result<Vec<Target>> {
    if let Some(unknown) = only.iter().find(|name| targets.iter().all(|target| target.name != **name)) {
        let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
        bail!("no fuzz target is called {unknown:?}: name some of {}", names.join(", "));
    }
    targets.retain(|target| only.is_empty() || only.contains(&target.name));
    Ok(targets)
}

/// Runs the targets side by side; their outcomes in the order of their names. One that was not
/// begun when the run was interrupted is not among them.
fn run_all(root: &Path, targets: &[Target], limits: Limits, interrupt: &Interrupt) -> Result<Vec<Outcome>> {
    let waiting = Mutex::new(targets.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(targets.len()) {
            scope.spawn(|| {
                while let Some(target) = next().filter(|_| !interrupt.requested()) {
                    let outcome = engine::run(root, target, limits, interrupt);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut outcomes = outcomes.into_iter().collect::<Result<Vec<_>>>()?;
    outcomes.sort_by(|a, b| a.target.name.cmp(&b.target.name));
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_chosen_by_name_and_unknown_names_are_refused() {
        let target = |name: &str| Target { name: name.into(), program: name.into() };
        let all = || vec![target("kong"), target("orca")];
        assert_eq!(chosen(all(), &[]).unwrap(), all());
        assert_eq!(chosen(all(), &["orca".into()]).unwrap(), [target("orca")]);
        let error = chosen(all(), &["okra".into()]).unwrap_err().to_string();
        assert!(error.contains("\"okra\"") && error.contains("kong, orca"), "{error}");
    }
}
