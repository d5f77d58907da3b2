//! The Node service on a real socket, called by tonic's own client.

use super::*;
use crate::clock::AgentClock;
use crate::model::region::{KnownNode, PollFailure};
use crate::model::report::{Distribution, NodeReport, SeriesKey};
use crate::proto::report::read_report;
use crate::proto::v1::node_client::NodeClient;
use crate::proto::v1::probe_client::ProbeClient;
use crate::proto::v1::{MeasureRequest, RegionReportRequest, ReportRequest};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

/// A report whose size is set by how many series it has.
fn report(series: usize, service_times: &ServiceTimes) -> NodeReport {
    let key = |nth: usize| SeriesKey {
        measurement: "receive_wait".into(),
        labels: vec![("peer".into(), format!("peer-{nth}")), ("role".into(), "accepted".into())],
    };
    let mut distribution = Distribution::default();
    (0..500).for_each(|event| distribution.record(event * event * 1009, 3));
    let mut all = BTreeMap::from_iter((0..series).map(|nth| (key(nth), distribution.clone())));
    let service = SeriesKey { measurement: "service_time".into(), labels: vec![] };
    all.insert(service, service_times.all());
    NodeReport {
        node: "insight-sg".into(),
        region: "sg".into(),
        epoch: 7,
        uptime: Duration::from_secs(12),
        series: all,
        measurements: vec![],
        series_left_out: 0,
    }
}

struct Served {
    channel: Channel,
    _server: tokio::task::JoinHandle<Result<(), ServeError>>,
}

/// A server whose node has a report with this many series. **None**: it has no report.
async fn start(series: Option<usize>, token: Option<&str>) -> Served {
    let service_times = ServiceTimes::new(AgentClock::start());
    let (times, silent) =
        (service_times.clone(), PollFailure { status: "UNAVAILABLE".into(), detail: "x".into() });
    let known = move |node: &str, failure: Option<PollFailure>| KnownNode {
        node: node.into(),
        report: failure.is_none().then(|| report(1, &times)),
        age: Duration::from_millis(20),
        poll_round_trip: Duration::from_millis(2),
        failure,
    };
    let times = service_times.clone();
    let reports = Reports {
        token: token.map(|token| Secret::from_text(token.as_bytes()).unwrap()),
        own: Arc::new(move || series.map(|series| report(series, &times))),
        region: Arc::new(move || vec![known("insight-sg", None), known("gateway-b", Some(silent.clone()))]),
        service_times,
    };
    let options = GrpcOptions { reports: Some(reports), ..tests::options() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(serve_grpc(listener, options, Drill::default(), std::future::pending()));
    Served { channel: endpoint.connect().await.unwrap(), _server: server }
}

fn with_authorization<T>(message: T, value: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", value.parse().unwrap());
    request
}

#[tokio::test]
async fn a_report_comes_as_it_was_measured_and_holds_the_receivers_own_time() {
    let served = start(Some(3), None).await;
    let mut probe = ProbeClient::new(served.channel.clone());
    let delayed = MeasureRequest { delay_ns: 20_000_000, ..Default::default() };
    let told = probe.measure(delayed).await.unwrap().into_inner().receive_to_send_ns;
    let refused = MeasureRequest { delay_ns: u64::MAX, ..Default::default() };
    assert!(probe.measure(refused).await.is_err(), "a refused request is no answer");
    let report = NodeClient::new(served.channel).report(ReportRequest {}).await.unwrap().into_inner();
    let report = read_report(report).unwrap();
    assert_eq!((report.node.as_str(), report.region.as_str(), report.epoch), ("insight-sg", "sg", 7));
    assert_eq!(report.series.len(), 4);
    let service = SeriesKey { measurement: "service_time".into(), labels: vec![] };
    let service = &report.series[&service];
    assert_eq!((service.count, service.sum_ns), (1, told), "the sender and the report read the same");
}

#[tokio::test]
async fn a_report_that_is_too_large_is_cut_to_what_readers_take() {
    let served = start(Some(2000), None).await;
    let mut client = NodeClient::new(served.channel).max_decoding_message_size(64 * 1024);
    let report = client.report(ReportRequest {}).await.unwrap().into_inner();
    assert!(report.series_left_out > 1000, "{}", report.series_left_out);
    assert_eq!(report.series.len() + report.series_left_out as usize, 2001);
    assert!(read_report(report).is_ok());
}

#[tokio::test]
async fn a_region_is_told_node_by_node_and_silent_ones_by_their_failure() {
    let served = start(Some(1), None).await;
    let region =
        NodeClient::new(served.channel).region_report(RegionReportRequest {}).await.unwrap().into_inner();
    assert_eq!(region.region, "sg");
    let [gateway, own] = &region.nodes[..] else { panic!("{region:?}") };
    assert_eq!((gateway.node.as_str(), gateway.failure.as_str()), ("gateway-b", "UNAVAILABLE"));
    assert!(gateway.report.is_none() && gateway.age_ns == 0);
    assert_eq!((own.node.as_str(), own.failure.as_str()), ("insight-sg", ""));
    assert_eq!((own.age_ns, own.poll_round_trip_ns), (20_000_000, 2_000_000));
}

#[tokio::test]
async fn a_node_without_a_report_says_so() {
    let served = start(None, None).await;
    let status = NodeClient::new(served.channel).report(ReportRequest {}).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "there is no report yet: ask again"));
}

