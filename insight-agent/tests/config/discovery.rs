//! Discoveries and templates: what is refused with which words, and what comes of an endpoint.

use super::support::{GOOD, one_error, warnings_of};
use insight_agent::config::{Config, Expanded, Rosters, Way};
use insight_agent::model::discovery::{DnsRecord, DropReason, Endpoint, SourcePlan};
use insight_agent::model::plan::{Call, Mode};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const FILE: &str = "[[discovery]]\nname = \"d\"\nfile = { paths = [\"a.json\"] }\n";

/// Lines of [`GOOD`] and [`FILE`]; a template's table begins on the next one.
const BEFORE: usize = 20;

fn with(lines: &str) -> String {
    format!("{GOOD}{FILE}{lines}")
}

fn template(lines: &str) -> String {
    with(&format!("[[probe]]\ndiscovery = \"d\"\ntarget = \"far\"\nmode = \"black-box\"\n{lines}"))
}

fn endpoint(name: &str, meta: &[(&str, &str)]) -> Endpoint {
    let meta = meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Endpoint { name: name.into(), host: "10.0.0.1".into(), port: 443, meta }
}

fn expanded(text: &str, endpoints: Vec<Endpoint>) -> Expanded {
    let config = Config::parse(text, "insight.toml").unwrap_or_else(|errors| panic!("{errors}")).config;
    config.expand(&Rosters::from([("d".to_owned(), Arc::new(endpoints))]))
}

fn names(expanded: &Expanded) -> Vec<&str> {
    expanded.config.probes.iter().map(|probe| probe.name.as_str()).collect()
}

fn only_drop(expanded: &Expanded) -> (DropReason, &str) {
    assert_eq!(expanded.dropped.len(), 1, "{:?}", expanded.dropped);
    (expanded.dropped[0].reason, &expanded.dropped[0].detail)
}

// ---- sources --------------------------------------------------------------------------------

#[test]
fn a_discovery_looks_in_exactly_one_place() {
    let text = format!("{GOOD}[[discovery]]\nname = \"d\"\n");
    one_error(&text, "18: discovery: nothing says where to look", "[discovery.file], [discovery.dns]");
    let text = format!("{GOOD}{FILE}dns = {{ names = [\"a\"], port = 1 }}\n");
    one_error(
        &text,
        "21: discovery.dns: a discovery looks in one place, and this one has file",
        "of its own",
    );
    let text = format!("{GOOD}{FILE}{FILE}");
    one_error(&text, "22: discovery.name = \"d\": this name is taken by line 19", "a name of its own");
}

#[test]
fn paths_name_files_that_tell_their_language() {
    for (path, what, advice) in [
        ("", "\"\" names no file", "targets/*.json"),
        ("a/", "\"a/\" names no file", "targets/*.json"),
        ("*/a.json", "in \"*/a.json\" a folder is a pattern", "behind the last slash"),
        ("a.txt", "\"a.txt\" does not tell how", "end it in .toml"),
    ] {
        let text = format!("{GOOD}[[discovery]]\nname = \"d\"\nfile = {{ paths = [\"{path}\"] }}\n");
        one_error(&text, &format!("20: discovery.file.paths = [\"{path}\"]: {what}"), advice);
    }
    let text = format!("{GOOD}[[discovery]]\nname = \"d\"\nfile = {{ paths = [] }}\n");
    one_error(&text, "20: discovery.file.paths = []: the list is empty", "at least one");
}

