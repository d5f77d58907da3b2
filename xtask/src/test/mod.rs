//! `cargo xtask test`: everything that has to hold before a change is merged, in one command.
//!
//! Each step runs even when an earlier one failed, so that one run names everything there is to
//! repair. The last line is always `N passed, N failed, N skipped`: a step counts as one test, a
//! skipped test counts as skipped only.

mod counts;
mod skips;
mod tally;

use crate::demo::programs::built;
use crate::{build_ebpf, cargo, codegen, docs, format, fuzz, setup, vmtest};
use anyhow::{Context, Result, bail};
use counts::Counts;
use insight_lab::Interrupt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use tally::{Tally, Verdict};

/// Flags of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// First install what the tests talk to: Debian packages (as root) and a Python environment
    #[arg(long)]
    setup: bool,
    /// Also run the tests that need large programs (Envoy); with --setup these are installed too
    #[arg(long)]
    long: bool,
}

/// Runs every step and prints what it came to; the exit code is success only without a failure.
///
/// # Errors
/// The run itself is not possible: no signal handler, no file to note skips in. A failing step is
/// no error, it is counted.
pub fn run(root: &Path, args: &Args) -> Result<ExitCode> {
    let interrupt = Interrupt::install()?;
    // In CI an unmet need is a broken set-up, and a green run would hide it.
    let forbid_skips = ["CI", "INSIGHT_FORBID_SKIPS"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| is_on(&value)));
    let mut run = Run { root, interrupt, tally: Tally::new(forbid_skips), long: args.long };

    if args.setup {
        run.step("setup", |run| {
            let mut needs_root = Vec::new();
            for outcome in [setup::run(run.root, &run.interrupt)?, vmtest::install(run.root, &run.interrupt)?]
            {
                if let setup::Outcome::NeedsRoot(packages) = outcome {
                    needs_root.extend(packages);
                }
            }
            if run.long {
                setup::long(run.root)?;
            }
            needs_root.dedup();
            Ok(match needs_root.is_empty() {
                true => Verdict::Passed,
                false => Verdict::Skipped(format!("not root, and missing: {}", needs_root.join(" "))),
            })
        });
    }
    run.step("format", |run| format::run(run.root, true).map(|()| Verdict::Passed));
    run.step("generated code", |run| codegen::run(run.root, true).map(|()| Verdict::Passed));
    run.step("kernel object", |run| kernel_object(run.root, args.setup));
    run.cargo_step(
        "clippy",
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        &[],
    );
    // The tests below start these binaries; built here, with the tests' own flags, once.
    let built = run.cargo_step("build", &["build", "--workspace", "--all-targets", "--locked"], &[]);
    if built {
        // Its generator is one of the binaries that were just built.
        run.step("generated documents", |run| docs::run(run.root, true).map(|()| Verdict::Passed));
        run.step("tests", Run::tests);
        run.step("other kernels", Run::other_kernels);
    } else {
        run.tally.fail("tests (nothing to run: the build failed)");
    }
    run.step("kernel log", Run::kernel_log);
    run.step("fuzz", Run::fuzz);
    // Shares its metadata with clippy's, so it costs seconds; a dead link in the docs is a defect.
    run.cargo_step(
        "documentation",
        &["doc", "--workspace", "--no-deps", "--locked"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    );

    print!("{}", run.tally.summary());
    Ok(if run.tally.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Rebuilds the kernel half and compares. Its toolchain is installed only where set-up was asked
/// for; a unit test notices a stale object without it.
fn kernel_object(root: &Path, setup: bool) -> Result<Verdict> {
    match build_ebpf::missing_toolchain(root) {
        Some(missing) if !(setup && nix::unistd::Uid::effective().is_root()) => {
            Ok(Verdict::Skipped(format!("missing: {missing}; `cargo xtask build-ebpf` as root installs it")))
        }
        _ => build_ebpf::run(root, true).map(|()| Verdict::Passed),
    }
}

/// An environment variable that is set to nothing, 0 or false is off.
fn is_on(value: &str) -> bool {
    !matches!(value, "" | "0" | "false")
}

/// How long each fuzz target runs here: enough to find what a change broke in earlier inputs, and
/// some new ones. A search for more is `cargo xtask fuzz`.
const FUZZ_SECONDS: u64 = 5;

/// The run in progress.
struct Run<'a> {
    root: &'a Path,
    interrupt: Interrupt,
    tally: Tally,
    /// Whether the long tests were asked for.
    long: bool,
}

impl Run<'_> {
    /// Runs one step under its headline and counts it. True: it did not fail.
    fn step(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Result<Verdict>) -> bool {
        if self.interrupt.requested() {
            self.tally.fail(&format!("{name} (interrupted)"));
            return false;
        }
        println!("\n==> {name}");
        let started = Instant::now();
        let verdict = work(self).unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            Verdict::Failed
        });
        println!("    {name}: {verdict} in {:.1} s", started.elapsed().as_secs_f64());
        self.tally.take(name, verdict)
    }

    /// A step that is one cargo command.
    fn cargo_step(&mut self, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> bool {
        self.step(name, |run| {
            let mut command = run.cargo(arguments);
            let status = command
                .envs(environment.iter().copied())
                .stdin(Stdio::null())
                .status()
                .with_context(|| format!("run cargo {}", arguments.join(" ")))?;
            Ok(if status.success() { Verdict::Passed } else { Verdict::Failed })
        })
    }

    /// The test of the object that writes lines, which needs an agent built with that feature.
    fn kernel_log(&mut self) -> Result<Verdict> {
        if let Some(missing) = build_ebpf::missing_toolchain(self.root) {
            return Ok(Verdict::Skipped(format!("missing: {missing}")));
        }
        let mut command =
            self.cargo(&["test", "-p", "insight-agent", "--features", "kernel-log", "--locked"]);
        let status = command.args(["--test", "kernel", "lines"]).stdin(Stdio::null()).status();
        let status = status.context("run cargo test of the feature kernel-log")?;
        Ok(if status.success() { Verdict::Passed } else { Verdict::Failed })
    }

    /// The agent on the kernels that this machine does not run.
    fn other_kernels(&mut self) -> Result<Verdict> {
        if let Some(missing) = vmtest::missing(self.root) {
            return Ok(Verdict::Skipped(format!(
                "{missing}; `cargo xtask vmtest --setup` as root installs it"
            )));
        }
        // Not built again: with fewer packages cargo may choose other features.
        let agent = built()?.agent;
        vmtest::test(self.root, &agent, &self.interrupt, false).map(|()| Verdict::Passed)
    }

    /// Every fuzz target for a few seconds, beginning with what earlier runs found.
    fn fuzz(&mut self) -> Result<Verdict> {
        if let Some(missing) = fuzz::instrument::missing(self.root) {
            return Ok(Verdict::Skipped(missing));
        }
        let found_nothing = fuzz::test(self.root, FUZZ_SECONDS, &self.interrupt)?;
        Ok(if found_nothing { Verdict::Passed } else { Verdict::Failed })
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo::command(self.root);
        command.args(arguments);
        command
    }

    /// Unit, property, lab and end-to-end tests, and the examples in the documentation.
    fn tests(&mut self) -> Result<Verdict> {
        let folder = tempfile::tempdir().context("create a folder for the log of skips")?;
        let log = folder.path().join("skips");
        let nextest = Command::new("cargo-nextest")
            .args(["nextest", "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        // nextest runs no documentation examples; cargo test runs them by itself.
        let commands: &[&[&str]] = match nextest {
            true => &[
                &[
                    "nextest",
                    "run",
                    "--workspace",
                    "--locked",
                    "--no-fail-fast",
                    "--no-tests=pass",
                    "--status-level=skip",
                ],
                &["test", "--workspace", "--locked", "--no-fail-fast", "--doc"],
            ],
            false => &[&["test", "--workspace", "--locked", "--no-fail-fast"]],
        };
        let mut counts = Counts::default();
        let mut all_well = true;
        for arguments in commands {
            let summaries = counts.summaries;
            let mut command = self.cargo(arguments);
            command.env(insight_lab::skip::LOG_VARIABLE, &log);
            if self.long {
                command.env(insight_lab::skip::LONG_VARIABLE, "1");
            }
            let succeeded = stream(&mut command, &mut |line| {
                println!("{line}");
                counts.take(line);
            })?;
            // A runner that counted nothing has tested nothing, whatever its exit code.
            all_well &= succeeded && counts.summaries > summaries;
        }
        // No file: no test had a reason to write one.
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        Ok(Verdict::Tests { counts, skips: skips::parse(&log), all_well })
    }
}

/// How long a finished child's output may stay open. A process that a test left behind can hold
/// the pipe; what the runner itself printed has arrived long before.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs `command` and gives each line of its output, both streams, to `each`. True: exit code 0.
fn stream(command: &mut Command, each: &mut dyn FnMut(&str)) -> Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {command:?}"))?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("run {command:?}: its output is not connected");
    };
    let (sender, lines) = mpsc::channel();
    forward(out, sender.clone());
    forward(err, sender);
    let mut ended = None;
    loop {
        match lines.recv_timeout(DRAIN) {
            Ok(line) => each(&line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if ended.is_some() => break,
            Err(RecvTimeoutError::Timeout) => ended = child.try_wait()?,
        }
    }
    Ok(child.wait()?.success())
}

fn forward(from: impl Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if to.send(line).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(script: &str) -> (bool, Vec<String>) {
        let mut lines = Vec::new();
        let succeeded =
            stream(Command::new("sh").args(["-c", script]), &mut |line| lines.push(line.to_owned())).unwrap();
        lines.sort();
        (succeeded, lines)
    }

    #[test]
    fn both_streams_arrive_and_the_exit_code_counts() {
        assert_eq!(lines_of("echo out; echo err >&2; exit 3"), (false, vec!["err".into(), "out".into()]));
        assert_eq!(lines_of("printf unfinished"), (true, vec!["unfinished".into()]));
    }

    #[test]
    fn a_process_left_behind_does_not_hold_the_run() {
        let started = Instant::now();
        let (succeeded, lines) = lines_of("sleep 30 & echo $!");
        assert!(succeeded);
        assert!(started.elapsed() < Duration::from_secs(20), "waited for the process left behind");
        let left = nix::unistd::Pid::from_raw(lines[0].parse().unwrap());
        nix::sys::signal::kill(left, nix::sys::signal::Signal::SIGKILL).unwrap();
    }

    #[test]
    fn variables_that_say_no_forbid_nothing() {
        assert!(is_on("true") && is_on("1"));
        assert!(!is_on("") && !is_on("0") && !is_on("false"));
    }
}
