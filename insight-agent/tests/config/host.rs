//! What is read of the host, and which processes are its forwarders.

use super::support::{AGENT, GOOD, errors_of, inserted, one_error};
use insight_agent::config::Config;
use insight_agent::model::host::Selector;
use std::time::Duration;

#[test]
fn without_tables_the_host_is_read_and_no_process_is_watched() {
    let config = Config::parse(GOOD, "insight.toml").unwrap().config;
    assert!(config.host.enabled && config.host.node_metrics);
    assert_eq!((config.host.period, config.forwarders.len()), (Duration::from_secs(5), 0));
}

#[test]
fn a_forwarder_is_told_by_all_that_its_table_states() {
    let table = "[[forwarder]]\nname = \"edge\"\nprocess = \"nginx\"\nport = 443\nunit = \"nginx\"\n\
                 cgroup = \"/system.slice/nginx.service\"";
    let config = Config::parse(&inserted(AGENT, table), "insight.toml").unwrap().config;
    let expected = Selector {
        name: "edge".into(),
        process: Some("nginx".into()),
        port: Some(443),
        unit: Some("nginx".into()),
        cgroup: Some("/system.slice/nginx.service".into()),
    };
    assert_eq!(config.forwarders, [expected]);
}

#[test]
fn a_forwarder_that_no_process_can_be_told_by_is_refused_with_the_keys() {
    let start = "4: forwarder: nothing tells which processes it has: neither process, port, unit nor cgroup";
    one_error(&inserted(AGENT, "[[forwarder]]\nname = \"edge\""), start, "add at least one of them");
}

#[test]
fn values_out_of_range_are_refused_with_their_line() {
    let forwarder = |line: &str| inserted(AGENT, &format!("[[forwarder]]\nname = \"edge\"\n{line}"));
    one_error(&forwarder("port = 0"), "6: forwarder.port = 0: out of range", "1 to 65535");
    one_error(&forwarder("process = \"/usr/sbin/nginx\""), "6: forwarder.process = ", "without a path");
    one_error(&forwarder("cgroup = \"nginx.service\""), "6: forwarder.cgroup = ", "/proc/PID/cgroup");
    one_error(&inserted(AGENT, "[host]\nperiod = \"500ms\""), "5: host.period = \"500ms\"", "1s to 1m");
}

#[test]
fn names_are_unique_and_no_more_than_their_label_may_have() {
    let table = |name: usize| format!("[[forwarder]]\nname = \"f{name}\"\nport = {}\n", name + 1);
    one_error(&inserted(AGENT, &[table(1), table(1)].concat()), "8: forwarder.name", "a name of its own");
    let nine: String = (0..9).map(table).collect();
    one_error(&inserted(AGENT, &nine), "28: forwarder: 9 forwarders", "keep them to 8");
    let eight: String = (0..8).map(table).collect();
    assert_eq!(Config::parse(&inserted(AGENT, &eight), "insight.toml").unwrap().config.forwarders.len(), 8);
}

#[test]
fn the_list_that_earlier_versions_had_is_answered_with_the_table() {
    let errors = errors_of(&inserted(AGENT, "[kernel]\nforwarders = [\"nginx\"]")).to_string();
    assert!(errors.starts_with("insight.toml:5: kernel.forwarders: unknown key"), "{errors}");
    assert!(errors.contains("[[forwarder]]"), "{errors}");
}