#[test]
fn names_in_the_dns_are_names_with_a_port_from_somewhere() {
    let dns = |lines: &str| format!("{GOOD}[[discovery]]\nname = \"d\"\n[discovery.dns]\n{lines}\n");
    for (lines, start, advice) in [
        ("names = [\"a\"]", "20: discovery.dns.port: addresses have no port", "port = 443"),
        (
            "names = [\"a\"]\ntype = \"SRV\"\nport = 1",
            "23: discovery.dns.port = 1: SRV records bring",
            "remove port",
        ),
        ("names = []\nport = 1", "21: discovery.dns.names = []: the list is empty", "at least one"),
        (
            "names = [\"a:1\"]\nport = 1",
            "21: discovery.dns.names = [\"a:1\"]: \"a:1\" is no name",
            "without a port",
        ),
        (
            "names = [\"10.0.0.1\"]\nport = 1",
            "21: discovery.dns.names = [\"10.0.0.1\"]: \"10.0.0.1\" is an addr",
            "[[probe]]",
        ),
        (
            "names = [\"a\", \"a\"]\nport = 1",
            "21: discovery.dns.names = [\"a\", \"a\"]: \"a\" occurs twice",
            "once",
        ),
        (
            "names = [\"a\"]\nport = 1\nserver = \"a:1\"",
            "23: discovery.dns.server = \"a:1\": not the address",
            "127.0.0.1:53",
        ),
        (
            "names = [\"a\"]\nport = 1\nmin_ttl = \"10m\"",
            "23: discovery.dns.min_ttl = \"10m\": the least of 10m",
            "up to max_ttl",
        ),
        (
            "names = [\"a\"]\nport = 1\ntype = \"TXT\"",
            "23: discovery.dns.type = \"TXT\": no such choice",
            "SRV",
        ),
    ] {
        one_error(&dns(lines), start, advice);
    }
    let text = dns("names = [\"a.example.\", \"b\"]\nport = 7\nserver = \"[::1]:53\"\nmax_ttl = \"1m\"");
    let config = Config::parse(&text, "insight.toml").unwrap().config;
    let SourcePlan::Dns(plan) = &config.discoveries[0].source else { panic!("{config:?}") };
    assert_eq!(plan.names, ["a.example.", "b"]);
    assert_eq!(plan.records, [DnsRecord::A, DnsRecord::Aaaa]);
    assert_eq!((plan.port, plan.min_ttl, plan.max_ttl), (7, Duration::from_secs(1), Duration::from_secs(60)));
    assert_eq!(plan.server, Some("[::1]:53".parse().unwrap()));
}

// ---- templates that cannot be used ----------------------------------------------------------

#[test]
fn a_template_is_checked_before_there_is_any_endpoint() {
    for (lines, start, advice) in [
        (
            "where = [\"regoin = sg\"]",
            "25: probe.where = [\"regoin = sg\"]: in \"regoin = sg\", character 1: \"regoin\"",
            "name, host",
        ),
        (
            "where = [\"meta.a ==  b\"]",
            "25: probe.where = [\"meta.a ==  b\"]: in \"meta.a ==  b\", character 9: two op",
            "write one",
        ),
        (
            "name = \"{nmae}\"",
            "25: probe.name = \"{nmae}\": no placeholder: \"nmae\" is nothing",
            "did you mean \"name\"?",
        ),
        ("name = \"{name\"", "25: probe.name = \"{name\": a brace has no partner", "{{ and }}"),
        ("name = \"a/{name}\"", "25: probe.name = \"a/{name}\": not a usable name", "letters, digits"),
        ("service = \"{port:1}\"", "25: probe.service = \"{port:1}\": no default", ""),
        ("address = \"{host}\"", "25: probe.address = \"{host}\": the port is missing", "host:port"),
        ("authority = \"a b\"", "25: probe.authority = \"a b\": not an HTTP/2 authority", "host name"),
        ("deadline = \"5\"", "25: probe.deadline = \"5\"", "write"),
        ("max_probes = 0", "25: probe.max_probes = 0: out of range", "1 to 10000"),
        ("delay = \"1s\"", "25: probe.delay = \"1s\": a black-box probe has no delay", "white-box"),
        ("intervall = \"1s\"", "25: probe.intervall: unknown key", "interval"),
        (
            "tls = { server_name = \"{nmae}\" }",
            "25: probe.tls.server_name: no placeholder",
            "did you mean \"name\"?",
        ),
    ] {
        let start = start.replace(": no default", ": every endpoint has a port, so {port} needs no default");
        one_error(&template(lines), &start, advice);
    }
    let text = with("[[probe]]\ndiscovery = \"e\"\ntarget = \"far\"\nmode = \"black-box\"\n");
    one_error(&text, "22: probe.discovery = \"e\": no [[discovery]] has this name", "allowed here: d");
    let text = with("[[probe]]\ndiscovery = \"d\"\ntarget = \"far\"\nmode = \"black\"\n");
    one_error(&text, "24: probe.mode = \"black\": no such choice", "black-box");
    let text = with("[[probe]]\ndiscovery = \"d\"\nmode = \"black-box\"\n");
    one_error(&text, "21: probe.target: required", "target = ");
}

