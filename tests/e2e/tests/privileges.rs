//! What each capability is for, found out by taking it away from the real agent; and what is left of
//! them when it has started. `docs/kernels.md` has the table that is proved here.
//!
//! Agents here measure this whole machine for a moment; only their states are looked at.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use insight_agent::collect::kernel::spec;
use insight_e2e::agent::{Agent, Config, Site, binary};
use insight_e2e::unprivileged::{can, command, held, settled, start};
use insight_e2e::wait::{PATIENCE, wait_until};
use insight_lab::skip::{SkipReason, skip};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// What an ordinary user's agent is to have.
const STATED: [&str; 3] = ["bpf", "perfmon", "net_admin"];

/// The unit that is offered to operators.
const UNIT: &str = include_str!("../../../deploy/insight-agent.service");

/// State and reason of each measurement.
type States = BTreeMap<String, (String, String)>;

/// Everything on that is on by default. `selector`: of the forwarder.
fn config(selector: &str, kernel: &str) -> Config {
    let forwarder = format!("[[forwarder]]\nname = \"some\"\n{selector}\n");
    Config::new().tables(&format!("[host]\nperiod = \"1s\"\n[kernel]\nenabled = true\n{kernel}\n{forwarder}"))
}

/// A process of another user, root, that can be looked for by its name.
const BY_NAME: &str = "process = \"systemd\"";

/// As the status tells it; the scrape must tell the same.
fn states(agent: &Agent) -> States {
    // They are told once a window.
    let status = wait_until("every half's state", PATIENCE, || {
        let status = agent.status();
        let all = status["measurements"].as_array().unwrap();
        let told = ["seeding", "host"].iter().all(|name| all.iter().any(|one| one["name"] == *name));
        if told { Ok(status) } else { Err(status.to_string()) }
    });
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let all = status["measurements"].as_array().unwrap();
    let states: States =
        all.iter().map(|one| (text(&one["name"]), (text(&one["state"]), text(&one["reason"])))).collect();
    for (name, (state, reason)) in &states {
        agent.wait_for("the same state in the scrape", |scrape| {
            let labels =
                [("measurement", name.as_str()), ("state", state.as_str()), ("reason", reason.as_str())];
            scrape.value("insight_measurement_state", &labels)
        });
    }
    states
}

/// The states of the default measurements as they shall be, where those in `failed` may not run.
fn expected(failed: &[&str]) -> States {
    let defaults = spec::ALL.iter().filter(|spec| spec.measurement.is_default());
    let state = |name: &str| match failed.contains(&name) {
        true => ("failed".to_owned(), "permission".to_owned()),
        false => ("active".to_owned(), String::new()),
    };
    defaults.map(|spec| spec.measurement.name()).map(|name| (name.to_owned(), state(name))).collect()
}

#[track_caller]
fn assert_states(agent: &Agent, failed: &[&str], seeding: (&str, &str)) {
    let found = states(agent);
    for (name, state) in &expected(failed) {
        assert_eq!(found.get(name), Some(state), "{name}: {found:#?}\n{}", agent.log());
    }
    let seeding = (seeding.0.to_owned(), seeding.1.to_owned());
    assert_eq!(found["seeding"], seeding, "{}", agent.log());
    // Whatever the kernel half may: the rest runs.
    assert_eq!(found["host"].0, "active");
    assert!(agent.scrape().value("insight_forwarder_processes", &[("forwarder", "some")]).is_some());
}

/// Every thread has what is said here of it; one that is not named has nothing.
#[track_caller]
fn assert_held(agent: &Agent, expected: &[(&str, &[&str])]) {
    let found = held(agent.process.pid());
    assert!(["kernel", "host", "grpc", "prober"].iter().all(|name| found.contains_key(*name)), "{found:#?}");
    for (thread, capabilities) in &found {
        let wanted = expected.iter().find(|(name, _)| name == thread).map_or(&[][..], |(_, wanted)| *wanted);
        let wanted: BTreeSet<_> = wanted.iter().copied().collect();
        assert_eq!(capabilities, &wanted, "{thread}: {found:#?}\n{}", agent.log());
    }
}

/// The one line about capabilities.
fn line(agent: &Agent) -> String {
    let log = agent.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("capabilities are settled")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    lines[0].to_owned()
}

