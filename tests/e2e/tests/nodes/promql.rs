//! A real Prometheus scrapes the agents of several nodes, and every documented query is asked as it
//! stands in `docs/promql.md`.

use super::host::HOPS;
use insight_e2e::http;
use insight_e2e::loopback::Loopback;
use insight_e2e::nodes::Nodes;
use insight_e2e::process::Process;
use insight_e2e::wait::wait_until;
use insight_lab::Forwarder;
use insight_lab::skip::{SkipReason, skip};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

const PAGE: &str = include_str!("../../../../docs/promql.md");
const PATIENCE: Duration = Duration::from_secs(60);

/// The page's queries, in their order.
fn documented() -> Vec<&'static str> {
    PAGE.split("```promql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The rows that a query gives. **Error**: it is refused, or has none.
fn ask(prometheus: SocketAddr, query: &str) -> Result<Vec<Value>, String> {
    let mut encoded = String::new();
    for byte in query.bytes() {
        let _ = write!(encoded, "%{byte:02X}");
    }
    let answer = http::get(prometheus, &format!("/api/v1/query?query={encoded}"), &[]);
    let answer = answer.map_err(|error| error.to_string())?.body;
    let json: Value = serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))?;
    if json["status"] != "success" {
        return Err(answer);
    }
    Ok(json["data"]["result"].as_array().cloned().unwrap_or_default())
}

#[test]
fn the_documented_queries_join_a_nodes_kernel_and_its_host_by_instance() {
    let test = "the_documented_queries_join_a_nodes_kernel_and_its_host_by_instance";
    let version =
        Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        let why = "prometheus is not installed: run `cargo xtask setup` as root";
        return skip(test, SkipReason::Missing(why));
    }
    let Some(nodes) = Nodes::start(test, Forwarder::Nginx, |_| {}) else { return };
    let hops = HOPS.map(|hop| nodes.lab.agent(hop).unwrap().metrics.to_string());
    let targets = [&hops[..], &[nodes.lab.eu().metrics.to_string()]].concat();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n- job_name: insight\n  \
         static_configs: [{{ targets: {targets:?} }}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let address = Loopback::claim().at(1, 9090);
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    command.arg(format!("--web.listen-address={address}"));
    let _prometheus = Process::start("prometheus", command, &folder.path().join("log"));

    let queries = documented();
    assert_eq!(queries.len(), 3, "{PAGE}");
    let wanted: BTreeSet<(String, &str)> = hops
        .iter()
        .flat_map(|hop| ["receive wait, seconds", "cpu busy, share"].map(|figure| (hop.clone(), figure)))
        .collect();
    let rows = wait_until("both figures of every node", PATIENCE, || {
        let rows = ask(address, queries[0])?;
        let text = |row: &Value, label: &str| row["metric"][label].as_str().unwrap_or_default().to_owned();
        let found = |(instance, figure): &(String, &str)| {
            rows.iter().any(|row| {
                let value = row["value"][1].as_str().and_then(|value| value.parse::<f64>().ok());
                text(row, "instance") == *instance
                    && text(row, "figure") == *figure
                    && value.is_some_and(|value| value.is_finite() && (0.0..=1.0).contains(&value))
            })
        };
        if wanted.iter().all(found) { Ok(rows) } else { Err(format!("{rows:#?}")) }
    });
    println!("{rows:#?}");
    ask(address, queries[1]).expect("a join that may have no row");
    wait_until("the hops that the sender knows", PATIENCE, || {
        let rows = ask(address, queries[2])?;
        let known: BTreeSet<_> = rows.iter().filter_map(|row| row["metric"]["hop"].as_str()).collect();
        if HOPS.iter().all(|hop| known.contains(hop)) { Ok(()) } else { Err(format!("{known:?}")) }
    });
    nodes.lab.stop().unwrap();
}