#[test]
fn keys_of_templates_belong_to_templates() {
    let text = GOOD.to_owned() + "where = [\"meta.a\"]\n";
    one_error(&text, "18: probe.where = [\"meta.a\"]: this belongs to a template", "discovery = \"NAME\"");
    let text = GOOD.to_owned() + "max_probes = 3\n";
    one_error(&text, "18: probe.max_probes = 3: this belongs to a template", "remove this key");
}

#[test]
fn braces_of_what_is_no_template_stay_as_they_are() {
    let config =
        Config::parse(&GOOD.replace("name = \"direct\"", "name = \"direct\"\nservice = \"{x}\""), "f")
            .unwrap();
    assert_eq!(config.config.probes[1].service, "{x}");
    assert_eq!(warnings_of(&template("")), Vec::<String>::new());
}

// ---- what is made ---------------------------------------------------------------------------

#[test]
fn each_endpoint_that_passes_makes_a_probe_behind_what_is_written() {
    let meta = [("zone", "z1")];
    let text =
        template("where = [\"name ~ a*\"]\nservice = \"{meta.zone:none}/{name}\"\nauthority = \"{host}\"");
    let made = expanded(&text, vec![endpoint("a:1", &meta), endpoint("a2", &[]), endpoint("b", &meta)]);
    assert_eq!(names(&made), ["sg", "direct", "d.a-1", "d.a2"]);
    assert_eq!(made.dropped, []);
    let probe = &made.config.probes[2];
    assert_eq!(
        (probe.service.as_str(), probe.target.as_str(), probe.mode),
        ("z1/a:1", "far", Mode::BlackBox)
    );
    let Way::Direct { address, authority, .. } = &probe.way else { panic!("{probe:?}") };
    assert_eq!((address.to_string().as_str(), authority.as_str()), ("10.0.0.1:443", "10.0.0.1"));
    assert_eq!(made.config.probes[3].service, "none/a2");
    assert_eq!((made.made.len(), made.made[0].endpoint.as_str(), made.made[0].line), (2, "a:1", BEFORE + 1));
    assert_eq!(made.config.probe_plans().len(), 4);
}

#[test]
fn a_template_with_a_route_takes_its_address_from_there() {
    let text = with(
        "[[probe]]\ndiscovery = \"d\"\nroute = \"eu-sg\"\ntarget = \"{meta.region}\"\nmode = \"{meta.mode:white-box}\"\n",
    );
    let made = expanded(
        &text,
        vec![
            endpoint("a", &[("region", "sg")]),
            endpoint("b", &[("region", "us"), ("mode", "black-box")]),
            endpoint("c", &[("region", "us"), ("mode", "grey-box")]),
        ],
    );
    assert_eq!(names(&made), ["sg", "direct", "d.a", "d.b"]);
    assert!(matches!(made.config.probes[2].way, Way::Route(_)));
    assert_eq!(made.config.probes[3].mode, Mode::BlackBox);
    let (reason, detail) = only_drop(&made);
    assert_eq!(reason, DropReason::InvalidValue);
    assert!(detail.starts_with("probe.mode = \"grey-box\": no such choice; "), "{detail}");
}

#[test]
fn what_an_endpoint_makes_invalid_is_left_out_with_its_reason_and_value() {
    let text = template("name = \"{meta.n}\"\nhealth_service = \"{meta.s:}\"\nmax_probes = 2");
    let good = endpoint("good", &[("n", "good")]);
    for (bad, reason, told) in [
        (endpoint("a", &[]), DropReason::MissingMeta, "it has no meta.n, which name stands on"),
        (
            endpoint("a", &[("n", "")]),
            DropReason::InvalidName,
            "probe.name = \"\": not a usable name; use 1 to 64",
        ),
        (endpoint("a", &[("n", &"x".repeat(65))]), DropReason::InvalidName, "not a usable name"),
        (endpoint("z", &[("n", "good")]), DropReason::NameTaken, "the name \"good\" is taken"),
        (endpoint("a", &[("n", "direct")]), DropReason::NameTaken, "the name \"direct\" is taken"),
        (
            endpoint("a", &[("n", "a"), ("s", "a b")]),
            DropReason::InvalidValue,
            "probe.health_service = \"a b\": not a",
        ),
    ] {
        let mut roster = vec![bad, good.clone()];
        roster.sort_by(|a, b| a.name.cmp(&b.name));
        let made = expanded(&text, roster);
        assert_eq!(names(&made), ["sg", "direct", "good"], "{told}");
        let (was, detail) = only_drop(&made);
        assert_eq!(was, reason, "{detail}");
        assert!(detail.contains(told), "{detail}");
    }
    let many = ["a", "b", "c"].map(|name| endpoint(name, &[("n", name)]));
    let made = expanded(&text, many.into());
    assert_eq!(names(&made), ["sg", "direct", "a", "b"]);
    assert_eq!(only_drop(&made).0, DropReason::TooMany);
    assert!(
        made.dropped[0].to_string().starts_with("[[probe]] of line 21, endpoint \"c\": the template makes 2")
    );
}

