//! TLS of the metrics listener, with certificates that follow their files.

use super::error::WebConfigError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio_rustls::TlsAcceptor;

/// How often, at most, connections look whether the files changed: often enough that a renewed
/// certificate is used within seconds, and a few `stat` calls do not become work.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What a web configuration says about TLS; paths are resolved.
#[derive(Debug, Clone)]
pub(super) struct TlsFiles {
    /// The web configuration, for errors.
    pub(super) web_config: PathBuf,
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    /// **None**: clients are not asked for a certificate.
    pub(super) client_auth: Option<ClientAuth>,
    /// Not empty.
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

/// Whose certificates clients show.
#[derive(Debug, Clone)]
pub(super) struct ClientAuth {
    /// PEM file of the authorities.
    pub(super) ca: PathBuf,
    /// Whether a client without a certificate is refused.
    pub(super) required: bool,
}

/// The listener's TLS.
pub(in super::super) struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

/// What connections get.
struct Current {
    config: Arc<ServerConfig>,
    /// The files that `config` was made of, or that were found unusable since.
    stamps: Stamps,
    looked: Instant,
}

/// Modification time and length of each file; **None** where it cannot be read.
type Stamps = Vec<Option<(SystemTime, u64)>>;

impl Tls {
    /// Reads the files.
    pub(super) fn load(files: TlsFiles) -> Result<Self, WebConfigError> {
        // Stamps first: a change between the two is then seen as a change.
        let stamps = files.stamps();
        let config = Arc::new(files.read()?);
        let current = Mutex::new(Current { config, stamps, looked: Instant::now() });
        Ok(Self { files, current })
    }

    /// What to accept the next connection with.
    pub(in super::super) async fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        let due = {
            let mut current = self.lock();
            let due = current.looked.elapsed() >= LOOK_INTERVAL;
            if due {
                current.looked = Instant::now();
            }
            due
        };
        if due {
            let this = Arc::clone(self);
            // A panic in there leaves what is used now in place.
            let _ = tokio::task::spawn_blocking(move || this.follow_files()).await;
        }
        TlsAcceptor::from(Arc::clone(&self.lock().config))
    }

    /// Reads the files again if they changed. Files that cannot be used, as while a renewal is
    /// half done, leave what is used now in place.
    pub(in super::super) fn follow_files(&self) {
        let stamps = self.files.stamps();
        if stamps == self.lock().stamps {
            return;
        }
        let read = self.files.read();
        let mut current = self.lock();
        current.stamps = stamps;
        match read {
            Ok(config) => {
                current.config = Arc::new(config);
                tracing::info!(cert_file = %self.files.cert.display(), "the certificate files changed; using them");
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate files changed; going on with the last ones")
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.files).finish()
    }
}

impl TlsFiles {
    fn stamps(&self) -> Stamps {
        let files = [Some(&self.cert), Some(&self.key), self.client_auth.as_ref().map(|c| &c.ca)];
        let stamp = |file: &PathBuf| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        files.into_iter().flatten().map(stamp).collect()
    }

    fn read(&self) -> Result<ServerConfig, WebConfigError> {
        let chain = self.certificates("tls_server_config.cert_file", &self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| {
            self.error("tls_server_config.key_file", &self.key, format!("no private key in PEM: {e}"))
        })?;
        // The process may hold other users of rustls; nothing here rests on its default provider.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .map_err(|e| self.error("tls_server_config.min_version", &self.web_config, e.to_string()))?;
        let builder = match &self.client_auth {
            None => builder.with_no_client_auth(),
            Some(auth) => builder.with_client_cert_verifier(self.verifier(auth, provider)?),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|e| {
            let problem = format!("does not go with key_file {:?}: {e}", self.key.display());
            self.error("tls_server_config.cert_file", &self.cert, problem)
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn verifier(
        &self,
        auth: &ClientAuth,
        provider: Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, WebConfigError> {
        const KEY: &str = "tls_server_config.client_ca_file";
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(KEY, &auth.ca)? {
            roots.add(certificate).map_err(|e| self.error(KEY, &auth.ca, e.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = if auth.required { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|e| self.error(KEY, &auth.ca, e.to_string()))
    }

    /// Every certificate of a PEM file; at least one.
    fn certificates(
        &self,
        key: &'static str,
        file: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, WebConfigError> {
        let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match read {
            Ok(certificates) if certificates.is_empty() => {
                Err(self.error(key, file, "no certificate in PEM; write at least one".to_owned()))
            }
            Ok(certificates) => Ok(certificates),
            Err(e) => Err(self.error(key, file, format!("no certificates in PEM: {e}"))),
        }
    }

    fn error(&self, key: &'static str, file: &Path, problem: String) -> WebConfigError {
        WebConfigError::File { path: self.web_config.clone(), key, file: file.to_owned(), problem }
    }
}
