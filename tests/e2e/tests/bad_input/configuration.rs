//! Configurations that are refused: the same words from `check-config` and `run`, and nothing is
//! started.

use crate::pair::assert_says;
use insight_e2e::agent::{Config, Finished, Site};
use std::net::TcpStream;

/// Runs both commands on a configuration and asserts that each refuses it with `parts`. `line` is
/// a line of the file that the message must point to.
#[track_caller]
fn assert_refused(site: &Site, config: &Config, line: &str, parts: &[&str]) {
    let text = config.render(site);
    let number = 1 + text.lines().position(|l| l == line).unwrap_or_else(|| panic!("{line:?} in\n{text}"));
    let file = site.write("insight.toml", &text).display().to_string();
    let place = format!("{file}:{number}: ");
    for arguments in [&["check-config", &file][..], &["run", "--config", &file]] {
        let Finished { code, stdout, stderr, .. } = site.execute(arguments);
        assert_eq!(code, 2, "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.starts_with(&place), "{arguments:?}: no {place:?} in {stderr:?}");
        assert_says(&stderr, parts);
        assert_eq!(stderr.lines().count(), 1, "one mistake, one line: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
    }
    assert!(TcpStream::connect(site.metrics()).is_err(), "something was started");
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    let site = Site::new();
    let config = Config::new().probe("sg", "sg", "127.0.0.1:1", "intervall = \"1s\"");
    assert_refused(
        &site,
        &config,
        "intervall = \"1s\"",
        &["probe.intervall", "unknown key", "did you mean \"interval\"?"],
    );
}

#[test]
fn a_duration_without_unit_is_refused_with_what_to_write() {
    let site = Site::new();
    let config = Config::new().probe("sg", "sg", "127.0.0.1:1", "deadline = \"5\"");
    assert_refused(
        &site,
        &config,
        "deadline = \"5\"",
        &["probe.deadline = \"5\": a duration needs a unit", "write \"5s\""],
    );
}

#[test]
fn a_unit_that_does_not_exist_is_refused() {
    let site = Site::new();
    let config = Config::new().probe("sg", "sg", "127.0.0.1:1", "deadline = \"5 sec\"");
    assert_refused(&site, &config, "deadline = \"5 sec\"", &["\"sec\" is no unit", "write \"5s\""]);
}

#[test]
fn a_second_probe_of_the_same_name_is_refused_with_the_line_of_the_first() {
    let site = Site::new();
    let first = Config::new().probe("sg", "sg", "127.0.0.1:1", "");
    let text = first.render(&site);
    let taken = 1 + text.lines().position(|line| line == "name = \"sg\"").unwrap();
    let config = first.tables("[[probe]]\nname = 'sg'\ntarget = \"sg\"\nmode = \"white-box\"\naddress = \"a:1\"\ninterval = \"50ms\"");
    assert_refused(
        &site,
        &config,
        "name = 'sg'",
        &["probe.name = 'sg'", &format!("this name is taken by line {taken}"), "of its own"],
    );
}

#[test]
fn an_admin_listener_beyond_loopback_without_a_token_is_refused() {
    let site = Site::new();
    let config = Config::new().admin("listen = \"0.0.0.0:19748\"");
    assert_refused(
        &site,
        &config,
        "listen = \"0.0.0.0:19748\"",
        &[
            "admin.listen = \"0.0.0.0:19748\": it is reachable from other hosts",
            "set admin.token_file, or admin.insecure = true",
        ],
    );
}

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_lines() {
    let site = Site::new();
    let config = Config::new().agent("log_format = \"jsn\"").grpc("max_delay = \"2 minutes\"").probe(
        "sg",
        "sg",
        "sg.example",
        "pings = false",
    );
    let file = site.write("insight.toml", &config.render(&site)).display().to_string();
    let refused = site.execute(&["check-config", &file]);
    assert_eq!(refused.code, 2);
    let keys: Vec<_> = refused.stderr.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    let keys: Vec<_> = keys.iter().map(|key| key.split(" = ").next().unwrap()).collect();
    assert_eq!(
        keys,
        ["agent.log_format", "grpc.max_delay", "probe.address", "probe.pings"],
        "{}",
        refused.stderr
    );
}

#[test]
fn a_missing_file_is_named() {
    let site = Site::new();
    for arguments in
        [&["check-config", "/no/such/insight.toml"][..], &["run", "--config", "/no/such/insight.toml"]]
    {
        let refused = site.execute(arguments);
        assert_eq!(refused.code, 2);
        assert!(refused.stderr.starts_with("/no/such/insight.toml: cannot read"), "{}", refused.stderr);
    }
}

#[test]
fn a_usable_file_is_accepted_without_starting_anything() {
    let site = Site::new();
    let config = Config::new().probe("sg", "sg", "127.0.0.1:1", "interval = \"100ms\"");
    let file = site.write("insight.toml", &config.render(&site)).display().to_string();
    let accepted = site.execute(&["check-config", &file]);
    assert_eq!((accepted.code, accepted.stderr.as_str()), (0, ""));
    assert_eq!(accepted.stdout, format!("{file}: ok: 1 probe, 0 routes\n"));
}

#[test]
fn a_port_in_use_ends_the_start_with_the_listener_named() {
    let site = Site::new();
    for (table, address) in [("metrics", site.metrics()), ("admin", site.admin()), ("grpc", site.grpc())] {
        let taken = std::net::TcpListener::bind(address).unwrap();
        let file = site.write("insight.toml", &Config::new().render(&site)).display().to_string();
        let refused = site.execute(&["run", "--config", &file]);
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        assert_says(
            &refused.stderr,
            &[
                &format!("insight-agent: [{table}] listen = \"{address}\": address already in use"),
                "stop it or choose another port",
            ],
        );
        assert!(!refused.stderr.contains("ready: "), "{}", refused.stderr);
        drop(taken);
    }
}
