//! TLS handshakes that are slow, wrong, or without the certificate that is asked for.

use crate::{Target, closed};
use insight_e2e::agent::{Config, Site};
use insight_e2e::exposition::Exposition;
use insight_e2e::wait::wait_until;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NAME: &str = "agent.example";

/// A new authority's certificate, and a key pair that it signed; PEM.
struct Issued {
    authority: String,
    certificate: String,
    key: String,
}

fn issue() -> Issued {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = parameters.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(parameters, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap().pem();
    Issued { authority, certificate, key: key.serialize_pem() }
}

/// The listener's answer to a caller with this certificate; nothing where it breaks the connection.
fn ask(to: SocketAddr, alpn: &[u8], server: &Issued, shown: Option<&Issued>) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let chain = vec![CertificateDer::from_pem_slice(shown.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let connection = ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
    let tcp = TcpStream::connect(to).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut stream = StreamOwned::new(connection, tcp);
    let request: &[u8] = match alpn {
        b"h2" => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        _ => b"GET /metrics HTTP/1.1\r\nHost: agent.example\r\nConnection: close\r\n\r\n",
    };
    // With TLS 1.3 the listener says no after the caller has ended its handshake.
    let _ = stream.write_all(request);
    let (mut said, mut part) = (Vec::new(), [0; 16 << 10]);
    while let Ok(count @ 1..) = stream.read(&mut part) {
        said.extend(&part[..count]);
        if alpn == b"h2" {
            break;
        }
    }
    said
}

#[test]
fn wrong_certificates_and_slow_handshakes_are_refused_at_both_tls_listeners() {
    let site = Site::new();
    let (ours, theirs) = (issue(), issue());
    site.write("ca.pem", &ours.authority);
    site.write("cert.pem", &ours.certificate);
    let key = site.write("key.pem", &ours.key);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    site.write(
        "web.yml",
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  client_ca_file: ca.pem\n  \
         client_auth_type: RequireAndVerifyClientCert\n",
    );
    let config = Config::new()
        .metrics("web_config_file = \"web.yml\"")
        .grpc("tls = { cert_file = \"cert.pem\", key_file = \"key.pem\", client_ca_file = \"ca.pem\" }");
    let agent = site.launch(&config);
    wait_until("the metrics with our certificate", crate::PATIENCE, || {
        let accepted = TcpStream::connect(site.metrics()).map_err(|error| error.to_string());
        accepted.map(drop)
    });
    let scrape = || {
        let start = Instant::now();
        let said = ask(site.metrics(), b"http/1.1", &ours, Some(&ours));
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        let text = String::from_utf8(said).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}: {}", agent.log()));
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        Exposition::parse(body).unwrap()
    };
    let listeners: [(&str, SocketAddr, &[u8]); 2] =
        [("metrics", site.metrics(), b"http/1.1"), ("grpc", site.grpc(), b"h2")];
    let slow: Vec<_> = listeners
        .iter()
        .flat_map(|(_, address, _)| [*address; 30])
        .map(|address| {
            let mut stream = TcpStream::connect(address).unwrap();
            // The beginning of a ClientHello.
            stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252]).unwrap();
            stream
        })
        .collect();
    for (listener, address, alpn) in listeners {
        assert!(!ask(address, alpn, &ours, Some(&ours)).is_empty(), "{listener}: ours is good");
        for shown in [None, Some(&theirs)] {
            assert!(ask(address, alpn, &ours, shown).is_empty(), "{listener} answered");
        }
        let mut nonsense = TcpStream::connect(address).unwrap();
        nonsense.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        closed(&mut nonsense);
        // Counted once the connection is closed, which its peer may see first.
        wait_until(&format!("the refusals of {listener}"), crate::PATIENCE, || {
            let seen = scrape();
            let count = |reason| crate::refused(&seen, listener, reason);
            let counted = [count("client_certificate"), count("handshake")] == [2.0, 1.0];
            if counted { Ok(()) } else { Err(crate::told(&seen)) }
        });
    }
    for mut stream in slow {
        closed(&mut stream);
    }
    wait_until("all slow handshakes", crate::PATIENCE, || {
        let seen = scrape();
        let all =
            listeners.iter().all(|(listener, ..)| crate::refused(&seen, listener, "slow_handshake") == 30.0);
        if all { Ok(()) } else { Err(crate::told(&seen)) }
    });
}

#[test]
fn scrapes_over_plain_http_go_on_while_the_receivers_handshakes_hang() {
    let site = Site::new();
    let ours = issue();
    site.write("cert.pem", &ours.certificate);
    let key = site.write("key.pem", &ours.key);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let agent = site.start(&Config::new().grpc("tls = { cert_file = \"cert.pem\", key_file = \"key.pem\" }"));
    let target = Target { agent, site };
    let hanging: Vec<_> = (0..600).map(|_| TcpStream::connect(target.site.grpc()).unwrap()).collect();
    target.scrape_in_time();
    target.wait_refused("grpc", "peer_share", 88.0);
    target.wait_refused("grpc", "slow_handshake", 512.0);
    drop(hanging);
}
