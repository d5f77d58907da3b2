//! A UNIX socket, with nginx at its other end.

use crate::servers::nginx;
use crate::{answered, at, failed, mean};
use insight_e2e::agent::{Config, Site};
use insight_e2e::equipment::{Program, has};
use insight_e2e::peers::grpc::{Peer, Reply};
use std::time::Duration;

const DELAY: Duration = Duration::from_millis(100);

#[test]
fn a_unix_socket_is_measured_with_what_there_is_to_measure() {
    if !has("a_unix_socket_is_measured_with_what_there_is_to_measure", &[Program::Nginx]) {
        return;
    }
    let site = Site::new();
    let service = at(&site, 3);
    let authorities = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let _service = Peer::start(service, {
        let authorities = std::sync::Arc::clone(&authorities);
        move |call| {
            let asked = call.headers.get("x-asked").and_then(|value| value.to_str().ok());
            authorities.lock().unwrap().push(asked.unwrap_or_default().to_owned());
            Reply::serving().after(DELAY).into()
        }
    });
    let socket = site.path("front.sock");
    let blocks = format!(
        "server {{ listen unix:{} http2; location / {{ grpc_set_header X-Asked $host; grpc_pass grpc://{service}; }} }}",
        socket.display()
    );
    let _nginx = nginx(&site, &[], &blocks);
    let lines = "deadline = \"5s\"\nconnections = [\"reused\", \"fresh\"]";
    let config = Config::new().probe("near", "eu", &format!("unix:{}", socket.display()), lines).probe(
        "nobody",
        "eu",
        &format!("unix:{}", site.path("nobody.sock").display()),
        lines,
    );
    let agent = site.start(&config);
    let seen = agent.wait_for("ten samples of each", |seen| {
        let enough = ["reused", "fresh"].iter().all(|connection| answered(seen, "near", connection) >= 10.0);
        let ping = seen.value("insight_probe_ruler_seconds", &[("probe", "near"), ("ruler", "ping")]);
        (enough && ping.is_some() && failed(seen, "nobody", "refused", "connect") >= 6.0)
            .then(|| seen.clone())
    });
    let phase = |connection, phase| {
        let of = [("probe", "near"), ("connection", connection), ("phase", phase)];
        mean(&seen, "insight_probe_phase_seconds", &of)
    };
    for connection in ["reused", "fresh"] {
        let wait = phase(connection, "wait").unwrap();
        assert!(wait >= DELAY.as_secs_f64() && wait < DELAY.as_secs_f64() + 0.1, "{connection}: {wait}");
    }
    let connect = phase("fresh", "connect").unwrap();
    assert!(connect < DELAY.as_secs_f64() && phase("fresh", "dns").is_none(), "{connect}");
    let rulers: Vec<_> = seen
        .samples("insight_probe_ruler_seconds", &[("probe", "near")])
        .map(|sample| sample.labels["ruler"].clone())
        .collect();
    assert_eq!(rulers, ["ping"], "there is no TCP to ask about");
    let authorities = authorities.lock().unwrap();
    assert!(authorities.iter().all(|authority| authority == "localhost"), "{authorities:?}");
}
