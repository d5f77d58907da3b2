//! What a configuration becomes: the plans of its probes.

use insight_agent::config::Config;
use insight_agent::model::plan::{Call, Connection, Mode, TimingFigure};
use proptest::prelude::*;
use std::time::Duration;

const PROBES: &str = r#"
[agent]
region = "eu"
name = "eu-1"
[probing]
void_share = 0.25
max_in_flight = 3
[[route]]
name = "eu-sg"
address = "[::1]:50051"
authority = "mesh.example"
hops = ["mediary-a", "mediary-b"]
metadata = { x-to = "{region}/{service}", x-from = "{source}", x-as = "{{{probe}}}" }
envoy_hop = "mediary-b"
kong_hop = "mediary-a"
[route.server_timing]
"edge" = { hop = "mediary-a", figure = "upstream" }
[[probe]]
name = "white"
target = "sg"
service = "insight"
mode = "white-box"
route = "eu-sg"
request_bytes = "1KiB"
delay = "10ms"
interval = "500ms"
connections = ["fresh"]
ping = false
load_metrics = ["queue_depth", "utilization.disk"]
[[probe]]
name = "black"
target = "us"
mode = "black-box"
address = "db.example:443"
tls = {}
load_metrics = ["queue_depth"]
[[probe]]
name = "unary"
target = "us"
mode = "black-box"
address = "db.example:443"
method = "/a.B/C"
request_base64 = "AQID"
"#;

#[test]
fn a_plan_has_its_templates_filled_and_its_route_resolved() {
    let config = Config::parse(PROBES, "insight.toml").unwrap_or_else(|errors| panic!("{errors}")).config;
    let plans = config.probe_plans();
    let [white, ..] = plans.as_slice() else { panic!("{plans:?}") };
    assert_eq!((white.name.as_str(), white.source.as_str(), white.target.as_str()), ("white", "eu", "sg"));
    assert_eq!((white.void_share, white.max_in_flight), (0.25, 3));
    assert_eq!(
        (white.mode, white.connections.as_slice(), white.ping),
        (Mode::WhiteBox, &[Connection::Fresh][..], false)
    );
    assert_eq!(white.interval, Duration::from_millis(500));
    let call = Call::Measure { request_bytes: 1024, response_bytes: 0, delay: Duration::from_millis(10) };
    assert_eq!(white.call, call);

    let route = &white.route;
    assert_eq!((route.name.as_str(), route.host.as_str(), route.port), ("eu-sg", "::1", 50051));
    assert_eq!((route.authority.as_str(), route.origin.as_str()), ("mesh.example", "eu-1"));
    assert_eq!(route.hops, ["mediary-a", "mediary-b"]);
    let metadata: Vec<_> = route.metadata.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(metadata, ["x-as: {white}", "x-from: eu", "x-to: sg/insight"]);
    assert_eq!(route.envoy_hop.as_deref(), Some("mediary-b"));
    assert_eq!(route.kong_hop.as_deref(), Some("mediary-a"));
    assert_eq!(route.load_metrics, ["queue_depth", "utilization.disk"]);
    assert_eq!(route.server_timing["edge"].hop, "mediary-a");
    assert_eq!(route.server_timing["edge"].figure, TimingFigure::Upstream);
    assert!(route.tls.is_none());
}

#[test]
fn a_direct_probe_has_its_address_as_route_and_all_defaults() {
    let plans = Config::parse(PROBES, "insight.toml").unwrap().config.probe_plans();
    let black = &plans[1];
    assert_eq!(black.call, Call::HealthCheck { service: String::new() });
    assert_eq!(black.route.name, "db.example:443");
    assert_eq!((black.route.host.as_str(), black.route.port), ("db.example", 443));
    assert_eq!((black.route.authority.as_str(), black.route.origin.as_str()), ("db.example:443", "eu-1"));
    assert!(black.route.hops.is_empty() && black.route.metadata.is_empty());
    assert_eq!(black.route.tls, Some(Default::default()));
    assert_eq!(
        (black.route.load_metrics.as_slice(), &black.route.kong_hop),
        (&["queue_depth".into()][..], &None)
    );
    assert_eq!(black.interval, Duration::from_secs(1));
    assert_eq!((black.deadline, black.drain), (Duration::from_secs(5), Duration::from_secs(10)));
    assert_eq!(
        (black.connections.as_slice(), black.ping),
        (&[Connection::Reused, Connection::Fresh][..], true)
    );
    assert_eq!(plans[2].call, Call::Unary { method: "/a.B/C".into(), request: vec![1, 2, 3] });
}

#[test]
fn a_configuration_without_probes_is_a_pure_receiver() {
    let loaded = Config::parse("[agent]\nregion = \"eu\"\n", "insight.toml").unwrap();
    assert!(loaded.config.probe_plans().is_empty() && loaded.warnings.is_empty());
    assert!(!loaded.config.agent.name.is_empty(), "the host name is the default");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        let _ = Config::parse(&text, "insight.toml");
    }

    /// Characters of a good file, changed in one place: every error has a line of the file.
    #[test]
    fn a_damaged_file_is_refused_with_lines_or_accepted(at in 0usize..1200, by in "\\PC{0,3}") {
        let at = at.min(PROBES.len() - 1);
        let text = format!("{}{by}{}", &PROBES[..at], &PROBES[at + 1..]);
        if let Err(errors) = Config::parse(&text, "insight.toml") {
            let lines = text.lines().count() + 1;
            for error in errors.iter() {
                prop_assert!(error.line.is_some_and(|line| (1..=lines).contains(&line)), "{error}");
            }
        }
    }
}