#[test]
fn three_capabilities_run_every_default_measurement_and_none_is_left() {
    if !can("three_capabilities_run_every_default_measurement_and_none_is_left") {
        return;
    }
    let site = Site::new();
    let agent = start(&site, &STATED, &config(BY_NAME, ""));
    assert_states(&agent, &[], ("active", ""));
    assert_held(&agent, &[]);
    let line = line(&agent);
    assert!(line.contains("kept=\"none\""), "{line}");
    assert!(line.contains("dropped=\"CAP_NET_ADMIN CAP_PERFMON CAP_BPF\""), "{line}");
    for of_the_programs in ["insight_bpf_table_entries", "insight_bpf_program_recursion_misses_total"] {
        agent.wait_for(of_the_programs, |scrape| scrape.sum(of_the_programs, &[]));
    }
    // What else runs on this machine may be worth a warning.
    let of_ours = |line: &&str| ["agent::privileges", "agent::kernel"].iter().any(|of| line.contains(of));
    let warning = |line: &&str| line.contains("WARN") && of_ours(line);
    assert_eq!(agent.log().lines().find(warning), None);
}

#[test]
fn without_net_admin_only_what_stands_on_the_cgroup_fails() {
    if !can("without_net_admin_only_what_stands_on_the_cgroup_fails") {
        return;
    }
    let site = Site::new();
    let agent = start(&site, &["bpf", "perfmon"], &config(BY_NAME, ""));
    assert_states(&agent, &["socket_rtt"], ("active", ""));
    assert_held(&agent, &[]);
}

#[test]
fn without_bpf_or_perfmon_all_kernel_measurements_fail_and_the_rest_runs() {
    if !can("without_bpf_or_perfmon_all_kernel_measurements_fail_and_the_rest_runs") {
        return;
    }
    let all: Vec<_> = spec::ALL.iter().map(|spec| spec.measurement.name()).collect();
    for left in [&["perfmon", "net_admin"][..], &["bpf", "net_admin"], &[]] {
        let site = Site::new();
        let agent = start(&site, left, &config(BY_NAME, ""));
        // It was asked for, like the others.
        assert_states(&agent, &all, ("failed", "permission"));
        assert_held(&agent, &[]);
        assert!(agent.log().contains("grant CAP_BPF"), "{}", agent.log());
    }
}

#[test]
fn sockets_of_another_namespace_that_were_open_before_take_sys_admin() {
    if !can("sockets_of_another_namespace_that_were_open_before_take_sys_admin") {
        return;
    }
    let scope = "scope_namespaces = [\"/proc/self/ns/net\"]";
    for (capabilities, seeding) in [
        (&STATED[..], ("failed", "permission")),
        (&["bpf", "perfmon", "net_admin", "sys_admin"], ("active", "")),
    ] {
        let site = Site::new();
        let agent = start(&site, capabilities, &config(BY_NAME, scope));
        assert_states(&agent, &[], seeding);
        assert_held(&agent, &[]);
    }
}

/// Processes that the agent takes for the forwarder.
fn followed(agent: &Agent) -> Vec<u64> {
    let status = wait_until("a reading of the forwarders", PATIENCE, || {
        let status = agent.status();
        let read = status["forwarders"][0]["pids"].is_array();
        if read { Ok(status) } else { Err(status.to_string()) }
    });
    let pids = status["forwarders"][0]["pids"].as_array().unwrap();
    pids.iter().map(|pid| pid.as_u64().unwrap()).collect()
}

#[test]
fn a_forwarder_of_another_user_is_found_by_its_port_with_two_more_which_stay() {
    if !can("a_forwarder_of_another_user_is_found_by_its_port_with_two_more_which_stay") {
        return;
    }
    // This process, which is root's.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let selector = format!("port = {}", listener.local_addr().unwrap().port());
    let own = u64::from(std::process::id());
    for more in [&["sys_ptrace", "dac_read_search"][..], &["sys_ptrace"], &["dac_read_search"], &[]] {
        let site = Site::new();
        let capabilities = [&STATED, more].concat();
        let agent = start(&site, &capabilities, &config(&selector, ""));
        assert_states(&agent, &[], ("active", ""));
        let found = followed(&agent);
        assert_eq!(found.contains(&own), more.len() == 2, "with {more:?}: {found:?}");
        assert_held(&agent, &[("kernel", more), ("host", more)]);
        let warned = agent.log().contains("it is looked for by its port");
        assert_eq!(warned, more.len() < 2, "with {more:?}: {}", agent.log());
    }
}