#[test]
fn links_to_discovered_nodes_have_ends_of_their_own() {
    let link = |to: &str| {
        with(&format!("[[probe]]\ndiscovery = \"d\"\ntarget = \"eu\"\nmode = \"link\"\nping = false\n{to}"))
    };
    let roster = || vec![endpoint("a:1", &[]), endpoint("b", &[])];
    let made = expanded(&link("to = \"{name}\""), roster());
    let ends = made.config.probes.iter().filter_map(|probe| match &probe.call {
        Call::Link(ends) => Some(ends.to.as_str()),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), ["a-1", "b"]);
    let made = expanded(&link("to = \"all\""), roster());
    assert_eq!(only_drop(&made).0, DropReason::LinkTaken);
    assert_eq!(names(&made).len(), 3);
}

#[test]
fn nodes_are_made_without_the_agent_itself_and_no_more_than_a_region_has() {
    let text = with("[[node]]\ndiscovery = \"d\"\nname = \"{name}\"\naddress = \"{host}:19749\"\n");
    let mut roster: Vec<_> = (0..60).map(|index| endpoint(&format!("n{index}"), &[])).collect();
    roster.push(endpoint("eu-1", &[]));
    let made = expanded(&text, roster);
    assert_eq!(made.config.nodes.len(), 59);
    assert_eq!(made.config.nodes[0].address.to_string(), "10.0.0.1:19749");
    let reasons: Vec<_> = made.dropped.iter().map(|dropped| dropped.reason).collect();
    assert_eq!(reasons, [DropReason::TooMany, DropReason::OwnName]);
}

#[test]
fn files_that_a_template_names_are_looked_at_once_and_relative_ones_stay_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("insight.toml");
    std::fs::write(folder.path().join("ca.pem"), "x").unwrap();
    std::fs::write(&path, template("tls = { ca_file = \"ca.pem\", server_name = \"{meta.tls:x}.example\" }"))
        .unwrap();
    let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}")).config;
    std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
    let made =
        config.expand(&Rosters::from([("d".to_owned(), Arc::new(vec![endpoint("a", &[("tls", "t")])]))]));
    assert_eq!(made.dropped, []);
    let Way::Direct { tls: Some(tls), .. } = &made.config.probes[2].way else { panic!("{made:?}") };
    assert_eq!(tls.ca_file, Some(folder.path().join("ca.pem")));
    assert_eq!(tls.server_name.as_deref(), Some("t.example"));
}

proptest! {
    /// Whatever sources say, what is made is what a written file may hold, and nothing gets lost unseen.
    #[test]
    fn any_roster_makes_valid_probes_and_accounts_for_every_endpoint(
        roster in proptest::collection::vec(("\\PC{0,12}", "\\PC{0,8}", proptest::option::of("\\PC{0,12}")), 0..12),
    ) {
        let endpoints: Vec<_> = roster
            .iter()
            .map(|(name, host, zone)| Endpoint {
                name: name.clone(),
                host: host.clone(),
                port: 1,
                meta: zone.iter().map(|zone| ("zone".to_owned(), zone.clone())).collect(),
            })
            .collect();
        let count = endpoints.len();
        let made = expanded(&template("name = \"{name}\"\nservice = \"{meta.zone}\"\nauthority = \"{address}\""), endpoints);
        prop_assert_eq!(made.made.len() + made.dropped.len(), count);
        let mut seen = std::collections::HashSet::new();
        for probe in &made.config.probes {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            prop_assert!((1..=64).contains(&probe.name.len()) && probe.name.chars().all(is_name), "{}", probe.name);
            prop_assert!(seen.insert(probe.name.clone()), "{} twice", probe.name);
            prop_assert!(probe.service.chars().all(|c| c.is_ascii_graphic()), "{:?}", probe.service);
        }
    }
}