#[tokio::test]
async fn only_reports_need_the_token_and_only_the_right_one_opens_them() {
    let served = start(Some(1), Some("s3cret")).await;
    let mut client = NodeClient::new(served.channel.clone());
    for value in [None, Some("Bearer s3cre"), Some("Bearer s3crets"), Some("Basic s3cret"), Some("s3cret")] {
        let ask = |value: Option<&'static str>| match value {
            Some(value) => with_authorization(ReportRequest {}, value),
            None => Request::new(ReportRequest {}),
        };
        let status = client.report(ask(value)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{value:?}");
        let text = status.message();
        assert!(text.contains("grpc.token_file") && text.contains("report_token_file"), "{text}");
        assert!(!text.contains("s3cre"), "{text}");
        let region = value.map_or(Request::new(RegionReportRequest {}), |value| {
            with_authorization(RegionReportRequest {}, value)
        });
        assert_eq!(client.region_report(region).await.unwrap_err().code(), Code::Unauthenticated);
    }
    let right = with_authorization(ReportRequest {}, "Bearer s3cret");
    assert!(client.report(right).await.is_ok());
    assert!(client.region_report(with_authorization(RegionReportRequest {}, "bearer s3cret")).await.is_ok());

    assert!(ProbeClient::new(served.channel.clone()).measure(MeasureRequest::default()).await.is_ok());
    let mut health = tonic_health::pb::health_client::HealthClient::new(served.channel);
    for service in ["insight.v1.Probe", "insight.v1.Node"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
        let reply = health.check(request).await.unwrap().into_inner();
        assert_eq!(reply.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
    }
}

#[tokio::test]
async fn readers_that_come_all_at_once_are_all_answered() {
    let served = start(Some(50), None).await;
    let asked = (0..50).map(|_| {
        let mut client = NodeClient::new(served.channel.clone());
        tokio::spawn(async move { client.report(ReportRequest {}).await.is_ok() })
    });
    for answer in asked.collect::<Vec<_>>() {
        assert!(answer.await.unwrap());
    }
}

#[tokio::test]
async fn an_agent_without_reports_has_no_such_service() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let options = tests::options();
    let _server = tokio::spawn(serve_grpc(listener, options, Drill::default(), std::future::pending()));
    let channel = endpoint.connect().await.unwrap();
    let status = NodeClient::new(channel.clone()).report(ReportRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest { service: "insight.v1.Node".into() };
    assert_eq!(health.check(request).await.unwrap_err().code(), Code::NotFound);
}
