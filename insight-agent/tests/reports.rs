//! Whole agents: one on a hop, the receiver that asks it, and a sender whose probes it answers.

#![allow(clippy::unwrap_used, reason = "clippy knows test functions, but not the functions they share")]

use insight_agent::agent::Agent;
use insight_agent::config::Config;
use insight_agent::model::report::{NodeReport, SeriesKey};
use insight_agent::proto::report::read_report;
use insight_agent::proto::v1::node_client::NodeClient;
use insight_agent::proto::v1::{NodeReportOfRegion, RegionReportRequest, RegionReportResponse};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

const LIMIT: Duration = Duration::from_secs(30);

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs an agent until its task is aborted.
async fn start(folder: &Path, name: &str, region: &str, grpc: u16, more: &str) -> JoinHandle<()> {
    let file = folder.join(format!("{name}.toml"));
    let text = format!(
        "[agent]\nname = \"{name}\"\nregion = \"{region}\"\n[kernel]\nenabled = false\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[probing]\nwindow = \"1s\"\n\
         [grpc]\nlisten = \"127.0.0.1:{grpc}\"\ntoken_file = \"token\"\n{more}"
    );
    fs::write(&file, text).unwrap();
    let loaded = Config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
    let agent = Agent::prepare(loaded.config).unwrap();
    tokio::spawn(async move { agent.run(std::future::pending()).await.unwrap() })
}

async fn ask(channel: &Channel) -> RegionReportResponse {
    let mut request = Request::new(RegionReportRequest {});
    request.metadata_mut().insert("authorization", "Bearer s3cret".parse().unwrap());
    NodeClient::new(channel.clone()).region_report(request).await.unwrap().into_inner()
}

fn entry<'a>(region: &'a RegionReportResponse, node: &str) -> &'a NodeReportOfRegion {
    region.nodes.iter().find(|entry| entry.node == node).unwrap_or_else(|| panic!("no {node}: {region:?}"))
}

fn report_of(region: &RegionReportResponse, node: &str) -> Option<NodeReport> {
    entry(region, node).report.clone().map(|report| read_report(report).unwrap())
}

fn count(report: &NodeReport, measurement: &str, labels: &[(&str, &str)]) -> u64 {
    report.series.get(&SeriesKey::new(measurement, labels)).map_or(0, |series| series.count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_tells_what_the_agents_of_its_region_measured() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let [gateway, receiver, sender, silent] = [free_port(), free_port(), free_port(), free_port()];

    let node = |name: &str, port: u16| {
        format!("[[node]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\ntoken_file = \"token\"\n")
    };
    let link = format!(
        "[[probe]]\nname = \"link\"\ntarget = \"sg\"\nmode = \"link\"\naddress = \"127.0.0.1:{gateway}\"\n\
         to = \"gateway-b\"\nping = false\ninterval = \"100ms\"\n"
    );
    let to_sg = format!(
        "[[route]]\nname = \"eu-sg\"\naddress = \"127.0.0.1:{receiver}\"\nreport_token_file = \"token\"\n\
         [[probe]]\nname = \"sg\"\ntarget = \"sg\"\nroute = \"eu-sg\"\nmode = \"white-box\"\ninterval = \"100ms\"\n"
    );
    let nodes = node("gateway-b", gateway) + &node("mediary-b", silent);
    let agents = [
        start(folder.path(), "gateway-b", "sg", gateway, "").await,
        start(folder.path(), "insight-sg", "sg", receiver, &(nodes + &link)).await,
        start(folder.path(), "insight-eu", "eu", sender, &to_sg).await,
    ];

    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{receiver}")).unwrap().connect_lazy();
    let refused = NodeClient::new(channel.clone()).region_report(RegionReportRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let end = Instant::now() + LIMIT;
    let region = loop {
        let region = ask(&channel).await;
        let own = report_of(&region, "insight-sg").unwrap();
        let handshakes = count(&own, "link_handshake", &[("to", "gateway-b")]);
        let met = handshakes > 2
            && count(&own, "service_time", &[]) > 2
            && report_of(&region, "gateway-b").is_some()
            && !entry(&region, "mediary-b").failure.is_empty();
        if met {
            break region;
        }
        assert!(Instant::now() < end, "{own:?}\n{region:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(region.region, "sg");
    let names: Vec<_> = region.nodes.iter().map(|entry| entry.node.as_str()).collect();
    assert_eq!(names, ["gateway-b", "insight-sg", "mediary-b"]);
    assert_eq!(entry(&region, "mediary-b").failure, "UNAVAILABLE");
    assert!(entry(&region, "mediary-b").report.is_none());
    let gateway = entry(&region, "gateway-b");
    assert!(gateway.failure.is_empty() && gateway.poll_round_trip_ns > 0, "{gateway:?}");
    let age = Duration::from_nanos(gateway.age_ns);
    assert!(age < Duration::from_secs(10), "polled once a second, and {age:?} old");

    let own = report_of(&region, "insight-sg").unwrap();
    let handshakes = &own.series[&SeriesKey::new("link_handshake", &[("to", "gateway-b")])];
    let now = u32::try_from(own.uptime.as_secs()).unwrap();
    assert!(!handshakes.floors.is_empty() && handshakes.floors.keys().all(|second| *second <= now));
    assert_eq!(handshakes.buckets.values().sum::<u64>(), handshakes.count);
    let later = report_of(&ask(&channel).await, "insight-sg").unwrap();
    assert!(later.epoch == own.epoch && later.uptime > own.uptime, "{:?} {:?}", own.uptime, later.uptime);
    agents.iter().for_each(JoinHandle::abort);
}
