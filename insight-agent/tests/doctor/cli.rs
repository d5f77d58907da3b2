//! Text, JSON and exit codes.

use crate::support::{
    Answer, PROGRAM, check, configuration, doctor, doctor_as_nobody, is_root, listeners, states,
};
use insight_agent::collect::kernel::hooks;
use insight_agent::collect::kernel::spec;
use insight_lab::skip::{SkipReason, skip};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether this kernel has all hooks. If not, the test is skipped, and said so.
fn has_all_hooks(name: &str, answer: &Value) -> bool {
    let hooks = answer["facts"]["kernel"]["hooks"].as_array().unwrap();
    let lacks = hooks.iter().any(|hook| hook["in_types"] == false);
    let unknown = answer["facts"]["system"]["btf"]["bytes"].is_null();
    if lacks || unknown {
        skip(name, SkipReason::Impossible("this kernel lacks BTF, or a hook"));
    }
    !lacks && !unknown
}

#[test]
fn as_root_every_measurement_runs_and_every_program_attaches() {
    let name = "as_root_every_measurement_runs_and_every_program_attaches";
    if !is_root(name) {
        return;
    }
    let answer = doctor(&["--output", "json"]);
    let found = answer.json();
    if !has_all_hooks(name, &found) {
        return;
    }
    assert_eq!(answer.code, 0, "{answer:#?}");
    assert_eq!(found["config"], Value::Null);
    // Without a configuration the default set runs; what is off is tried all the same, below.
    let state = |spec: &spec::Spec| if spec.measurement.is_default() { "active" } else { "disabled" };
    let expected: Vec<_> =
        spec::ALL.iter().map(|spec| (spec.measurement.name().to_owned(), state(spec).to_owned())).collect();
    assert_eq!(states(&found), expected);
    let kernel = &found["facts"]["kernel"];
    let hooks = kernel["hooks"].as_array().unwrap();
    assert_eq!(hooks.len(), hooks::all().len());
    assert!(hooks.iter().all(|hook| hook["attached"] == true && hook["error"].is_null()), "{hooks:#?}");
    assert_eq!(kernel["missing_members"], Value::Array(vec![]));
    let memory = &kernel["memory"];
    let histograms = memory["histogram_bytes"].as_u64().unwrap();
    assert!(memory["map_bytes"].as_u64().unwrap() > histograms && histograms > 0, "{memory:#}");
    let running = spec::ALL.iter().filter(|spec| spec.measurement.is_default());
    let programs: BTreeSet<_> = running.flat_map(|spec| spec.hooks).map(|hook| hook.program).collect();
    assert!(memory["programs"].as_u64().unwrap() >= programs.len() as u64, "{memory:#}");
    // Not on a terminal: no progress, no warning.
    assert_eq!(answer.stderr, "");
}

#[test]
fn json_counts_what_it_lists_and_its_words_are_closed() {
    let answer = doctor(&["--output", "json"]);
    let found = answer.json();
    let mut counts = BTreeMap::from([("ok", 0), ("warning", 0), ("failing", 0), ("off", 0)]);
    for check in found["checks"].as_array().unwrap() {
        let status = check["status"].as_str().unwrap();
        *counts.get_mut(status).unwrap_or_else(|| panic!("an unknown status: {check:#}")) += 1;
        let keys: Vec<_> = check.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["advice", "detail", "found", "group", "name", "status"]);
    }
    for (status, count) in &counts {
        assert_eq!(found["counts"][status], *count, "{status}");
    }
    assert_eq!(answer.code, i32::from(counts["failing"] > 0), "{counts:?}");
    assert_eq!(found["status"] == "failing", counts["failing"] > 0);
}

#[test]
fn text_fits_a_hundred_columns_and_has_no_colour_in_a_pipe() {
    let answer = doctor(&[]);
    let widest = answer.stdout.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 100, "{widest}: {}", answer.stdout);
    assert!(!answer.stdout.contains('\x1b') && !answer.stderr.contains('\x1b'), "{answer:#?}");
    for group in ["kernel", "privileges", "hooks", "measurements", "forwarders", "neighbours"] {
        assert!(answer.stdout.lines().any(|line| line == group), "no {group} in {}", answer.stdout);
    }
    for spec in spec::ALL {
        assert!(answer.stdout.contains(spec.measurement.name()), "{}", answer.stdout);
    }
}

#[test]
fn without_privileges_the_kernels_no_is_named_with_its_number() {
    let answer = doctor_as_nobody(&["--output", "json"]);
    let found = answer.json();
    if found["facts"]["system"]["btf"]["bytes"].is_null() {
        let name = "without_privileges_the_kernels_no_is_named_with_its_number";
        return skip(name, SkipReason::Impossible("this kernel has no BTF"));
    }
    assert_eq!(answer.code, 1, "{answer:#?}");
    assert_eq!(check(&found, "CAP_BPF")["status"], "failing");
    let kernel = &found["facts"]["kernel"];
    for hook in kernel["hooks"].as_array().unwrap().iter().filter(|hook| hook["in_types"] != false) {
        let errno = &hook["error"]["errno"];
        assert_eq!((errno["name"].as_str(), errno["number"].as_i64()), (Some("EPERM"), Some(1)), "{hook:#}");
    }
    for fact in kernel["measurements"].as_array().unwrap().iter().filter(|fact| fact["state"] == "failed") {
        assert_eq!(
            (&fact["reason"], &fact["error"]["errno"]["name"]),
            (&"permission".into(), &"EPERM".into())
        );
    }
    assert!(states(&found).iter().all(|(_, state)| state != "active"), "{found:#}");
    assert_eq!(kernel["memory"], Value::Null, "nothing was loaded, so nothing is known");
    let text = doctor_as_nobody(&[]);
    assert_eq!(text.code, 1);
    assert!(text.stdout.contains("EPERM (1)") && text.stdout.contains("-> run as root"), "{}", text.stdout);
}

