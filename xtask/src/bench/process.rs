//! One program of a half: started through the lab's launcher, ended with its whole group.

use crate::demo::log_tail;
use anyhow::{Context, Result, bail};
use insight_lab::Interrupt;
use nix::sys::signal::{Signal, killpg};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// How long a program may take to end when it is asked. The agent detaches its programs in 0.1 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// CPU time of some threads. **Source**: `/proc/PID/task/TID/schedstat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// On a CPU. **Unit**: ns.
    pub used_ns: u64,
    /// Ready to run, but not on a CPU. **Unit**: ns.
    pub waited_ns: u64,
}

impl Cpu {
    fn parse(schedstat: &str) -> Option<Self> {
        let mut fields = schedstat.split_ascii_whitespace();
        Some(Self { used_ns: fields.next()?.parse().ok()?, waited_ns: fields.next()?.parse().ok()? })
    }

    /// What was added since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            used_ns: self.used_ns.saturating_sub(earlier.used_ns),
            waited_ns: self.waited_ns.saturating_sub(earlier.waited_ns),
        }
    }
}

/// A running program with its workers, and its log. It ends when this is dropped, and with this
/// process however that ends.
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// Starts programs in one folder.
pub struct Launcher<'a> {
    /// `insight-lab`, whose `launch` ties a program's life to ours and confines it.
    pub lab: &'a Path,
    /// Working folder and place of the logs.
    pub folder: &'a Path,
}

impl Launcher<'_> {
    /// Starts `program` where this process is, its output in `NAME.log`. `cpus` empty does not
    /// confine it.
    ///
    /// # Errors
    /// The launcher cannot be started. A program that it cannot start shows in the log.
    pub fn start(
        &self,
        name: &'static str,
        cpus: &[usize],
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Process> {
        self.start_in(None, name, cpus, program, arguments)
    }

    /// The same in the network namespace with the file `netns`. **None**: that of this process.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(
        &self,
        netns: Option<&Path>,
        name: &'static str,
        cpus: &[usize],
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Process> {
        let log = self.folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut command = Command::new(self.lab);
        // TERM, so that nginx' master takes its workers along if we are killed.
        command.args(["launch", "--parent", &std::process::id().to_string(), "--signal", "term"]);
        if !cpus.is_empty() {
            let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
            command.args(["--cpus", &cpus.join(",")]);
        }
        if let Some(netns) = netns {
            command.arg("--netns").arg(netns);
        }
        let child = command
            .arg("--")
            .arg(program)
            .args(arguments.into_iter().map(Into::into))
            .current_dir(self.folder)
            // Ctrl-C in a terminal goes to a whole group: the programs are ended in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("share a log")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Process { name, child, log })
    }
}

impl Process {
    /// Its process id, which is also its workers' group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    /// Waits until `ready` gives something.
    ///
    /// # Errors
    /// It ended before, it took longer than `patience`, somebody pressed Ctrl-C, or `ready` failed.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        interrupt: &Interrupt,
        mut ready: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = ready()? {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{}: ended ({status}) before it {what}; its log ends with:\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "{}: not within {patience:?} that it {what}; its log ends with:\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            if interrupt.wait(POLL) {
                bail!("interrupted");
            }
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// As [`Self::wait_until`], or it did not succeed.
    pub fn succeed(&mut self, patience: Duration, interrupt: &Interrupt) -> Result<()> {
        let status = self.ended(patience, interrupt)?;
        if !status.success() {
            bail!("{}: {status}; its log ends with:\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    fn ended(&mut self, patience: Duration, interrupt: &Interrupt) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{}: still running after {patience:?}", self.name);
            }
            if interrupt.wait(POLL) {
                bail!("interrupted");
            }
        }
    }

    /// CPU time that it and its workers have had and waited for so far. **None**: the kernel keeps
    /// none.
    pub fn cpu(&self) -> Option<Cpu> {
        let tasks =
            members(self.pid()).into_iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
        let texts = tasks.flatten().flatten().map(|task| fs::read_to_string(task.path().join("schedstat")));
        let parsed = texts.filter_map(|text| Cpu::parse(&text.ok()?));
        parsed.reduce(|a, b| Cpu { used_ns: a.used_ns + b.used_ns, waited_ns: a.waited_ns + b.waited_ns })
    }

    /// CPU time of its own process so far, threads that have ended included.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        let read = || -> nix::Result<Duration> {
            let pid = Pid::from_raw(i32::try_from(self.pid()).map_err(|_| nix::Error::ESRCH)?);
            Ok(clock_getcpuclockid(pid)?.now()?.into())
        };
        read().with_context(|| format!("read the CPU time of {}", self.name))
    }

    fn signal(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.pid()) {
            // Fails where the group is gone, which is what is wanted.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        // Orphaned workers too: one that still accepts would take the next half's connections.
        // The child itself stays a zombie until it is waited for, so its group's number stays ours.
        while !members(self.pid()).is_empty() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The living processes of a group.
pub fn members(group: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let in_group = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        stat.as_deref().and_then(living_group) == Some(group)
    };
    pids.filter(in_group).collect()
}

/// The process group in `/proc/PID/stat`. **None**: no such text, or of a process that has ended.
fn living_group(stat: &str) -> Option<u32> {
    // The command may hold blanks and parentheses: fields are counted from the last one.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_used_and_waited() {
        let earlier = Cpu::parse("100 20 3\n").unwrap();
        let later = Cpu::parse("350 50 9\n").unwrap();
        assert_eq!(later.since(earlier), Cpu { used_ns: 250, waited_ns: 30 });
        assert_eq!(Cpu::parse("100"), None);
    }

    #[test]
    fn the_group_is_found_behind_any_command_and_not_for_the_dead() {
        assert_eq!(living_group("12 (nginx: (a) b) S 1 77 77 0 -1"), Some(77));
        assert_eq!(living_group("12 (nginx) Z 1 77 77 0 -1"), None);
        assert_eq!(living_group("12 nginx"), None);
    }
}
