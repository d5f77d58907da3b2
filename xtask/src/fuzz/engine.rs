//! One fuzz target at work: its folders, its limits, and what its engine says in the end.

use super::instrument::{PACKAGE, Target};
use anyhow::{Context, Result};
use insight_lab::Interrupt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// One input may take this long. Parsers take microseconds; a busy machine is no hang.
const INPUT_SECONDS: u64 = 10;

/// How long after its time a target may still be there before it counts as a hang: it must be
/// able to notice a slow last input by itself.
const GRACE: Duration = Duration::from_secs(INPUT_SECONDS + 20);

/// Above twice the cap of every parser, so that the caps are crossed.
const LONGEST_INPUT: usize = 20_000;

/// Most memory of a target, in MiB: inputs are small, so more than this is a leak or a blow-up.
const MEMORY_MIB: u32 = 1024;

/// libFuzzer's exit codes, set by flags so that they are these for certain.
const CRASHED: i32 = 77;
const TIMED_OUT: i32 = 70;

/// When a target is done; whichever comes first. At least one is set.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Inputs.
    pub runs: Option<u64>,
    /// Wall-clock time.
    pub seconds: Option<u64>,
}

/// How a target ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It reached its limit, and every input was taken well.
    Done,
    /// An input made it panic, abort or use too much memory.
    Crash,
    /// An input took too long.
    Hang,
    /// The run was interrupted.
    Interrupted,
}

