//! The gRPC listener's TLS, made of PEM files.

use super::ServeError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// PEM files of the gRPC listener's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcTls {
    /// Certificate chain of this receiver.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// Authorities that a caller's certificate must come from; `None` asks for none.
    pub client_ca_file: Option<PathBuf>,
}

/// Whether a listener could be started with this TLS. Blocking: reads its files.
///
/// # Errors
/// As [`load_tls`].
pub fn check_tls(tls: &GrpcTls) -> Result<(), ServeError> {
    load_tls(tls).map(drop)
}

/// Reads what the listener's TLS is made of. Blocking.
///
/// # Errors
/// A file cannot be read, is not PEM of its kind, or certificate and key do not go together.
pub fn load_tls(tls: &GrpcTls) -> Result<Arc<ServerConfig>, ServeError> {
    let chain = certificates("cert_file", &tls.cert_file)?;
    let key = PrivateKeyDer::from_pem_slice(&read("key_file", &tls.key_file)?)
        .map_err(|error| unusable("key_file", &tls.key_file, format!("no private key in PEM: {error}")))?;
    // The process may hold other users of rustls; nothing here rests on its default provider.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("cert_file", &tls.cert_file, error.to_string()))?;
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            const KEY: &str = "client_ca_file";
            let mut roots = RootCertStore::empty();
            for certificate in certificates(KEY, path)? {
                roots.add(certificate).map_err(|error| unusable(KEY, path, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder
                .with_client_cert_verifier(verifier.map_err(|error| unusable(KEY, path, error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        unusable(
            "cert_file",
            &tls.cert_file,
            format!("does not go with key_file {:?}: {error}", tls.key_file),
        )
    })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Every certificate of a PEM file; at least one.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let content = read(key, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match certificates {
        Ok(all) if all.is_empty() => Err(unusable(key, path, "no certificate in PEM".to_owned())),
        Ok(all) => Ok(all),
        Err(error) => Err(unusable(key, path, format!("no certificates in PEM: {error}"))),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, ServeError> {
    std::fs::read(path).map_err(|source| ServeError::ReadPem { key, path: path.to_owned(), source })
}

fn unusable(key: &'static str, path: &Path, problem: String) -> ServeError {
    ServeError::Pem { key, path: path.to_owned(), problem }
}
