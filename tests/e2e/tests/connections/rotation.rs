//! A client certificate that is renewed under a running agent, with nginx that asks for one.

use crate::servers::{Authority, NAME, nginx};
use crate::{answered, at, failed};
use insight_e2e::agent::{Config, Site};
use insight_e2e::equipment::{Program, has};
use insight_e2e::exposition::Exposition;
use insight_e2e::peers::grpc::Peer;

/// The first second of some years.
const Y2045: f64 = 2_366_841_600.0;
const Y2046: f64 = 2_398_377_600.0;
const Y2099: f64 = 4_070_908_800.0;

fn expiry(seen: &Exposition, kind: &str) -> Option<f64> {
    let of = [("probe", "renewed"), ("certificate", kind)];
    seen.value("insight_probe_tls_certificate_expiry_timestamp_seconds", &of)
}

fn loads(seen: &Exposition, result: &str) -> f64 {
    seen.value("insight_tls_file_loads_total", &[("result", result)]).unwrap()
}

#[test]
fn a_renewed_pair_is_used_by_new_handshakes_and_half_of_one_by_none() {
    if !has("a_renewed_pair_is_used_by_new_handshakes_and_half_of_one_by_none", &[Program::Nginx]) {
        return;
    }
    let site = Site::new();
    let (ours, old) = (Authority::new(&site, "ca"), Authority::new(&site, "old"));
    ours.certify(&site, "server", (2019, 2099));
    old.certify(&site, "client", (2019, 2045));
    ours.certify(&site, "next", (2019, 2046));
    let [front, service] = [3, 4].map(|host| at(&site, host));
    let _service = Peer::healthy(service);
    let file = |name: &str| site.path(name).display().to_string();
    let blocks = format!(
        "server {{ listen {front} ssl http2; ssl_certificate {}; ssl_certificate_key {}; \
         ssl_client_certificate {}; ssl_verify_client on; location / {{ grpc_pass grpc://{service}; }} }}",
        file("server.pem"),
        file("server.key"),
        file("ca.pem"),
    );
    let _nginx = nginx(&site, &[front], &blocks);
    let lines = format!(
        "deadline = \"5s\"\nconnections = [\"fresh\"]\ntls = {{ ca_file = \"ca.pem\", server_name = \"{NAME}\", \
         cert_file = \"client.pem\", key_file = \"client.key\" }}"
    );
    let mut agent = site.start(&Config::new().probe("renewed", "sg", &front.to_string(), &lines));
    // nginx ends the handshake in peace and answers with HTTP 400 to a certificate that it does not trust.
    let seen = agent.wait_for("the old certificate to be refused", |seen| {
        let is_known = expiry(seen, "server").is_some();
        (failed(seen, "renewed", "proxy", "response") >= 3.0 && is_known).then(|| seen.clone())
    });
    assert_eq!((expiry(&seen, "client"), expiry(&seen, "server")), (Some(Y2045), Some(Y2099)));
    assert_eq!((loads(&seen, "loaded"), loads(&seen, "failed")), (0.0, 0.0));

    let replace = |ending: &str| {
        std::fs::rename(site.path(&format!("next.{ending}")), site.path(&format!("client.{ending}")))
            .unwrap();
    };
    replace("pem");
    let seen = agent.wait_for("half of a pair to be noticed", |seen| {
        (loads(seen, "failed") >= 1.0).then(|| seen.clone())
    });
    assert_eq!(seen.value("insight_tls_files_stale", &[]), Some(1.0));
    assert_eq!((expiry(&seen, "client"), loads(&seen, "loaded")), (Some(Y2045), 0.0));
    let files = agent.status()["tls_files"].clone();
    let files = files.as_array().unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    let why = files[0]["failure"].as_str().unwrap();
    assert!(why.contains("check cert_file and key_file"), "{why}");
    assert!(files[0]["cert_file"].as_str().unwrap().ends_with("client.pem"), "{files:?}");

    replace("key");
    let seen = agent.wait_for("good answers with the new pair", |seen| {
        let is_shown = expiry(seen, "client") == Some(Y2046);
        (answered(seen, "renewed", "fresh") >= 3.0 && is_shown).then(|| seen.clone())
    });
    assert_eq!(loads(&seen, "loaded"), 1.0);
    assert_eq!(seen.value("insight_tls_files_stale", &[]), Some(0.0));
    assert!(agent.status()["tls_files"][0]["failure"].is_null());
    let certificates = agent.probe_status("renewed")["certificates"].to_string();
    assert!(certificates.contains("\"client\"") && certificates.contains("2398377600"), "{certificates}");
    assert!(agent.process.ended().is_none() && !agent.log().contains("reload"), "{}", agent.log());
}
