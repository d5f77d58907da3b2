//! What black-box probes ask: methods in JSON, streams, health watches, and what they expect.

use super::support::{BLACK, WHITE, errors_of, inserted, one_error};
use insight_agent::config::{Config, Rosters};
use insight_agent::model::discovery::Endpoint;
use insight_agent::model::expect::Subject;
use insight_agent::model::outcome::GrpcStatus;
use insight_agent::model::plan::{Call, Connection};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

const GUIDE: &str = include_str!("../../../docs/calls.md");

/// The file that the guide describes.
struct Orders;

impl FileResolver for Orders {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name != "orders/v1/orders.proto" {
            return Err(protox::Error::file_not_found(name));
        }
        let start = GUIDE.split("```protobuf\n").nth(1).expect("the guide shows a service");
        File::from_source(name, start.split("```").next().expect("a block ends"))
    }
}

/// The descriptor set of the guide's service.
pub fn orders() -> Vec<u8> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Orders);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("orders/v1/orders.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

/// A probe of the guide's service with these lines, and the folder that its set is in.
fn probe(lines: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("orders.binpb"), orders()).unwrap();
    let path = folder.path().join("orders.binpb");
    let text = inserted(
        BLACK,
        &format!(
            "method = \"/orders.v1.Orders/Get\"\ndescriptor_set = {:?}\n{lines}",
            path.display().to_string()
        ),
    );
    (folder, text)
}

#[test]
fn every_configuration_of_the_guide_is_usable_as_it_stands() {
    let blocks: Vec<_> =
        GUIDE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("orders.binpb"), orders()).unwrap();
    for block in blocks {
        let path = folder.path().join("insight.toml");
        fs::write(&path, block).unwrap();
        let loaded = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}\n{block}"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.config.probes.len(), 1);
    }
}

#[test]
fn a_method_in_json_is_a_plan_with_its_request_and_rules() {
    let (_folder, text) = probe(
        "request_json = '{\"id\": \"7\"}'\nmax_messages = 5\nexpect_status = [\"OK\", \"NOT_FOUND\"]\n\
         [[probe.expect]]\nfield = \"items[0].amount\"\nmin = 1\n\
         [[probe.expect]]\nheader = \"x-served-by\"\nmatches = \"^sg\"",
    );
    let config = Config::parse(&text, "insight.toml").unwrap_or_else(|errors| panic!("{errors}")).config;
    let plan = &config.probe_plans()[1];
    let Call::Method(call) = &plan.call else { panic!("{:?}", plan.call) };
    assert_eq!((call.method.as_str(), call.max_messages), ("/orders.v1.Orders/Get", 5));
    assert_eq!(call.request_json, "{\"id\": \"7\"}");
    assert!(call.descriptors.is_some());
    assert_eq!(plan.expect.statuses, [GrpcStatus::Ok, GrpcStatus::NotFound]);
    assert_eq!(plan.expect.rules.len(), 2);
    assert_eq!(plan.expect.rules[1].subject, Subject::Header("x-served-by".into()));
}

#[test]
fn another_content_of_a_set_is_another_plan() {
    let (folder, text) = probe("");
    let plan = || Config::parse(&text, "insight.toml").unwrap().config.probe_plans()[1].clone();
    let before = plan();
    assert_eq!(before, plan());
    // A file with something else beside it, which is complete too.
    let mut bytes = orders();
    bytes.extend(insight_agent::proto::FILE_DESCRIPTOR_SET);
    fs::write(folder.path().join("orders.binpb"), bytes).unwrap();
    assert_ne!(before, plan());
}

#[test]
fn a_health_watch_has_one_connection_and_nothing_to_ask() {
    let text = inserted(BLACK, "health_watch = true\nhealth_service = \"orders.v1.Orders\"");
    let plan = Config::parse(&text, "insight.toml").unwrap().config.probe_plans()[1].clone();
    assert_eq!(plan.call, Call::HealthWatch { service: "orders.v1.Orders".into() });
    assert_eq!(plan.connections, [Connection::Reused]);
    let text = inserted(BLACK, "health_watch = true\nmethod = \"/a.B/C\"");
    one_error(&text, "19: probe.method = \"/a.B/C\": a health watch has none", "health_watch = false");
    let text = inserted(BLACK, "health_watch = true\nconnections = [\"fresh\"]");
    one_error(&text, "19: probe.connections = ", "one stream open, on one connection");
}