/// The name of this process as `ps` shows it, and that of its program's file, which is longer.
fn own_names() -> [String; 2] {
    let comm = fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap();
    let program = std::env::current_exe().unwrap();
    let names = [comm.trim().to_owned(), program.file_name().unwrap().to_str().unwrap().to_owned()];
    assert_ne!(names[0], names[1]);
    names
}

#[test]
fn a_forwarder_of_another_user_is_found_by_its_name_without_any_and_by_its_programs_with_one() {
    let test = "a_forwarder_of_another_user_is_found_by_its_name_without_any_and_by_its_programs_with_one";
    if !can(test) {
        return;
    }
    let [name, program] = own_names();
    let own = u64::from(std::process::id());
    for (called, more, is_found) in
        [(&name, &[][..], true), (&program, &[], false), (&program, &["sys_ptrace"], true)]
    {
        let site = Site::new();
        let capabilities = [&STATED, more].concat();
        let agent = start(&site, &capabilities, &config(&format!("process = {called:?}"), ""));
        assert_eq!(followed(&agent).contains(&own), is_found, "{called} with {more:?}");
        assert_held(&agent, &[("kernel", more), ("host", more)]);
    }
}

/// A process of this user, root, in a control group of its own.
struct Grouped {
    child: Child,
    folder: PathBuf,
}

impl Grouped {
    /// **None**: no cgroup2 is mounted, which has been said.
    fn start(test: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let Some(line) = mounts.lines().find(|line| line.contains(" - cgroup2 ")) else {
            skip(test, SkipReason::Missing("no cgroup2 is mounted"));
            return None;
        };
        let name = format!("insight-privileges-{}", std::process::id());
        let folder = Path::new(line.split(' ').nth(4).unwrap()).join(name);
        fs::create_dir(&folder).unwrap();
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let grouped = Self { child, folder };
        fs::write(grouped.folder.join("cgroup.procs"), grouped.child.id().to_string()).unwrap();
        Some(grouped)
    }
}

impl Drop for Grouped {
    fn drop(&mut self) {
        // In this order: a group with a process in it stays.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir(&self.folder);
    }
}

#[test]
fn a_forwarders_group_takes_no_capability_unless_proc_hides_processes() {
    let test = "a_forwarders_group_takes_no_capability_unless_proc_hides_processes";
    if !can(test) {
        return;
    }
    let Some(forwarder) = Grouped::start(test) else { return };
    let selector = format!("cgroup = {:?}", forwarder.folder);
    let both = &["sys_ptrace"][..];
    for (options, more, kept, is_found) in [
        ("", both, &[][..], true),
        ("", &[], &[], true),
        ("hidepid=2", both, both, true),
        ("hidepid=2", &[], &[], false),
    ] {
        let site = Site::new();
        let inner = command(&site, &[&STATED, more].concat());
        let mut outer = Command::new("unshare");
        let mount = format!("mount -t proc -o rw,{options} proc /proc && exec \"$@\"");
        outer
            .args(["--mount", "--", "sh", "-c", &mount, "sh"])
            .arg(inner.get_program())
            .args(inner.get_args());
        let agent = settled(site.start_program(outer, &config(&selector, "")));
        let found = followed(&agent).contains(&u64::from(forwarder.child.id()));
        assert_eq!(found, is_found, "{options} with {more:?}: {}", agent.log());
        assert_held(&agent, &[("kernel", kept), ("host", kept)]);
    }
}

#[test]
fn a_low_port_takes_a_capability_that_is_dropped_when_it_is_bound() {
    if !can("a_low_port_takes_a_capability_that_is_dropped_when_it_is_bound") {
        return;
    }
    let site = Site::new();
    let low = |site: &Site| {
        let listen = format!("listen = \"{}:81\"", site.admin().ip());
        Config::new().admin(&listen).tables("[host]\nenabled = false")
    };
    let agent = start(&site, &["net_bind_service"], &low(&site));
    let found = held(agent.process.pid());
    assert!(found.values().all(BTreeSet::is_empty), "{found:#?}");
    assert!(line(&agent).contains("dropped=\"CAP_NET_BIND_SERVICE\""), "{}", agent.log());

    let site = Site::new();
    let file = site.write("low.toml", &low(&site).render(&site));
    let answer = command(&site, &[]).args(["run", "--config"]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&answer.stderr);
    assert_eq!(answer.status.code(), Some(1), "{said}");
    assert!(said.contains("CAP_NET_BIND_SERVICE"), "{said}");
}

