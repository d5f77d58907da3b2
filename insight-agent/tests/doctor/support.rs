//! Runs the program and takes its answer apart.

use insight_lab::skip::{SkipReason, skip};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A user without any privilege; nothing need be called so.
const NOBODY: u32 = 65_534;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_insight-agent");

/// Whether programs may be loaded here. If not, the test is skipped, and said so.
pub fn is_root(name: &str) -> bool {
    let is_root = nix::unistd::Uid::effective().is_root();
    if !is_root {
        skip(name, SkipReason::Missing("loading programs into the kernel needs root"));
    }
    is_root
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// The check of this name.
#[track_caller]
pub fn check<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let checks = answer["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {checks:#?}"))
}

/// What became of each measurement: name and state.
pub fn states(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = answer["facts"]["kernel"]["measurements"].as_array().unwrap();
    all.iter().map(|fact| (text(&fact["name"]), text(&fact["state"]))).collect()
}

pub fn doctor(arguments: &[&str]) -> Answer {
    Command::new(PROGRAM).arg("doctor").args(arguments).output().unwrap().into()
}

/// As somebody who may nothing. The program is copied to where that user can reach it.
pub fn doctor_as_nobody(arguments: &[&str]) -> Answer {
    if !nix::unistd::Uid::effective().is_root() {
        return doctor(arguments);
    }
    let folder = tempfile::tempdir().unwrap();
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(folder.path(), mode(0o755)).unwrap();
    let program = folder.path().join("insight-agent");
    fs::copy(PROGRAM, &program).unwrap();
    fs::set_permissions(&program, mode(0o755)).unwrap();
    let mut command = Command::new(program);
    command.arg("doctor").args(arguments).uid(NOBODY).gid(NOBODY).current_dir("/");
    command.output().unwrap().into()
}

/// A configuration file that anybody may read; it goes away with the folder.
pub fn configuration(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.path().join("insight.toml");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let name = file.display().to_string();
    (folder, name)
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `[metrics]`, `[admin]` and `[grpc]` on ports that nobody has.
pub fn listeners() -> (String, [u16; 3]) {
    let ports = [free_port(), free_port(), free_port()];
    let table = |name: &str, port: u16| format!("[{name}]\nlisten = \"127.0.0.1:{port}\"\n");
    let text = table("metrics", ports[0]) + &table("admin", ports[1]) + &table("grpc", ports[2]);
    (text, ports)
}

/// The root of the cgroup2 file system. **None**: it is not mounted.
pub fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(|path| Path::new(path).to_owned())
}