#[test]
fn what_does_not_fit_the_descriptor_set_is_told_with_its_place() {
    let (_folder, text) = probe("request_json = '{\"idd\": \"hunter2\"}'");
    let error = errors_of(&text).to_string();
    assert!(
        error.contains("20: probe.request_json: the request does not fit orders.v1.GetRequest"),
        "{error}"
    );
    assert!(error.contains("unrecognized field name 'idd'") && !error.contains("hunter2"), "{error}");
    let (_folder, text) = probe("[[probe.expect]]\nfield = \"items.amount\"");
    one_error(&text, "20: probe.expect: the rule on field items.amount does not fit", "items[0]");
    let (_folder, text) = probe("");
    let text = text.replace("Orders/Get", "Orders/Gte");
    one_error(&text, "18: probe.method = \"/orders.v1.Orders/Gte\": the service", "it has: Get, Follow");
    let text = inserted(BLACK, "method = \"/a.B/C\"\ndescriptor_set = \"/dev/null\"");
    one_error(
        &text,
        "19: probe.descriptor_set = \"/dev/null\": /dev/null is not a regular file",
        "name a file",
    );
    let (folder, text) = probe("");
    fs::write(folder.path().join("orders.binpb"), "no set").unwrap();
    assert!(errors_of(&text).to_string().contains("is no descriptor set"));
}

#[test]
fn keys_of_a_method_need_one_and_only_one_request() {
    let with = |lines: &str| inserted(BLACK, lines);
    one_error(&with("request_json = '{}'"), "18: probe.request_json: no method is named", "set probe.method");
    let both = "method = \"/a.B/C\"\nrequest_json = '{}'\nrequest_base64 = \"AQ==\"";
    one_error(&with(both), "20: probe.request_base64: the request is in bytes", "request_json");
    let bad = "method = \"/a.B/C\"\nrequest_json = '{\"a\": hunter2}'";
    one_error(&with(bad), "19: probe.request_json: not JSON", "write one JSON object");
    let service = "method = \"/a.B/C\"\nrequest_json = '{}'\nhealth_service = \"a\"";
    one_error(&with(service), "20: probe.health_service = \"a\": only the health check", "remove one");
    let white = inserted(WHITE, "request_json = '{}'");
    one_error(&white, "13: probe.request_json: a white-box probe has no request_json", "black-box");
}

#[test]
fn rules_that_cannot_hold_are_refused() {
    let rule = |lines: &str| inserted(BLACK, &format!("[[probe.expect]]\n{lines}"));
    one_error(&rule("equals = \"a\""), "18: probe.expect: the rule speaks of nothing", "field, header");
    let two = rule("header = \"a\"\ntrailer = \"b\"");
    one_error(&two, "18: probe.expect: one rule speaks of one thing", "keep one of");
    one_error(&rule("header = \"A\""), "19: probe.expect.header = \"A\": no name of a header", "lower case");
    one_error(&rule("trailer = \"grpc-status\""), "19: probe.expect.trailer = ", "expect_status");
    one_error(&rule("field = \"a[\""), "19: probe.expect.field = \"a[\": neither an index", "items[0]");
    one_error(
        &rule("header = \"a\"\nmatches = \"(\""),
        "20: probe.expect.matches: no regular expr",
        "unclosed",
    );
    let bounds = rule("header = \"a\"\nmin = 2\nmax = 1");
    one_error(&bounds, "20: probe.expect.min = 2: above max = 1", "not above max");
    let absent = rule("header = \"a\"\nexists = false\nequals = \"b\"");
    one_error(&absent, "20: probe.expect.exists = false: what is not there has no equals", "exists = true");
    one_error(&rule("header = \"a\"\nmin = nan"), "20: probe.expect.min = nan: out of range", "any number");
    let field = rule("field = \"a\"");
    one_error(&field, "18: probe.expect: no method is named", "set probe.method");
    let status = inserted(BLACK, "expect_status = [\"NOT_FOUN\"]");
    one_error(
        &status,
        "18: probe.expect_status = [\"NOT_FOUN\"]: \"NOT_FOUN\" is no gRPC status",
        "NOT_FOUND",
    );
}

#[test]
fn a_template_has_calls_and_rules_too() {
    let (folder, text) = probe("[[probe.expect]]\nfield = \"id\"\nequals = \"7\"");
    let text = text
        .replace("address = \"127.0.0.1:50052\"", "discovery = \"shops\"")
        .replace("name = \"direct\"\n", "")
        + "\n[[discovery]]\nname = \"shops\"\nfile = { paths = [\"/tmp/none.json\"] }\n";
    let config = Config::parse(&text, "insight.toml").unwrap_or_else(|errors| panic!("{errors}")).config;
    // Nobody looks at the file again for each endpoint.
    fs::remove_file(folder.path().join("orders.binpb")).unwrap();
    let endpoint = |name: &str| Endpoint {
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 1,
        meta: Default::default(),
    };
    let rosters = Rosters::from([("shops".to_owned(), Arc::new(vec![endpoint("a"), endpoint("b")]))]);
    let made = config.expand(&rosters);
    assert_eq!(made.config.probes.len(), 3, "{:?}", made.dropped);
    let sets: Vec<_> = made.config.probes[1..]
        .iter()
        .map(|probe| match &probe.call {
            Call::Method(call) => call.descriptors.clone().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(Arc::ptr_eq(&sets[0], &sets[1]), "one set is held once");
    assert_eq!(made.config.probes[1].expect.rules.len(), 1);
}