#[test]
fn root_keeps_only_what_finds_its_forwarder() {
    if !can("root_keeps_only_what_finds_its_forwarder") {
        return;
    }
    for (selector, kept) in [
        ("unit = \"nginx\"", &[][..]),
        (BY_NAME, &["sys_ptrace"]),
        ("port = 1", &["sys_ptrace", "dac_read_search"]),
    ] {
        let site = Site::new();
        let agent = settled(site.start(&config(selector, "")));
        assert_states(&agent, &[], ("active", ""));
        assert_held(&agent, &[("kernel", kept), ("host", kept)]);
        let line = line(&agent);
        assert!(line.contains("CAP_SYS_MODULE") && line.contains("CAP_BPF"), "dropped: {line}");
    }
}

#[test]
fn an_agent_that_reads_nothing_keeps_nothing() {
    if !can("an_agent_that_reads_nothing_keeps_nothing") {
        return;
    }
    let site = Site::new();
    let agent = settled(site.start(&Config::new().tables("[host]\nenabled = false")));
    let found = held(agent.process.pid());
    assert!(found.values().all(BTreeSet::is_empty), "{found:#?}");
    assert!(line(&agent).contains("kept=\"none\""), "{}", agent.log());
}

#[test]
fn the_unit_grants_what_is_proved_here_and_no_more() {
    for key in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
        let lines: Vec<_> = UNIT.lines().filter_map(|line| line.strip_prefix(key)).collect();
        let stated = STATED.map(|name| format!("CAP_{}", name.to_uppercase())).join(" ");
        assert_eq!(lines, [stated], "{key}");
    }
    assert!(UNIT.lines().any(|line| line == "NoNewPrivileges=yes"));
    let offered = ["ProtectProc=", "ProcSubset=", "PrivateUsers=", "PrivateNetwork=", "IPAddressDeny="];
    let breaks = |line: &&str| offered.iter().any(|key| line.starts_with(key));
    assert_eq!(UNIT.lines().find(breaks), None, "the agent would not see what it measures");
}

#[test]
fn systemd_understands_the_unit() {
    let (test, program) = ("systemd_understands_the_unit", "/usr/bin/systemd-analyze");
    if !Path::new(program).exists() {
        return skip(test, SkipReason::Missing("systemd-analyze is missing: install systemd"));
    }
    // It asks whether the program is there.
    let site = Site::new();
    let text = UNIT.replace("/usr/local/bin/insight-agent", binary().to_str().unwrap());
    let file = site.write("insight-agent.service", &text);
    let answer = Command::new(program).args(["verify", "--man=no"]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success() && !said.contains("insight-agent.service"), "{}: {said}", answer.status);
}

#[test]
fn what_a_reload_takes_is_without_effect_until_then() {
    if !can("what_a_reload_takes_is_without_effect_until_then") {
        return;
    }
    let site = Site::new();
    let file = site.path("insight.toml");
    let agent = start(&site, &STATED, &config(BY_NAME, "reloadable = true\nmeasurements = [\"connect\"]"));
    let active = |name: &str| {
        let labels = [("measurement", name), ("state", "active")];
        agent.wait_for(name, |scrape| scrape.value("insight_measurement_state", &labels));
    };
    active("connect");
    let at_rest = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", agent.process.pid())).unwrap();
        let statuses = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
        let mask = |status: &str, field: &str| {
            let text = status.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned();
            u64::from_str_radix(&text, 16).unwrap()
        };
        for status in statuses {
            assert_eq!(mask(&status, "CapEff:"), 0, "{status}");
            assert_eq!(mask(&status, "CapPrm:") != 0, status.starts_with("Name:\tkernel\n"), "{status}");
        }
    };
    at_rest();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"connect\"", "\"resets\"")).unwrap();
    kill(Pid::from_raw(agent.process.pid() as i32), Signal::SIGHUP).unwrap();
    active("resets");
    at_rest();
}