#[test]
fn with_the_kernel_half_off_nothing_is_loaded_and_nothing_fails() {
    let (ports, _) = listeners();
    let text = format!("[agent]\nregion = \"eu\"\n{ports}[kernel]\nenabled = false\n");
    let (_folder, file) = configuration(&text);
    let answer = doctor_as_nobody(&["--output", "json", "--config", &file]);
    let found = answer.json();
    assert_eq!(answer.code, 0, "{answer:#?}");
    assert_eq!(found["config"], file);
    for spec in spec::ALL {
        let check = check(&found, spec.measurement.name());
        assert_eq!(check["status"], "off", "{check:#}");
    }
    assert!(
        found["facts"]["kernel"]["hooks"].as_array().unwrap().iter().all(|hook| hook["attached"].is_null())
    );
}

#[test]
fn a_measurement_that_is_not_asked_for_is_off_and_tried_all_the_same() {
    let name = "a_measurement_that_is_not_asked_for_is_off_and_tried_all_the_same";
    if !is_root(name) {
        return;
    }
    let first = spec::ALL[0].measurement.name();
    let (ports, _) = listeners();
    let text = format!("[agent]\nregion = \"eu\"\n{ports}[kernel]\nmeasurements = [\"{first}\"]\n");
    let (_folder, file) = configuration(&text);
    let answer = doctor(&["--output", "json", "--config", &file]);
    let found = answer.json();
    if !has_all_hooks(name, &found) {
        return;
    }
    assert_eq!((answer.code, &check(&found, first)["status"]), (0, &"ok".into()), "{found:#}");
    for spec in &spec::ALL[1..] {
        let check = check(&found, spec.measurement.name());
        assert_eq!(check["status"], "off", "{check:#}");
        assert!(check["found"].as_str().unwrap().contains("its hooks load and attach"), "{check:#}");
    }
}

#[test]
fn a_broken_configuration_is_told_as_check_config_tells_it() {
    let (_folder, file) = configuration("[agent]\nregion = \"EU\"\nlgo = \"info\"\n");
    let of = |subcommand: &[&str]| -> Answer {
        Command::new(PROGRAM).args(subcommand).arg(&file).output().unwrap().into()
    };
    let (doctor, check_config) = (of(&["doctor", "--output", "json", "--config"]), of(&["check-config"]));
    assert_eq!((doctor.code, doctor.stdout.as_str()), (2, ""));
    assert!(doctor.stderr.starts_with(&format!("{file}:2: agent.region = \"EU\"")), "{}", doctor.stderr);
    assert_eq!(doctor.stderr, check_config.stderr);
    let (_folder, file) =
        configuration("[agent]\nregion = \"eu\"\n[metrics]\nweb_config_file = \"web.yml\"\n");
    let answer = crate::support::doctor(&["--config", &file]);
    assert_eq!(answer.code, 2, "a file that is named and missing: {answer:#?}");
    assert_eq!(crate::support::doctor(&["--config", "/nonexistent.toml"]).code, 2);
    assert_eq!(crate::support::doctor(&["--output", "yaml"]).code, 2);
}

#[test]
fn help_names_the_exit_codes() {
    let help = doctor(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(
        help.stdout.contains("Exit codes:") && help.stdout.contains("  2  wrong arguments"),
        "{}",
        help.stdout
    );
}

#[test]
fn a_port_of_somebody_else_fails_with_its_process() {
    let name = "a_port_of_somebody_else_fails_with_its_process";
    if !is_root(name) {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let text = format!("[agent]\nregion = \"eu\"\n[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    let (_folder, file) = configuration(&(text + "[kernel]\nenabled = false\n"));
    let answer = doctor(&["--output", "json", "--config", &file]);
    assert_eq!(answer.code, 1, "{answer:#?}");
    let found = answer.json();
    let check = check(&found, "metrics_listener");
    assert_eq!(check["status"], "failing");
    let pid = format!("pid {}", std::process::id());
    assert!(check["found"].as_str().unwrap().contains(&pid), "{check:#}");
}

#[test]
fn beside_a_running_agent_its_ports_and_programs_are_no_failure() {
    let name = "beside_a_running_agent_its_ports_and_programs_are_no_failure";
    if !is_root(name) {
        return;
    }
    let (ports, _) = listeners();
    let first = spec::ALL[0].measurement.name();
    let text = format!("[agent]\nregion = \"eu\"\n{ports}[kernel]\nmeasurements = [\"{first}\"]\n");
    let (_folder, file) = configuration(&text);
    let mut command = Command::new(PROGRAM);
    let running = command.args(["run", "--config", &file]).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(running.spawn().unwrap());
    let pid = running.0.id();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = doctor(&["--output", "json", "--config", &file]);
        let found = answer.json();
        if !has_all_hooks(name, &found) {
            return;
        }
        let others = found["facts"]["kernel"]["other_agents"].as_array().unwrap();
        let has_loaded = others.iter().any(|agent| agent["pid"] == pid);
        let listens =
            |name: &str| check(&found, name)["found"].as_str().unwrap().contains(&format!("pid {pid}"));
        if has_loaded && listens("metrics_listener") && listens("grpc_listener") {
            assert_eq!(answer.code, 0, "{answer:#?}");
            assert!(found["facts"]["agents"].as_array().unwrap().contains(&pid.into()), "{found:#}");
            return;
        }
        assert!(Instant::now() < deadline, "agent {pid} is not seen in {found:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
