//! Nothing of a run stays in the kernel, however it ends.

use crate::{lab_binary, options, root_lab, start, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What this machine holds under a run's name, wherever it could be.
fn holdings(run: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/run/netns")];
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let groups = mounts.lines().filter(|line| line.contains(" - cgroup"));
    folders.extend(groups.filter_map(|line| Some(line.split(' ').nth(4)?.into())));
    for folder in folders {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(run) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    for device in fs::read_dir("/sys/class/net").unwrap().flatten() {
        if fs::read_to_string(device.path().join("ifalias")).is_ok_and(|alias| alias.trim() == run) {
            found.push(device.path().display().to_string());
        }
    }
    found.extend(mounts.lines().filter(|line| line.contains(run)).map(str::to_owned));
    found
}

/// The name that everything of a run carries: its folder's, with a prefix.
fn run_name(run_dir: &Path) -> String {
    format!("insight-lab-{}", run_dir.file_name().unwrap().to_str().unwrap())
}

/// A lab in a process of its own.
struct Up {
    process: Child,
    run_dir: PathBuf,
    nodes: Vec<i64>,
    subnet: u64,
}

impl Up {
    fn start(temporary: &Path) -> Up {
        let mut process = Command::new(lab_binary())
            .args(["up", "--seconds", "120", "--isolation", "namespaces", "--fault", "mediary-a-busy=2"])
            .args(["--background-rps", "10"])
            .env("TMPDIR", temporary)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it printed {line:?}"));
        let nodes = told["nodes"].as_array().unwrap().iter().map(|n| n["pid"].as_i64().unwrap()).collect();
        let subnet = told["topology"]["subnet"].as_u64().unwrap();
        Up { process, run_dir: told["run_dir"].as_str().unwrap().into(), nodes, subnet }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn device_exists(subnet: u64) -> bool {
    Path::new(&format!("/sys/class/net/il{subnet}-1")).exists()
}

#[test]
fn the_next_start_removes_what_a_killed_harness_left_and_spares_the_living() {
    if !root_lab("cleanup::the_next_start_removes_what_a_killed_harness_left_and_spares_the_living") {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let living = start(options());
    let mut killed = Up::start(temporary.path());
    let run = run_name(&killed.run_dir);
    let held = holdings(&run);
    // Nine nodes and two switches, nine devices, a group in each tree, a mount per namespace.
    assert!(held.len() >= 11 + 9 + 1 + 11 && device_exists(killed.subnet), "{held:?}");
    killed.signal(Signal::SIGKILL);
    killed.process.wait().unwrap();
    wait_until("the kernel ends the children", || {
        !killed.nodes.iter().any(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        })
    });
    assert!(!holdings(&run).is_empty(), "nobody was left to remove it");

    let next = Command::new(lab_binary())
        .args(["up", "--seconds", "0"])
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    assert!(next.status.success(), "{next:?}");
    assert_eq!(holdings(&run), Vec::<String>::new());
    assert!(!device_exists(killed.subnet) || living.addresses().subnet == killed.subnet as u8);
    assert!(!killed.run_dir.exists());
    assert!(living.nodes().iter().all(|node| node.alive), "{:?}", living.nodes());
    assert!(!holdings(&run_name(living.run_dir())).is_empty());
    living.stop().unwrap();
}

#[test]
fn ctrl_c_removes_everything() {
    if !root_lab("cleanup::ctrl_c_removes_everything") {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let mut up = Up::start(temporary.path());
    up.signal(Signal::SIGINT);
    assert!(up.process.wait().unwrap().success(), "an asked-for end is no failure");
    assert_eq!(holdings(&run_name(&up.run_dir)), Vec::<String>::new());
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn stopping_and_dropping_remove_everything() {
    if !root_lab("cleanup::stopping_and_dropping_remove_everything") {
        return;
    }
    let (first, second) = (start(options()), start(options()));
    let [one, two] = [&first, &second].map(|lab| run_name(lab.run_dir()));
    assert_ne!(one, two);
    first.stop().unwrap();
    assert_eq!(holdings(&one), Vec::<String>::new());
    assert!(!holdings(&two).is_empty(), "the other run is not touched");
    drop(second);
    assert_eq!(holdings(&two), Vec::<String>::new());
}

#[test]
fn a_failed_start_leaves_nothing() {
    if !root_lab("cleanup::a_failed_start_leaves_nothing") {
        return;
    }
    let mut options = options();
    options.start_agents = true;
    options.agent_binary = "/nonexistent/insight-agent".into();
    let Err(error) = insight_lab::Lab::start(options) else { panic!("there is no such agent") };
    let error = format!("{error:#}");
    assert!(error.contains("/nonexistent/insight-agent"), "{error}");
    // Runs of other tests in this process have the same beginning: look for dead processes' only.
    let own = format!("insight-lab-{}-", std::process::id());
    wait_until("what carries this process's name belongs to runs with a folder", || {
        let runs = insight_lab::harness::runs_folder();
        holdings(&own).iter().filter(|held| !held.contains("trial") && !held.contains(' ')).all(|held| {
            let name =
                Path::new(held).file_name().unwrap().to_str().unwrap().trim_start_matches("insight-lab-");
            let run: Vec<&str> = name.splitn(4, '-').take(3).collect();
            runs.join(run.join("-")).exists()
        })
    });
}
