//! A source at work, and what it has told.

use insight_agent::collect::discovery::{Outlet, Source};
use insight_agent::model::discovery::{Endpoint, Found, LookupClass, LookupFailure};
use insight_agent::model::plan::TlsPlan;
use insight_lab::doubles::Fault;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longest wait for anything in these tests.
const LIMIT: Duration = Duration::from_secs(30);
/// How soon a change must be told where nothing is wrong.
pub const SOON: Duration = Duration::from_secs(1);

/// A free port of the loopback.
pub fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A source that is watched until this is dropped.
pub struct Watched {
    news: mpsc::Receiver<(usize, Found)>,
    running: JoinHandle<()>,
    /// All that it told.
    pub failures: Vec<LookupFailure>,
    /// The last that it told.
    pub roster: Option<Vec<Endpoint>>,
    /// How many it told.
    pub rosters: usize,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Watched {
    pub fn start(source: impl Source + 'static) -> Self {
        let (to, news) = mpsc::channel(64);
        let running = tokio::spawn(Box::new(source).watch(Outlet::new(7, to)));
        Self { news, running, failures: Vec::new(), roster: None, rosters: 0 }
    }

    /// Addresses of the last roster. **None**: there was none.
    pub fn addresses(&self) -> Option<Vec<String>> {
        let roster = self.roster.as_ref()?;
        let mut all: Vec<_> = roster.iter().map(|one| format!("{}:{}", one.host, one.port)).collect();
        all.sort();
        Some(all)
    }

    /// What it tells next.
    async fn next(&mut self, waiting_for: &str) -> Found {
        let next = tokio::time::timeout(LIMIT, self.news.recv()).await;
        let Ok(Some((source, found))) = next else {
            panic!("{waiting_for} never came; roster {:?}, failures {:?}", self.addresses(), self.failures)
        };
        assert_eq!(source, 7);
        match &found {
            Found::Roster(endpoints) => {
                self.roster = Some(endpoints.clone());
                self.rosters += 1;
            }
            Found::Unchanged => {}
            Found::Failed(failure) => self.failures.push(failure.clone()),
        }
        found
    }

    /// Waits for a roster of these addresses: how long that took.
    pub async fn until(&mut self, addresses: &[&str]) -> Duration {
        let began = Instant::now();
        loop {
            let found = self.next(&format!("the roster {addresses:?}")).await;
            if matches!(found, Found::Roster(_)) && self.addresses().unwrap() == addresses {
                return began.elapsed();
            }
        }
    }

    /// Waits for a roster of this length.
    pub async fn until_count(&mut self, count: usize) {
        while self.roster.as_ref().is_none_or(|roster| roster.len() != count) {
            self.next(&format!("{count} endpoints")).await;
        }
    }

    /// Waits for a failure.
    pub async fn until_failed(&mut self) -> LookupFailure {
        loop {
            if let Found::Failed(failure) = self.next("a failure").await {
                return failure;
            }
        }
    }

    /// Takes up what it tells for so long.
    pub async fn listen(&mut self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while tokio::time::timeout_at(until, self.next("anything")).await.is_ok() {}
    }
}

/// Waits for a condition.
pub async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < until, "{what} never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every fault that ends by itself, with the class that it must be told as; `None` is no failure.
pub fn faults() -> Vec<(Fault, Option<LookupClass>)> {
    let busy = Fault::Status { code: 429, body: "slow down".into(), retry_after: Some(1) };
    vec![
        (Fault::no_leader(), Some(LookupClass::Refused)),
        (busy, Some(LookupClass::Refused)),
        (Fault::status(403, "Permission denied"), Some(LookupClass::Denied)),
        (Fault::Slow(Duration::from_millis(300)), None),
        (Fault::Torn, Some(LookupClass::Unreachable)),
        (Fault::Garbage, Some(LookupClass::Malformed)),
    ]
}

// ---- Certificates ---------------------------------------------------------------------------------

/// A folder with `ca.pem`, `server.*` for 127.0.0.1, `client.*`, and `other-ca.pem` that signed none of them.
pub struct Certificates(tempfile::TempDir);

type Authority = CertifiedIssuer<'static, KeyPair>;

impl Certificates {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = write_authority(&folder.path().join("ca.pem"));
        write_authority(&folder.path().join("other-ca.pem"));
        for name in ["server", "client"] {
            issue(folder.path(), name, &authority);
        }
        Self(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// For a double that wants a client's certificate.
    pub fn server(&self) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificate = |name: &str| CertificateDer::from_pem_file(self.path(name)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate("ca.pem")).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate("server.pem")], key)
            .unwrap();
        // Refuses whoever speaks nothing but HTTP/2.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// For a source.
    pub fn client(&self, ca: &str, identity: bool) -> TlsPlan {
        TlsPlan {
            ca_file: Some(self.path(ca)),
            server_name: None,
            client_identity: identity.then(|| (self.path("client.pem"), self.path("client.key"))),
        }
    }
}

fn write_authority(path: &Path) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(path, authority.pem()).unwrap();
    authority
}

fn issue(folder: &Path, name: &str, authority: &Authority) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}