impl End {
    /// For the report.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Crash => "CRASH",
            Self::Hang => "HANG",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What came of one target.
#[derive(Debug)]
pub struct Outcome {
    /// The target.
    pub target: Target,
    /// How it ended.
    pub end: End,
    /// Inputs. **None**: the engine ended without its statistics.
    pub runs: Option<u64>,
    /// Wall-clock time.
    pub took: Duration,
    /// Branches that were reached. **None**: as above.
    pub covered: Option<u64>,
    /// The inputs that failed; each can be given to the program again.
    pub artifacts: Vec<PathBuf>,
    /// The engine's whole output.
    pub log: PathBuf,
}

/// Runs one target until a limit, a failure or a signal.
///
/// # Errors
/// Its folders cannot be made, or it cannot be started. What it finds is no error.
pub fn run(root: &Path, target: &Target, limits: Limits, interrupt: &Interrupt) -> Result<Outcome> {
    let folder = root.join(super::FOLDER);
    // New inputs go into the first corpus, which outlives the run; seeds are only read.
    let corpus = folder.join("corpus").join(&target.name);
    let artifacts = folder.join("artifacts").join(&target.name);
    // What an earlier run found may be repaired by now: it is tried again, as any seed.
    let known = folder.join("known").join(&target.name);
    let seeds = root.join(PACKAGE).join("corpus").join(&target.name);
    for path in [&corpus, &artifacts, &known] {
        fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
    }
    for artifact in files(&artifacts) {
        if let Some(name) = artifact.file_name() {
            fs::rename(&artifact, known.join(name))
                .with_context(|| format!("move {}", artifact.display()))?;
        }
    }
    let log = folder.join(format!("{}.log", target.name));
    let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let mut command = Command::new(&target.program);
    command
        .arg(&corpus)
        .arg(&known)
        .args(seeds.exists().then_some(&seeds))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-max_len={LONGEST_INPUT}"))
        .arg(format!("-error_exitcode={CRASHED}"))
        .arg(format!("-timeout_exitcode={TIMED_OUT}"))
        .arg("-print_final_stats=1")
        .args(limits.runs.map(|runs| format!("-runs={runs}")))
        .args(limits.seconds.map(|seconds| format!("-max_total_time={seconds}")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output);
    let started = Instant::now();
    let child = command.spawn().with_context(|| format!("run {}", target.program.display()))?;
    let patience = limits.seconds.map(|seconds| Duration::from_secs(seconds) + GRACE);
    let end = wait(child, started, patience, interrupt)?;
    let took = started.elapsed();
    let said = fs::read(&log).with_context(|| format!("read {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    Ok(Outcome {
        target: target.clone(),
        end,
        runs: executed(&said),
        took,
        covered: covered(&said),
        artifacts: files(&artifacts),
        log,
    })
}

/// Waits for the target to end; it does not outlive `patience` or a signal.
fn wait(
    mut child: Child,
    started: Instant,
    patience: Option<Duration>,
    interrupt: &Interrupt,
) -> Result<End> {
    loop {
        if let Some(status) = child.try_wait().context("wait for a fuzz target")? {
            return Ok(verdict(status));
        }
        let interrupted = interrupt.wait(Duration::from_millis(100));
        if interrupted || patience.is_some_and(|patience| started.elapsed() > patience) {
            child.kill().context("end a fuzz target")?;
            child.wait().context("wait for a fuzz target")?;
            return Ok(if interrupted { End::Interrupted } else { End::Hang });
        }
    }
}

fn verdict(status: ExitStatus) -> End {
    match status.code() {
        Some(0) => End::Done,
        Some(TIMED_OUT) => End::Hang,
        // 77, or an abort or a stack overflow that went past the engine's own handlers.
        _ => End::Crash,
    }
}

/// The files in a folder, by name; none where it cannot be read.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// From the statistics at the end.
fn executed(log: &str) -> Option<u64> {
    let line = log.lines().rev().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

/// From the last line of progress: `#4096 pulse cov: 210 ft: 555 corp: ...`.
fn covered(log: &str) -> Option<u64> {
    let (_, after) = log.lines().rev().find_map(|line| line.split_once(" cov: "))?;
    after.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;

    const LOG: &str = "\
INFO: seed corpus: files: 3 min: 2b max: 49b total: 83b rss: 40Mb
#5\tINITED cov: 101 ft: 140 corp: 4/90b exec/s: 0 rss: 41Mb
#4096\tpulse  cov: 210 ft: 555 corp: 60/1Kb lim: 80 exec/s: 2048 rss: 44Mb
Done 4100 runs in 2 second(s)
stat::number_of_executed_units: 4100
stat::average_exec_per_sec:     2050
";

    #[test]
    fn statistics_are_read_and_absent_ones_are_none() {
        assert_eq!((executed(LOG), covered(LOG)), (Some(4100), Some(210)));
        assert_eq!((executed("panicked at"), covered("panicked at")), (None, None));
    }

    /// A target that is a shell script; its arguments are those of libFuzzer.
    fn run_script(root: &Path, script: &str, seconds: u64, interrupt: &Interrupt) -> Outcome {
        let program = root.join("target.sh");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let limits = Limits { runs: None, seconds: Some(seconds) };
        run(root, &Target { name: "script".into(), program }, limits, interrupt).unwrap()
    }

    #[test]
    fn what_a_target_finds_is_kept_reported_and_tried_again() {
        let root = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::install().unwrap();
        let crash = "for a; do case $a in -artifact_prefix=*) echo x > ${a#*=}crash-1;; esac; done\n\
                     echo panicked >&2; exit 77";
        let found = run_script(root.path(), crash, 1, &interrupt);
        assert_eq!((found.end, found.runs), (End::Crash, None));
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_owned());
        assert_eq!(found.artifacts.iter().map(name).collect::<Vec<_>>(), [Some("crash-1".into())]);
        assert_eq!(fs::read_to_string(&found.log).unwrap(), "panicked\n");
        // The next run is given it as an input, and has found nothing itself.
        let again = "ls $2 >&2; echo stat::number_of_executed_units: 7 >&2";
        let repaired = run_script(root.path(), again, 1, &interrupt);
        assert_eq!((repaired.end, repaired.runs, repaired.artifacts.len()), (End::Done, Some(7), 0));
        assert!(fs::read_to_string(&repaired.log).unwrap().starts_with("crash-1\n"));
    }

    #[test]
    fn a_target_that_does_not_end_is_ended_and_called_a_hang() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let started = Instant::now();
        let interrupt = Interrupt::install().unwrap();
        assert_eq!(wait(child, started, Some(Duration::from_millis(200)), &interrupt).unwrap(), End::Hang);
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn exit_codes_name_the_end() {
        let exit = |code: i32| verdict(ExitStatus::from_raw(code << 8));
        assert_eq!([exit(0), exit(77), exit(70), exit(1)], [End::Done, End::Crash, End::Hang, End::Crash]);
        assert_eq!(verdict(ExitStatus::from_raw(6)), End::Crash, "SIGABRT");
    }
}
