//! Web configuration files that are refused, and what the refusal says.

use super::*;
use std::error::Error as _;

fn load(yaml: &str) -> Result<WebConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yml");
    std::fs::write(&path, yaml).unwrap();
    WebConfig::load(&path).map_err(|error| {
        let cause = error.source().map_or(String::new(), |source| format!(": {source}"));
        assert!(error.to_string().contains("web.yml"), "{error}");
        format!("{error}{cause}")
    })
}

#[test]
fn every_bad_key_is_named_with_what_to_write() {
    let files = "tls_server_config: {cert_file: c, key_file: k, ";
    let table: [(String, &[&str]); 22] = [
        ("tls_server: {}".into(), &["unknown field `tls_server`", "tls_server_config"]),
        ("tls_server_config:\n  cert_fil: x".into(), &["unknown field `cert_fil`", "cert_file", "line 2"]),
        ("http_server_config: {http3: true}".into(), &["unknown field `http3`", "http2"]),
        ("tls_server_config: {key_file: k}".into(), &["tls_server_config.cert_file: missing"]),
        ("tls_server_config: {cert_file: c}".into(), &["tls_server_config.key_file: missing"]),
        ("tls_server_config: {cert_file: [c]}".into(), &["invalid type: sequence"]),
        (format!("{files}cert: x}}"), &["tls_server_config.cert: not supported", "cert_file"]),
        (format!("{files}key: x}}"), &["tls_server_config.key: not supported", "key_file"]),
        (format!("{files}client_ca: x}}"), &["tls_server_config.client_ca: not supported", "client_ca_file"]),
        (format!("{files}cipher_suites: [x]}}"), &["tls_server_config.cipher_suites: not supported"]),
        (format!("{files}curve_preferences: [x]}}"), &["tls_server_config.curve_preferences: not supported"]),
        (
            format!("{files}client_auth_type: RequireAnyClientCert}}"),
            &["client_auth_type: \"RequireAnyClientCert\"", "RequireAndVerifyClientCert"],
        ),
        (
            format!("{files}client_auth_type: VerifyClientCertIfGiven}}"),
            &["tls_server_config.client_ca_file: missing"],
        ),
        (format!("{files}client_ca_file: x}}"), &["client_ca_file: without effect", "client_auth_type"]),
        (format!("{files}min_version: TLS11}}"), &["min_version: \"TLS11\"", "TLS12 or TLS13"]),
        (format!("{files}min_version: TLS13, max_version: TLS12}}"), &["min_version: is above max_version"]),
        ("http_server_config: {http2: true}".into(), &["http_server_config.http2", "HTTP/1.1"]),
        ("http_server_config: {headers: {Server: x}}".into(), &["headers.Server: not supported", "X-Frame"]),
        ("basic_auth_users: {alice: plain-text}".into(), &["basic_auth_users.alice: not a bcrypt hash"]),
        ("basic_auth_users: {alice: [x]}".into(), &["basic_auth_users.alice: not a bcrypt hash"]),
        ("basic_auth_users: {1: x}".into(), &["a user's name is not text"]),
        ("basic_auth_users: {alice: x, alice: y}".into(), &["duplicate", "alice"]),
    ];
    for (yaml, parts) in table {
        let error = load(&yaml).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{yaml}\n  gives {error}");
    }
}

#[test]
fn hash_in_the_wrong_place_is_not_repeated() {
    for yaml in
        ["basic_auth_users: sesame", "basic_auth_users: [sesame]", "basic_auth_users: {alice: sesame}"]
    {
        let error = load(yaml).unwrap_err();
        assert!(!error.contains("sesame"), "{error}");
    }
}

#[test]
fn absent_file_is_named() {
    let error = WebConfig::load("/absent/web.yml".as_ref()).unwrap_err();
    assert_eq!(error.to_string(), "read web configuration /absent/web.yml");
}

#[test]
fn file_without_content_asks_for_nothing() {
    for yaml in ["", "# only a comment\n", "basic_auth_users:\n", "http_server_config: {http2: false}\n"] {
        let config = load(yaml).unwrap();
        assert!(!config.has_tls() && !config.has_users(), "{yaml:?}");
    }
}
