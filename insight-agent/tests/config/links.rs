//! Link probes: what they become, and what they cannot have.

use super::support::{GOOD, errors_of, one_error, warnings_of};
use insight_agent::config::Config;
use insight_agent::model::plan::{Connection, Mode, ProbePlan};
use std::time::Duration;

/// Lines of [`GOOD`]: a case's own start two lines behind it.
const HEAD: &str = "[[probe]]\nname = \"link\"\ntarget = \"eu\"\nmode = \"link\"\n";
/// The first line behind [`HEAD`].
const OWN: usize = 22;

fn with(lines: &str) -> String {
    format!("{GOOD}{HEAD}{lines}\n")
}

fn plan(lines: &str) -> ProbePlan {
    let loaded = Config::parse(&with(lines), "insight.toml").unwrap_or_else(|errors| panic!("{errors}"));
    loaded.config.probe_plans().pop().unwrap()
}

fn ends(plan: &ProbePlan) -> (&str, &str) {
    let ends = plan.link().unwrap();
    (&ends.from, &ends.to)
}

#[test]
fn a_link_along_a_route_ends_at_its_first_hop() {
    let link = plan("route = \"eu-sg\"");
    assert_eq!((link.mode, ends(&link)), (Mode::Link, ("eu-1", "mediary-a")));
    assert_eq!((link.route.host.as_str(), link.route.port), ("127.0.0.1", 50051));
    assert_eq!((link.interval, link.drain), (Duration::from_secs(1), Duration::ZERO));
    assert_eq!(
        (link.connections.as_slice(), link.ping),
        (&[Connection::Reused, Connection::Fresh][..], true)
    );
    let named = plan("route = \"eu-sg\"\nto = \"another\"\nfrom = \"here\"");
    assert_eq!(ends(&named), ("here", "another"));
    let origin = with("route = \"eu-sg\"").replace("hops = ", "origin = \"edge\"\nhops = ");
    let origin = Config::parse(&origin, "insight.toml").unwrap().config.probe_plans().pop().unwrap();
    assert_eq!(ends(&origin), ("edge", "mediary-a"));
}

#[test]
fn a_direct_link_names_its_far_end_and_may_go_without_pings() {
    let link = plan("address = \"10.0.0.7:5432\"\nto = \"db\"\nping = false");
    assert_eq!(ends(&link), ("eu-1", "db"));
    assert_eq!((link.connections.as_slice(), link.ping), (&[Connection::Fresh][..], false));
    let tls = plan("address = \"10.0.0.7:443\"\nto = \"edge\"\ntls = {}");
    assert_eq!(tls.route.tls, Some(Default::default()));
}

#[test]
fn a_link_without_a_far_end_is_refused() {
    let advice = "add to = \"NAME\" of the node at the other end";
    let head = OWN - 4;
    one_error(&with("address = \"a:1\""), &format!("{head}: probe.to: a link has two ends"), advice);
    let text = with("route = \"eu-sg\"").replace("hops = [\"mediary-a\", \"mediary-b\"]", "hops = []");
    one_error(&text, &format!("{head}: probe.to: a link has two ends"), advice);
}

#[test]
fn the_ends_of_a_link_are_usable_names_and_differ() {
    let to = |value: &str| with(&format!("to = \"{value}\"\naddress = \"a:1\""));
    one_error(&to("a>b"), &format!("{OWN}: probe.to = \"a>b\": not a usable name"), "use 1 to 64");
    one_error(&to("service"), &format!("{OWN}: probe.to = \"service\": \"service\" is the name"), "own name");
    one_error(&to("eu-1"), &format!("{OWN}: probe.to = \"eu-1\": the link starts at"), "set probe.to");
    let text = with("from = \"\"\nroute = \"eu-sg\"");
    one_error(&text, &format!("{OWN}: probe.from = \"\": not a usable name"), "use 1 to 64");
}

#[test]
fn keys_of_probes_with_a_request_are_refused() {
    for (line, what, advice) in [
        ("method = \"/a.B/C\"", "a link probe has no method", "set mode = \"black-box\""),
        ("delay = \"1s\"", "a link probe has no delay", "set mode = \"white-box\""),
        ("service = \"a\"", "a link probe sends no metadata", "remove service"),
        ("authority = \"a\"", "a link probe sends no request", "remove authority"),
        ("connections = [\"fresh\"]", "a link probe has its own", "remove connections"),
        ("drain = \"1s\"", "a link probe waits until its deadline", "remove drain"),
    ] {
        let (key, value) = line.split_once(" = ").unwrap();
        let text = with(&format!("{line}\naddress = \"a:1\"\nto = \"a\""));
        one_error(&text, &format!("{OWN}: probe.{key} = {value}: {what}"), advice);
    }
    let text = with("tls = {}\nping = false\naddress = \"a:1\"\nto = \"a\"");
    one_error(&text, &format!("{OWN}: probe.tls: only PINGs go over TLS"), "remove tls, or set ping = true");
}

#[test]
fn the_ends_of_a_link_are_refused_on_other_modes() {
    for key in ["to", "from"] {
        let text = format!("{GOOD}{key} = \"a\"\n");
        let start = format!("18: probe.{key} = \"a\": a black-box probe has no {key}");
        one_error(&text, &start, "remove it, or set mode = \"link\"");
    }
}

#[test]
fn one_link_has_one_probe() {
    let second = HEAD.replace("\"link\"\ntarget", "\"again\"\ntarget");
    let text = with(&format!("route = \"eu-sg\"\n{second}address = \"a:1\"\nto = \"mediary-a\""));
    one_error(&text, "28: probe.to = \"mediary-a\": the probe \"link\" measures the link", "another name");
    let text = text.replace("\"mediary-a\"\n", "\"mediary-c\"\n");
    assert_eq!(warnings_of(&text), Vec::<String>::new());
}

#[test]
fn a_link_on_a_route_that_sends_the_service_is_not_warned_of() {
    let text = with("route = \"eu-sg\"").replace("hops = ", "metadata = { x-s = \"{service}\" }\nhops = ");
    let warnings = warnings_of(&text);
    assert_eq!(warnings.len(), 1, "only of the white-box probe: {warnings:?}");
}

#[test]
fn errors_of_a_route_do_not_become_errors_of_its_links() {
    let text = with("route = \"eu-sg\"").replace("127.0.0.1:50051", "nowhere");
    assert_eq!(errors_of(&text).to_string().lines().count(), 1);
}
