//! Certificates and ports that do not fit. The far end is the agent's own receiver.

use crate::pair::{BAD, Pair, assert_says, bad_address};
use insight_e2e::agent::{Config, Site};
use insight_e2e::peers::grpc::Peer;
use std::os::unix::fs::PermissionsExt;

/// The name in the receiver's certificate.
const NAME: &str = "receiver.test";

/// Writes a self-signed certificate and its key into the site's folder.
fn certify(site: &Site, last_year: i32) {
    let mut parameters = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2019, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    site.write("cert.pem", &parameters.self_signed(&key).unwrap().pem());
    let key = site.write("key.pem", &key.serialize_pem());
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A pair whose bad probe asks the agent's own receiver, which speaks TLS.
fn own_receiver(last_year: i32, probe_lines: &str) -> (Pair, String) {
    let site = Site::new();
    certify(&site, last_year);
    let address = site.grpc().to_string();
    let pair = Pair::start(site, |config: Config| {
        config.grpc("tls = { cert_file = \"cert.pem\", key_file = \"key.pem\" }").white_box(
            "bad",
            "far",
            &address,
            probe_lines,
        )
    });
    (pair, address)
}

#[test]
fn the_right_certificate_and_name_are_good() {
    let lines = format!("tls = {{ ca_file = \"cert.pem\", server_name = \"{NAME}\" }}");
    let (mut pair, _) = own_receiver(2099, &lines);
    pair.agent.wait_for("good answers", |seen| {
        seen.sum("insight_probe_results_total", &[BAD, ("status", "OK")]).filter(|count| *count >= 5.0)
    });
    let seen = pair.assert_good_goes_on();
    assert_eq!(seen.sum("insight_probe_failures_total", &[BAD]), None);
}

#[test]
fn an_expired_certificate_is_a_tls_failure_that_says_so() {
    let lines = format!("tls = {{ ca_file = \"cert.pem\", server_name = \"{NAME}\" }}");
    let (mut pair, address) = own_receiver(2020, &lines);
    let detail = pair.assert_fails_as("tls", "UNAVAILABLE");
    assert_says(&detail, &[&format!("open TLS with {address}"), "expired", "check its certificate"]);
}

#[test]
fn a_certificate_of_another_name_is_a_tls_failure_that_says_so() {
    let lines = "tls = { ca_file = \"cert.pem\", server_name = \"another.test\" }";
    let (mut pair, _) = own_receiver(2099, lines);
    let detail = pair.assert_fails_as("tls", "UNAVAILABLE");
    assert_says(&detail, &["another.test", "the route's tls table"]);
}

#[test]
fn plaintext_against_a_tls_port_is_a_protocol_failure_with_that_guess() {
    let (mut pair, _) = own_receiver(2099, "");
    let detail = pair.assert_fails_as("protocol", "INTERNAL");
    assert_says(&detail, &["no valid HTTP/2", "plaintext against a TLS port?"]);
}

#[test]
fn tls_against_a_plaintext_port_is_a_tls_failure() {
    let site = Site::new();
    certify(&site, 2099);
    let address = bad_address(&site);
    let _peer = Peer::healthy(address);
    let address = address.to_string();
    let lines = format!("tls = {{ ca_file = \"cert.pem\", server_name = \"{NAME}\" }}");
    let mut pair = Pair::start(site, |config| config.probe("bad", "far", &address, &lines));
    let detail = pair.assert_fails_as("tls", "UNAVAILABLE");
    assert_says(&detail, &[&format!("open TLS with {address}")]);
}
