//! A run's life: it comes up, stands beside others, and leaves nothing behind, however it ends.

use crate::{lab_binary, skip};
use insight_lab::load::{LoadRequest, LoadState};
use insight_lab::{Lab, LabOptions, control, haproxy_available, nginx_available};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long something may take that takes milliseconds on an idle machine.
const SOON: Duration = Duration::from_secs(10);

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs; a zombie does not.
fn runs(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Pids of all processes that work in `folder`: children, and children of children.
fn working_in(folder: &Path) -> Vec<i64> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder)))
        .collect()
}

/// A harness in a process of its own, with a folder of runs of its own.
struct Up {
    process: Child,
    run_dir: PathBuf,
    nodes: Vec<i64>,
}

impl Up {
    fn start(temporary: &Path, arguments: &[&str]) -> Up {
        let mut process = Command::new(lab_binary())
            .args(["up", "--seconds", "120"])
            .args(arguments)
            .env("TMPDIR", temporary)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it printed {line:?}"));
        let nodes = told["nodes"].as_array().unwrap().iter().map(|n| n["pid"].as_i64().unwrap()).collect();
        Up { process, run_dir: told["run_dir"].as_str().unwrap().into(), nodes }
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

/// A start that ends at once: what every start does about dead runs, and nothing else.
fn next_start(temporary: &Path) {
    let done =
        Command::new(lab_binary()).args(["up", "--seconds", "0"]).env("TMPDIR", temporary).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

fn options() -> LabOptions {
    let mut options = LabOptions::new("", lab_binary());
    options.start_agents = false;
    options
}

#[test]
fn ctrl_c_ends_every_process_and_removes_every_file() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let temporary = tempfile::tempdir().unwrap();
        let mut up = Up::start(temporary.path(), &["--background-rps", "20"]);
        assert_eq!(up.nodes.len(), 7);
        assert!(up.nodes.iter().all(|pid| runs(*pid)));
        up.signal(signal);
        assert!(up.process.wait().unwrap().success(), "an asked-for end is no failure");
        assert!(!up.nodes.iter().any(|pid| runs(*pid)), "alive after {signal}");
        let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().flatten().collect();
        assert!(left.is_empty(), "left after {signal}: {left:?}");
    }
}

/// The harness is killed: the kernel ends the children, the next start removes the folder.
fn nothing_outlives_a_killed_harness(arguments: &[&str]) {
    let temporary = tempfile::tempdir().unwrap();
    let up = Up::start(temporary.path(), arguments);
    let all = working_in(&up.run_dir);
    assert!(all.len() >= up.nodes.len(), "{all:?} of {:?}", up.nodes);
    up.signal(Signal::SIGKILL);
    wait_until("the kernel ends all children and their workers", || !all.iter().any(|pid| runs(*pid)));
    assert!(up.run_dir.join("lab.json").exists(), "nobody was left to remove it");
    next_start(temporary.path());
    let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "left after the next start: {left:?}");
}

#[test]
fn nothing_outlives_a_killed_harness_of_embedded_hops() {
    nothing_outlives_a_killed_harness(&["--background-rps", "20"]);
}

#[test]
fn nothing_outlives_a_killed_harness_of_nginx_and_haproxy() {
    if nginx_available().is_none() || haproxy_available().is_none() {
        return skip(
            "nothing_outlives_a_killed_harness_of_nginx_and_haproxy",
            "nginx or haproxy is not installed",
        );
    }
    nothing_outlives_a_killed_harness(&["--forwarder", "nginx"]);
}

#[test]
fn the_next_start_ends_recorded_children_and_spares_everybody_else() {
    let temporary = tempfile::tempdir().unwrap();
    let up = Up::start(temporary.path(), &[]);
    up.signal(Signal::SIGKILL);
    wait_until("the children end", || !up.nodes.iter().any(|pid| runs(*pid)));
    // As if two children had not got the kernel's signal: one is recorded as it is, the other
    // only shares a pid with a recorded one.
    let sleeper = || {
        let mut command = Command::new("sleep");
        command.arg("600").process_group(0).current_dir(temporary.path()).spawn().unwrap()
    };
    let (mut ours, mut foreign) = (sleeper(), sleeper());
    let start_ticks = |child: &Child| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[19].parse::<u64>().unwrap()
    };
    let path = up.run_dir.join("lab.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["children"] = serde_json::json!([
        { "name": "ours", "pid": ours.id(), "start_ticks": start_ticks(&ours) },
        { "name": "foreign", "pid": foreign.id(), "start_ticks": start_ticks(&foreign) - 1 },
    ]);
    std::fs::write(&path, record.to_string()).unwrap();

    next_start(temporary.path());
    let ours_alive = ours.try_wait().unwrap().is_none();
    let foreign_alive = foreign.try_wait().unwrap().is_none();
    for child in [&mut ours, &mut foreign] {
        let _ = child.kill();
        let _ = child.wait();
    }
    assert!(!ours_alive, "a recorded child was left running");
    assert!(foreign_alive, "a process with another start time was killed");
    assert!(!up.run_dir.exists());
}

