//! `[discovery.consul]` and `[discovery.kubernetes]`.

use crate::support::{GOOD, errors_of};
use insight_agent::config::Config;
use insight_agent::model::discovery::SourcePlan;
use insight_agent::model::discovery::consul::ConsulPlan;
use insight_agent::model::discovery::kubernetes::{KubernetesPlan, PortChoice};
use std::path::Path;
use std::time::Duration;

/// The first line of a case behind [`GOOD`], `[[discovery]]` and its name: the table's header.
const HEADER: usize = 20;

fn with(lines: &str) -> String {
    format!("{GOOD}[[discovery]]\nname = \"registry\"\n{lines}\n")
}

fn source(lines: &str) -> SourcePlan {
    let loaded = Config::parse(&with(lines), "insight.toml").unwrap_or_else(|errors| panic!("{errors}"));
    loaded.config.discoveries[0].source.clone()
}

fn consul(lines: &str) -> ConsulPlan {
    match source(&format!("[discovery.consul]\n{lines}")) {
        SourcePlan::Consul(plan) => plan,
        other => panic!("{other:?}"),
    }
}

fn kubernetes(lines: &str) -> KubernetesPlan {
    match source(&format!("[discovery.kubernetes]\n{lines}")) {
        SourcePlan::Kubernetes(plan) => plan,
        other => panic!("{other:?}"),
    }
}

/// Asserts one error: its line behind the table's header, its key and what it says.
#[track_caller]
fn refused(table: &str, line: &str, says: &str) {
    let errors = errors_of(&with(&format!("[discovery.{table}]\n{line}"))).to_string();
    let expected = format!("insight.toml:{}: discovery.{table}.", HEADER + 1);
    assert!(
        errors.starts_with(&expected) && errors.contains(says),
        "expected {expected}…{says}\nfound {errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn an_empty_table_follows_the_agent_of_this_host() {
    let expected = ConsulPlan {
        host: "127.0.0.1".into(),
        port: 8500,
        tls: None,
        token_file: None,
        datacenter: None,
        namespace: None,
        services: vec![],
        tags: vec![],
        passing_only: true,
        wait: Duration::from_secs(300),
        stale: false,
    };
    assert_eq!(consul(""), expected);
}

#[test]
fn every_key_of_consul_reaches_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("consul.token");
    std::fs::write(&token, "abc\n").unwrap();
    let plan = consul(&format!(
        "address = \"[::1]:8501\"\ntoken_file = {token:?}\ndatacenter = \"dc2\"\nnamespace = \"team\"\n\
         services = [\"orders\", \"stock\"]\ntags = [\"grpc\"]\npassing_only = false\nwait = \"10m\"\nstale = true\n\
         [discovery.consul.tls]\nserver_name = \"server.dc2.consul\""
    ));
    assert_eq!((plan.host.as_str(), plan.port), ("::1", 8501));
    assert_eq!(plan.token_file.as_deref(), Some(token.as_path()));
    assert_eq!((plan.datacenter.as_deref(), plan.namespace.as_deref()), (Some("dc2"), Some("team")));
    assert_eq!((plan.services, plan.tags), (vec!["orders".into(), "stock".into()], vec!["grpc".into()]));
    assert_eq!((plan.passing_only, plan.wait, plan.stale), (false, Duration::from_secs(600), true));
    assert_eq!(plan.tls.unwrap().server_name.as_deref(), Some("server.dc2.consul"));
}

#[test]
fn what_consul_cannot_be_asked_is_refused_with_its_line() {
    refused("consul", "address = \"https://consul:8501\"", "an address has no scheme");
    refused("consul", "wait = \"11m\"", "out of range");
    refused("consul", "services = [\"a\", \"a\"]", "names \"a\" twice");
    refused("consul", "tags = [\"\"]", "an empty name");
    refused("consul", "datacenter = \"\"", "the name is empty");
    refused("consul", "token_file = \"/nonexistent/token\"", "cannot read /nonexistent/token");
    refused("consul", "token = \"s3cret\"", "unknown key");
    let many: Vec<_> = (0..101).map(|index| format!("\"s{index}\"")).collect();
    refused("consul", &format!("services = [{}]", many.join(", ")), "101 names are more than 100");
}

#[test]
fn every_key_of_kubernetes_reaches_the_plan() {
    let plan = kubernetes(
        "address = \"10.96.0.1:443\"\nnamespaces = [\"shop\"]\nservices = [\"orders\"]\nlabels = \"track!=canary\"\n\
         port = \"grpc\"\nready_only = false\n[discovery.kubernetes.tls]",
    );
    assert_eq!((plan.host.as_str(), plan.port), ("10.96.0.1", 443));
    assert_eq!((plan.namespaces, plan.services), (vec!["shop".into()], vec!["orders".into()]));
    assert_eq!(plan.label_selector.as_deref(), Some("track!=canary"));
    assert_eq!(plan.endpoint_port, Some(PortChoice::Named("grpc".into())));
    assert!(!plan.ready_only && plan.tls.is_some() && plan.token_file.is_none());
}

#[test]
fn with_an_address_nothing_of_a_service_account_is_assumed() {
    let plan = kubernetes("address = \"127.0.0.1:8001\"");
    assert_eq!((plan.tls, plan.token_file), (None, None));
}

#[test]
fn outside_of_a_cluster_the_address_must_be_said() {
    // Set in a pod; there the table is complete.
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        let errors = errors_of(&with("[discovery.kubernetes]")).to_string();
        assert!(errors.contains("this is no pod of a cluster") && errors.contains("address = "), "{errors}");
    }
}

#[test]
fn what_kubernetes_cannot_be_asked_is_refused_with_its_line() {
    let refused = |line: &str, says: &str| {
        let errors =
            errors_of(&with(&format!("[discovery.kubernetes]\n{line}\naddress = \"a:1\""))).to_string();
        let expected = format!("insight.toml:{}: discovery.kubernetes.", HEADER + 1);
        assert!(errors.starts_with(&expected) && errors.contains(says), "{line}: {errors}");
    };
    refused("namespaces = [\"Shop\"]", "\"Shop\" is no name of Kubernetes");
    refused("services = [\"a,b\"]", "\"a,b\" is no name of Kubernetes");
    refused("labels = \"a&limit=1\"", "not a label selector");
    refused("port = \"65536\"", "the port is not a number");
    refused("port = \"gRPC\"", "not the name of a port");
    refused("port = 443", "expected a string");
}

#[test]
fn token_files_start_at_the_folder_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("consul.token"), "abc\n").unwrap();
    let file = folder.path().join("insight.toml");
    std::fs::write(&file, with("[discovery.consul]\ntoken_file = \"consul.token\"")).unwrap();
    let loaded = Config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
    let SourcePlan::Consul(plan) = &loaded.config.discoveries[0].source else { panic!("no Consul") };
    assert_eq!(plan.token_file.as_deref(), Some(Path::new(&folder.path().join("consul.token"))));
}
