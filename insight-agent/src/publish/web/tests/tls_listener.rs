//! TLS and client certificates of the metrics listener.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::path::Path;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A folder with `ca.pem`, and a certificate and key for each of `server` and `client`.
struct Files {
    folder: tempfile::TempDir,
    authority: Authority,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(folder: &Path, name: &str, authority: &Authority) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

impl Files {
    fn new() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), authority());
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        issue(folder.path(), "server", &authority);
        issue(folder.path(), "client", &authority);
        Self { folder, authority }
    }

    fn load(&self, more: &str) -> Result<WebConfig, WebConfigError> {
        let path = self.folder.path().join("web.yml");
        let yaml = format!("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n{more}");
        std::fs::write(&path, yaml).unwrap();
        WebConfig::load(&path)
    }

    async fn start(&self, more: &str) -> Server {
        let config = self.load(more).unwrap();
        assert!(config.has_tls());
        start_metrics(up(), Some(config)).await
    }

    /// A client that trusts the authority, maybe with a certificate of this name.
    fn client(&self, identity: Option<&str>, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
        let path = |name: String| self.folder.path().join(name);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(path("ca.pem".to_owned())).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = vec![CertificateDer::from_pem_file(path(format!("{name}.pem"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(path(format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

/// Connects and, since TLS 1.3 tells a client only then whether its certificate was good, reads
/// the answer to a scrape.
async fn scrape(server: &Server, client: &TlsConnector) -> io::Result<String> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream: TlsStream<TcpStream> = client.connect(name, server.connect().await).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut text)).await.expect("no answer")?;
    Ok(text)
}

#[tokio::test]
async fn scrape_works_over_tls_and_not_without() {
    let files = Files::new();
    let server = files.start("").await;
    let text = scrape(&server, &files.client(None, &[&TLS12, &TLS13])).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("up 1\n"), "{text}");
    let mut plain = server.connect().await;
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, plain.read_to_end(&mut bytes)).await.expect("closed");
    assert!(!String::from_utf8_lossy(&bytes).contains("up 1"));
}

#[tokio::test]
async fn required_client_certificate_is_required_and_verified() {
    let files = Files::new();
    let yaml = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n";
    let server = files.start(yaml).await;
    issue(files.folder.path(), "stranger", &authority());
    let scrape = async |identity| scrape(&server, &files.client(identity, &[&TLS13])).await;
    assert!(scrape(Some("client")).await.unwrap().ends_with("up 1\n"));
    assert!(scrape(None).await.is_err());
    assert!(scrape(Some("stranger")).await.is_err());
}

#[tokio::test]
async fn optional_client_certificate_is_verified_if_given() {
    let files = Files::new();
    let yaml = "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n";
    let server = files.start(yaml).await;
    issue(files.folder.path(), "stranger", &authority());
    let scrape = async |identity| scrape(&server, &files.client(identity, &[&TLS13])).await;
    assert!(scrape(Some("client")).await.is_ok());
    assert!(scrape(None).await.is_ok());
    assert!(scrape(Some("stranger")).await.is_err());
}

#[tokio::test]
async fn versions_outside_the_range_are_refused() {
    let files = Files::new();
    for (yaml, refused, allowed) in
        [("  min_version: TLS13\n", &TLS12, &TLS13), ("  max_version: TLS12\n", &TLS13, &TLS12)]
    {
        let server = files.start(yaml).await;
        assert!(scrape(&server, &files.client(None, &[refused])).await.is_err(), "{yaml}");
        assert!(scrape(&server, &files.client(None, &[allowed])).await.is_ok(), "{yaml}");
    }
}

#[tokio::test]
async fn renewed_certificate_is_used_and_a_broken_one_is_not() {
    let files = Files::new();
    let config = files.load("").unwrap();
    let tls = config.tls().unwrap();
    let server = start_metrics(up(), Some(config)).await;
    let client = files.client(None, &[&TLS13]);
    let presented = async || {
        let name = ServerName::try_from("localhost").unwrap();
        let stream = client.connect(name, server.connect().await).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = presented().await;
    issue(files.folder.path(), "server", &files.authority);
    std::fs::write(files.folder.path().join("server.key"), "half a key").unwrap();
    tls.follow_files();
    assert_eq!(presented().await, first, "an unusable key leaves the last one in place");
    issue(files.folder.path(), "server", &files.authority);
    tls.follow_files();
    assert_ne!(presented().await, first);
}

#[test]
fn unusable_files_are_named_with_their_key() {
    let files = Files::new();
    let write = |name: &str, text: &str| std::fs::write(files.folder.path().join(name), text).unwrap();
    let fails = |more: &str, parts: &[&str]| {
        let error = files.load(more).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert!(error.contains("web.yml"), "{error}");
    };
    let auth = "  client_auth_type: RequireAndVerifyClientCert\n";
    fails(&format!("{auth}  client_ca_file: absent.pem\n"), &["client_ca_file", "absent.pem"]);
    write("empty.pem", "");
    fails(
        &format!("{auth}  client_ca_file: empty.pem\n"),
        &["client_ca_file", "empty.pem", "no certificate"],
    );
    issue(files.folder.path(), "other", &files.authority);
    std::fs::copy(files.folder.path().join("other.key"), files.folder.path().join("server.key")).unwrap();
    fails("", &["cert_file", "server.pem", "does not go with key_file", "server.key"]);
    write("server.key", "nothing");
    fails("", &["key_file", "server.key", "no private key"]);
    std::fs::remove_file(files.folder.path().join("server.pem")).unwrap();
    fails("", &["cert_file", "server.pem", "no certificates"]);
}
