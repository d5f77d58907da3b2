//! Certificates and ports that do not fit, shown by nginx; and one receiver of our own.

use crate::case::{Case, assert_one_shot, assert_says, at, bad, ends};
use crate::servers::{Authority, NAME, nginx};
use insight_e2e::agent::Site;
use insight_e2e::equipment::{Program, has};
use std::net::SocketAddr;

fn server(site: &Site, listen: SocketAddr, certificate: &str, more: &str) -> String {
    let file = |name: &str| site.path(name).display().to_string();
    format!(
        "server {{ listen {listen} ssl http2; ssl_certificate {}; ssl_certificate_key {}; {more} \
         location / {{ return 200; }} }}\n",
        file(&format!("{certificate}.pem")),
        file(&format!("{certificate}.key")),
    )
}

#[test]
fn what_does_not_fit_is_a_tls_failure_that_says_what() {
    const TEST: &str = "what_does_not_fit_is_a_tls_failure_that_says_what";
    if !has(TEST, &[Program::Nginx]) {
        return;
    }
    let site = Site::new();
    let (ours, other) = (Authority::new(&site, "ca"), Authority::new(&site, "other"));
    ours.certify(&site, "expired", (2019, 2020));
    ours.certify(&site, "future", (2090, 2099));
    ours.certify(&site, "good", (2019, 2099));
    other.certify(&site, "unknown", (2019, 2099));
    let [expired, future, name, unknown, plain, asks] = [3, 4, 5, 6, 7, 8].map(|host| at(&site, host));
    let client_ca =
        format!("ssl_client_certificate {}; ssl_verify_client on;", site.path("ca.pem").display());
    let blocks = [
        server(&site, expired, "expired", ""),
        server(&site, future, "future", ""),
        server(&site, name, "good", ""),
        server(&site, unknown, "unknown", ""),
        format!("server {{ listen {plain} http2; location / {{ return 200; }} }}\n"),
        server(&site, asks, "good", &client_ca),
    ];
    let _nginx = nginx(&site, &[expired, future, name, unknown, plain, asks], &blocks.concat());

    let tls = ends("tls", "tls", "UNAVAILABLE");
    // nginx ends the handshake in peace and answers with HTTP 400.
    let refused = ends("proxy", "response", "INTERNAL");
    let faults = [
        ("expired", expired, NAME, tls, "expired"),
        ("future", future, NAME, tls, "not valid yet"),
        ("name", name, "another.test", tls, "another.test"),
        ("unknown", unknown, NAME, tls, "UnknownIssuer"),
        ("plain", plain, NAME, tls, "check its certificate and the route's tls table"),
        ("asks", asks, NAME, refused, "client certificate"),
    ];
    let mut case = Case::start(&site, |config| {
        faults.iter().fold(config, |config, (fault, address, name, ..)| {
            let lines = format!("tls = {{ ca_file = \"ca.pem\", server_name = \"{name}\" }}");
            bad(config, fault, &address.to_string(), &lines)
        })
    });
    for (fault, _, _, how, says) in faults {
        assert_says(&case.assert_fails(fault, how), &[says]);
    }
    case.assert_good_goes_on();
    for (_, address, name, how, _) in faults {
        let more = ["--ca-file", "ca.pem", "--server-name", name];
        assert_one_shot(&site, &address.to_string(), &more, how);
    }

    // Plaintext against a TLS port: nginx answers in HTTP/1.1 that it wants TLS.
    assert_one_shot(&site, &name.to_string(), &[], ends("protocol", "http2", "INTERNAL"));
}

#[test]
fn a_client_certificate_that_is_missing_is_a_tls_failure_although_the_alert_comes_late() {
    let site = Site::new();
    let ours = Authority::new(&site, "ca");
    ours.certify(&site, "good", (2019, 2099));
    std::fs::set_permissions(site.path("good.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let address = site.grpc().to_string();
    // The agent's own receiver: TLS 1.3 by rustls, which says no after the client's handshake has ended.
    let mut case = Case::start(&site, |config| {
        let tls = "tls = { cert_file = \"good.pem\", key_file = \"good.key\", client_ca_file = \"ca.pem\" }";
        let lines = format!("tls = {{ ca_file = \"ca.pem\", server_name = \"{NAME}\" }}");
        bad(config.grpc(tls), "asks", &address, &lines)
    });
    let how = ends("tls", "http2", "UNAVAILABLE");
    assert_says(&case.assert_fails("asks", how), &["CertificateRequired", "check its certificate"]);
    case.assert_good_goes_on();
    assert_one_shot(&site, &address, &["--ca-file", "ca.pem", "--server-name", NAME], how);
}