#[test]
fn a_start_leaves_runs_alone_that_live() {
    let temporary = tempfile::tempdir().unwrap();
    let up = Up::start(temporary.path(), &[]);
    next_start(temporary.path());
    assert!(up.run_dir.join("lab.json").exists() && up.nodes.iter().all(|pid| runs(*pid)));
}

#[test]
fn runs_coexist_and_stop_removes_only_its_own() {
    let first = Lab::start(options()).unwrap();
    let second = Lab::start(options()).unwrap();
    assert_ne!(first.addresses().subnet, second.addresses().subnet);
    let (first_dir, second_dir) = (first.run_dir().to_owned(), second.run_dir().to_owned());
    first.stop().unwrap();
    assert!(!first_dir.exists() && second_dir.exists());
    assert!(second.nodes().iter().all(|node| node.alive), "{:?}", second.nodes());
    drop(second);
    assert!(!second_dir.exists(), "dropping is stopping");
}

#[test]
fn a_lab_survives_the_thread_that_started_it() {
    let lab = std::thread::spawn(|| Lab::start(options()).unwrap()).join().unwrap();
    // The parent-death signal would come at once; a few scheduling rounds are enough to see it.
    std::thread::sleep(Duration::from_millis(200));
    assert!(lab.nodes().iter().all(|node| node.alive), "{:?}", lab.nodes());
}

#[test]
fn a_node_can_be_killed_and_restarted() {
    let mut lab = Lab::start(options()).unwrap();
    let state = |lab: &Lab| lab.nodes().into_iter().find(|n| n.name == "gateway-b").unwrap();
    let before = state(&lab);
    assert_eq!((before.role.as_str(), before.program.as_str()), ("forwarder", "embedded"));
    lab.kill("gateway-b");
    assert!(!state(&lab).alive);
    lab.restart("gateway-b").unwrap();
    let after = state(&lab);
    assert!(after.alive && after.pid != before.pid, "{after:?}");
    let message = lab.restart("gateway-c").unwrap_err().to_string();
    assert!(message.contains("gateway-c"), "{message}");
}

#[test]
fn a_node_that_cannot_start_fails_the_run_with_its_log_and_leaves_nothing() {
    let mut options = options();
    options.start_agents = true;
    options.agent_binary = "/nonexistent/insight-agent".into();
    let error = format!("{:#}", Lab::start(options).err().expect("there is no such agent"));
    assert!(error.contains("insight-sg") && error.contains("/nonexistent/insight-agent"), "{error}");
    let own = format!("{}-", std::process::id());
    let folder = insight_lab::harness::runs_folder();
    let failed = std::fs::read_dir(folder).map(|runs| {
        runs.flatten()
            .filter(|run| {
                run.file_name().to_string_lossy().starts_with(&own)
                    && run.path().join("insight-sg.toml").exists()
            })
            .count()
    });
    assert_eq!(failed.unwrap_or(0), 0, "the failed run's folder is still there");
}

#[test]
fn background_load_arrives_at_the_rate_that_was_asked_for() {
    let mut options = options();
    options.background_rps = 100.0;
    let lab = Lab::start(options).unwrap();
    let ask = || control::ask::<_, LoadState>(lab.addresses().load_control, &LoadRequest::Get).unwrap();
    let (start, first) = (Instant::now(), ask());
    wait_until("300 requests answered", || ask().ok >= first.ok + 300);
    let last = ask();
    let rate = (last.sent - first.sent) as f64 / start.elapsed().as_secs_f64();
    // Poisson: ±30 % of 300 arrivals is five standard deviations.
    assert!((70.0..130.0).contains(&rate), "{rate} requests per second of 100");
    assert_eq!((last.errors, last.shed), (0, 0));
}
