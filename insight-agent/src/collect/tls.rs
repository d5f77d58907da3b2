//! TLS towards a next hop, another agent or a registry: rustls with the ring provider, and one protocol alone
//! in ALPN: `h2`, or `http/1.1` for registries.

mod shared;

pub use shared::{tls_files, watch_tls_files};

use crate::model::certificate::Certificates;
use crate::model::plan::TlsPlan;
use ring::digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use shared::Shared;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// Why the TLS of a route or a node cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file could not be read or holds nothing of what it should.
    #[error("{of}: tls.{key} = {path:?}: {what}: check that the file exists, is readable and is PEM")]
    Pem {
        /// The route or node, as messages name it.
        of: String,
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The system offers no authority to trust.
    #[error("{of}: this system has no trusted certificate authorities: set tls.ca_file")]
    NoSystemRoots {
        /// The route or node, as messages name it.
        of: String,
    },
    /// Certificate and key do not fit, or rustls refuses them.
    #[error("{of}: tls: {source}: check cert_file and key_file")]
    Config {
        /// The route or node, as messages name it.
        of: String,
        /// What rustls said.
        source: rustls::Error,
    },
    /// The name to verify is no name.
    #[error("{of}: tls.server_name = {name:?}: is no DNS name or IP address: correct it")]
    ServerName {
        /// The route or node, as messages name it.
        of: String,
        /// The name.
        name: String,
    },
}

/// What the PEM files of a plan hold, to see whether they are the same later. It tells nothing of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles([u8; digest::SHA256_OUTPUT_LEN]);

impl TlsFiles {
    /// As they are now. Blocking: a few small files. A file that cannot be read counts as one of its own:
    /// whoever uses it says so. The system's own authorities are not looked at.
    pub fn of(plan: &TlsPlan) -> Self {
        let identity = plan.client_identity.iter().flat_map(|(chain, key)| [chain, key]);
        let mut context = digest::Context::new(&digest::SHA256);
        for path in plan.ca_file.iter().chain(identity) {
            match std::fs::read(path) {
                Ok(content) => {
                    context.update(&[1]);
                    context.update(digest::digest(&digest::SHA256, &content).as_ref());
                }
                Err(_) => context.update(&[0]),
            }
        }
        let mut files = [0; digest::SHA256_OUTPUT_LEN];
        files.copy_from_slice(context.finish().as_ref());
        Self(files)
    }
}

/// TLS, ready to connect with: files that are shared with all others that name them, and a name to verify.
#[derive(Debug, Clone)]
pub(super) struct RouteTls {
    shared: Arc<Shared>,
    pub(super) server_name: ServerName<'static>,
    /// Of this user alone.
    seen: Arc<Mutex<SeenCertificates>>,
}

/// What one user's handshakes showed, and what was said of it.
#[derive(Debug, Default)]
struct SeenCertificates {
    /// What the chain hashes to: the same one is shown thousands of times.
    chain: Option<u64>,
    /// When the first of that chain ends.
    server: Option<i64>,
    told: Option<Certificates>,
}

impl RouteTls {
    /// Reads the plan's files, unless they are in use already. Blocking; done once, before probing starts.
    pub(super) fn new(of: &str, host: &str, plan: &TlsPlan) -> Result<Self, TlsError> {
        let shared = Shared::of(of, plan)?;
        let name = plan.server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::ServerName { of: of.to_owned(), name: name.to_owned() })?;
        Ok(Self { shared, server_name, seen: Arc::default() })
    }

    /// What a handshake of HTTP/2 takes now.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.shared.config()
    }

    /// The same for a peer that is spoken to in HTTP/1.1.
    pub(super) fn http1_config(&self) -> Arc<ClientConfig> {
        let mut config = (*self.shared.config()).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// Takes the chain that a peer has shown.
    ///
    /// **Cost**: some 2 µs for a chain that was shown before, 20 µs for another one.
    pub(super) fn note_server(&self, chain: &[CertificateDer<'_>]) {
        let hash = HASHER.hash_one(chain.iter().map(AsRef::<[u8]>::as_ref).collect::<Vec<_>>());
        let mut seen = self.seen();
        if seen.chain != Some(hash) {
            seen.chain = Some(hash);
            seen.server = earliest_end(chain);
        }
    }

    /// When the certificates end, if that is another time than at the last call. **None** too as long as
    /// nothing is known.
    pub(super) fn take_certificates(&self) -> Option<Certificates> {
        let ends = self.shared.ends();
        let mut seen = self.seen();
        let now = Certificates { server: seen.server, ..ends };
        if seen.told.unwrap_or_default() == now {
            return None;
        }
        seen.told = Some(now);
        Some(now)
    }

    fn seen(&self) -> MutexGuard<'_, SeenCertificates> {
        // A poisoned lock only means that a thread panicked between plain assignments.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With keys of this process: no peer can make two chains that hash to the same.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// When the first of these certificates ends, in seconds since 1970. **None**: none of them can be read.
fn earliest_end(chain: &[CertificateDer<'_>]) -> Option<i64> {
    let ends = chain.iter().filter_map(|certificate| {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    ends.min()
}

/// Certificate chain and key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_identity(of: &str, (cert_file, key_file): &(PathBuf, PathBuf)) -> Result<Identity, TlsError> {
    let chain = read_certificates(of, "cert_file", cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file)
        .map_err(|error| pem_error(of, "key_file", key_file, &error))?;
    Ok((chain, key))
}

/// Whom a plan trusts, and when the first authority of its own ends.
fn roots(of: &str, plan: &TlsPlan) -> Result<(RootCertStore, Option<i64>), TlsError> {
    let Some(path) = &plan.ca_file else { return Ok((system_roots(of)?, None)) };
    let mut roots = RootCertStore::empty();
    let certificates = read_certificates(of, "ca_file", path)?;
    let end = earliest_end(&certificates);
    for certificate in certificates {
        roots.add(certificate).map_err(|error| pem_error(of, "ca_file", path, &error))?;
    }
    Ok((roots, end))
}

fn client_config(
    of: &str,
    roots: RootCertStore,
    identity: Option<Identity>,
) -> Result<ClientConfig, TlsError> {
    let refused = |source| TlsError::Config { of: of.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(refused)?,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would make every fresh connection but the first one cheaper than
    // a newcomer's, and the tls phase a mixture of two things.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn pem_error(of: &str, key: &'static str, path: &Path, what: &dyn std::fmt::Display) -> TlsError {
    TlsError::Pem { of: of.to_owned(), key, path: path.to_owned(), what: what.to_string() }
}

fn read_certificates(
    of: &str,
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(of, key, path, &error))?;
    if chain.is_empty() {
        return Err(pem_error(of, key, path, &"holds no certificate"));
    }
    Ok(chain)
}

fn system_roots(of: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(TlsError::NoSystemRoots { of: of.to_owned() });
    }
    Ok(roots)
}
