//! `cargo xtask demo` as a child: the built program, run the way a user would.

use crate::path::program;
use crate::wait::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// `nobody` on every Linux distribution.
const NOBODY: u32 = 65534;
/// The programs that a demo needs.
const PROGRAMS: [&str; 3] = ["xtask", "insight-agent", "insight-lab"];

/// A user's place on this machine: the built programs, a home and a temporary folder, and nothing
/// else. When the tests run as root, the user is `nobody`, unless it shall be root.
pub struct User {
    folder: TempDir,
    /// Keeps its privileges.
    root: bool,
}

impl User {
    /// Copies the programs where every user may read them.
    ///
    /// # Panics
    /// They are not built, or the folder cannot be made.
    pub fn new() -> Self {
        Self::made(false)
    }

    /// As [`User::new`], with the privileges of the running test.
    ///
    /// # Panics
    /// As [`User::new`].
    pub fn root() -> Self {
        Self::made(true)
    }

    fn made(root: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let user = Self { folder, root };
        for name in PROGRAMS {
            // A hard link costs nothing; across file systems it must be a copy.
            let (from, to) = (program(name), user.path(name));
            if fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).expect("copy a program");
            }
        }
        for name in ["home", "tmp"] {
            fs::create_dir(user.path(name)).expect("create a folder");
            if geteuid().is_root() && !root {
                chown(user.path(name), Some(NOBODY), Some(NOBODY)).expect("give a folder away");
            }
        }
        fs::set_permissions(user.folder.path(), fs::Permissions::from_mode(0o755)).expect("open the folder");
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of this user: own home, own temporary folder, no cargo, no privileges.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = if geteuid().is_root() && !self.root {
            let mut command = Command::new("setpriv");
            let id = NOBODY.to_string();
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs", "--"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin")
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("TERM", "xterm-256color")
            .current_dir(self.path("home"));
        command
    }

    /// `cargo xtask demo` without cargo: the program itself.
    pub fn demo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(self.path("xtask"));
        command.arg("demo").args(arguments);
        command
    }

    /// Where the programs are.
    pub fn programs(&self) -> &Path {
        self.folder.path()
    }

    /// Everything that lies in the user's home and temporary folder.
    pub fn files(&self) -> Vec<PathBuf> {
        ["home", "tmp"]
            .iter()
            .flat_map(|name| fs::read_dir(self.path(name)).expect("list a folder"))
            .map(|entry| entry.expect("list a folder").path())
            .collect()
    }

    /// Ids of the processes that run one of the user's programs, or were started below its folders.
    pub fn pids(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("list /proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let links = ["exe", "cwd"].map(|link| fs::read_link(entry.path().join(link)).unwrap_or_default());
            if links.iter().any(|link| link.starts_with(self.folder.path())) {
                found.push(pid);
            }
        }
        found
    }

    /// Processes that run one of the user's programs, or were started below its folders.
    pub fn processes(&self) -> Vec<String> {
        let told = |pid: i32| {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("{pid} {}", command.replace('\0', " "))
        };
        self.pids().into_iter().map(told).collect()
    }

    /// Asserts that nothing of this user is left, a moment for dying processes granted.
    ///
    /// # Panics
    /// A process or a file is left.
    pub fn left_nothing(&self) {
        wait_until("no process and no file left", Duration::from_secs(10), || {
            let (processes, files) = (self.processes(), self.files());
            if processes.is_empty() && files.is_empty() {
                Ok(())
            } else {
                Err(format!("{processes:#?} {files:#?}"))
            }
        });
    }
}

impl Default for User {
    fn default() -> Self {
        Self::new()
    }
}

/// A command that runs to its end beside the test, its output in files.
pub struct Running {
    child: Child,
    output: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Running {
    /// Starts it without standard input.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(mut command: Command) -> Self {
        let output = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| File::create(output.path().join(name)).expect("create an output file");
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Self { child, output }
    }

    /// What it printed so far, both streams.
    pub fn so_far(&self) -> String {
        self.read("out") + &self.read("err")
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.output.path().join(name)).expect("read an output file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It has ended already.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("signal the child");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end in time.
    pub fn finish(mut self, patience: Duration) -> Finished {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the child") {
                return Finished { status, stdout: self.read("out"), stderr: self.read("err") };
            }
            assert!(Instant::now() < deadline, "still running after {patience:?}: {}", self.so_far());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // SIGTERM lets a demo take its lab down; the lab's children die with it in any case.
            let _ = kill(self.pid(), Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
                if Instant::now() > deadline {
                    let _ = self.child.kill();
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
