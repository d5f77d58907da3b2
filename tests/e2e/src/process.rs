//! A child process with its output in a file: stopped by its test, or killed with it.

use crate::wait::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How much of a failed test's log is shown: enough for a start's complaints, not for a debug log.
const SHOWN_LINES: usize = 60;

/// A running program. Dropping it kills it, and shows its log if the test is failing.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both output streams appended to `log`; its input stays open until
    /// this value is dropped.
    ///
    /// # Panics
    /// The program or the log cannot be opened.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let open = || {
            let file = File::options().create(true).append(true).open(log);
            file.unwrap_or_else(|error| panic!("open {}: {error}", log.display()))
        };
        let child = command.stdin(Stdio::piped()).stdout(open()).stderr(open()).spawn();
        let child = child.unwrap_or_else(|error| panic!("start {name} ({command:?}): {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log);
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }

    /// How it ended. **None**: it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|error| panic!("look after {}: {error}", self.name))
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// It does not read any more.
    pub fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap_or_else(|| panic!("{} has no input", self.name));
        let written = writeln!(input, "{line}").and_then(|()| input.flush());
        written.unwrap_or_else(|error| panic!("tell {} {line:?}: {error}", self.name));
    }

    /// Sends `signal` and waits for the end. Returns how it ended, and how long that took.
    ///
    /// # Panics
    /// It is still there after `patience`.
    pub fn stop(&mut self, signal: Signal, patience: Duration) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal(signal);
        let what = format!("{} to end after {signal}", self.name);
        let status = wait_until(&what, patience, || self.ended().ok_or_else(|| "it runs".to_owned()));
        (status, start.elapsed())
    }

    /// Sends `signal`, and does not wait for anything.
    ///
    /// # Panics
    /// It has ended and was waited for.
    pub fn signal(&self, signal: Signal) {
        // Process ids fit; the child was not waited for yet, so its id is still its own.
        let pid = Pid::from_raw(self.child.id() as i32);
        kill(pid, signal).unwrap_or_else(|error| panic!("send {signal} to {}: {error}", self.name));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("---- last lines of {} ----\n{}\n----", self.name, shown.join("\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::PATIENCE;

    fn sleeper(folder: &Path) -> Process {
        let mut command = Command::new("sleep");
        command.arg("60");
        Process::start("sleep", command, &folder.join("log"))
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let process = sleeper(folder.path());
        let pid = Pid::from_raw(process.child.id() as i32);
        kill(pid, None).unwrap();
        drop(process);
        assert!(kill(pid, None).is_err(), "it outlived its owner");
    }

    #[test]
    fn a_stopped_process_tells_how_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (status, _) = sleeper(folder.path()).stop(Signal::SIGTERM, PATIENCE);
        assert!(!status.success());
    }
}
