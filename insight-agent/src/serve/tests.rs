//! The services on a real socket, called by tonic's own client machinery.

use super::*;
use crate::proto::v1::MeasureRequest;
use crate::proto::v1::probe_client::ProbeClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

pub(super) fn options() -> GrpcOptions {
    GrpcOptions {
        region: "sg".into(),
        node: "insight-sg".into(),
        max_delay: Duration::from_secs(1),
        max_payload: 4096,
        reflection: true,
        tls: None,
        thread_wait: crate::collect::host::schedstat::read_thread_wait,
        reports: None,
        door: Door::new(crate::door::Limits::new(256, 256)),
    }
}

async fn start() -> (Channel, tokio::task::JoinHandle<Result<(), ServeError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve_grpc(listener, options(), Drill::default(), std::future::pending()));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    (endpoint.connect().await.unwrap(), server)
}

#[tokio::test]
async fn reply_carries_the_delay_that_was_asked_for_in_message_and_trailer() {
    let (channel, _server) = start().await;
    let mut client = ProbeClient::new(channel);
    let request = MeasureRequest {
        payload: vec![1; 100].into(),
        response_payload_bytes: 200,
        delay_ns: 30_000_000,
        sequence: 7,
    };
    let response = client.measure(Request::new(request)).await.unwrap();
    let trailer = response.metadata().get(crate::model::sample::SERVICE_TRAILER).cloned();
    let reply = response.into_inner();
    assert!(reply.applied_delay_ns >= 30_000_000, "{reply:?}");
    assert!(reply.receive_to_send_ns >= reply.applied_delay_ns, "{reply:?}");
    assert_eq!((reply.received_payload_bytes, reply.payload.len(), reply.sequence), (100, 200, 7));
    assert_eq!((reply.region.as_str(), reply.node.as_str()), ("sg", "insight-sg"));
    let trailer = trailer.expect("tonic merges trailers into a unary response's metadata");
    let milliseconds: f64 = trailer.to_str().unwrap().strip_prefix("d=").unwrap().parse().unwrap();
    assert!(milliseconds * 1e6 >= reply.receive_to_send_ns as f64, "{milliseconds} {reply:?}");
}

#[tokio::test]
async fn requests_beyond_the_bounds_are_refused_with_the_limit() {
    let (channel, _server) = start().await;
    let mut client = ProbeClient::new(channel);
    let too_long = MeasureRequest { delay_ns: 2_000_000_000, ..Default::default() };
    let too_big = MeasureRequest { response_payload_bytes: 4097, ..Default::default() };
    let too_much = MeasureRequest { payload: vec![0; 4097].into(), ..Default::default() };
    for (request, limit) in [(too_long, "1s"), (too_big, "4096"), (too_much, "4096")] {
        let status = client.measure(Request::new(request)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(limit), "{}", status.message());
    }
    assert!(client.measure(Request::new(MeasureRequest::default())).await.is_ok());
}

#[tokio::test]
async fn health_says_serving_for_the_server_and_the_probe_service() {
    let (channel, _server) = start().await;
    let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
    for service in ["", "insight.v1.Probe"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
        let reply = client.check(Request::new(request)).await.unwrap().into_inner();
        assert_eq!(reply.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
    }
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_up_a_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve_grpc(listener, options(), Drill::default(), async {
        let _ = stopped.await;
    }));
    let silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = ProbeClient::new(endpoint.connect().await.unwrap());
    assert!(client.measure(Request::new(MeasureRequest::default())).await.is_ok());
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), server).await;
    assert!(matches!(ended, Ok(Ok(Ok(())))), "{ended:?}");
    drop(silent);
}
