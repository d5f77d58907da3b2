//! TLS files that are loaded once for all who use them, and loaded anew when they are other ones.
//!
//! Ten thousand probes with the same files share one configuration and one look. Handshakes take what is
//! loaded at that moment; connections that stand stay as they are. Files that cannot be used, because half of
//! a pair is written or somebody took away the right to read them, change nothing: what was loaded before
//! goes on, and the status says why.

use super::{TlsError, client_config, earliest_end, read_identity, roots};
use crate::collect::file_watch::Seen;
use crate::model::certificate::{Certificates, TlsFilesStatus, TlsLooked};
use crate::model::plan::TlsPlan;
use rustls::ClientConfig;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{Duration, Instant};

/// Time between two looks. Certificates are renewed days before they end; who waits for one at a terminal
/// waits a moment. Half of it would be twice the system calls: three for each set of files.
const EVERY: Duration = Duration::from_secs(2);
/// For how long files have to stay as they are before they are read: a pair is two files.
const SETTLED: Duration = Duration::from_millis(500);
/// After this long files that could not be used are tried again although they look the same: a file system
/// that failed may have come back.
const AGAIN: Duration = Duration::from_secs(30);

/// What makes two plans share their files.
type Files = (Option<PathBuf>, Option<(PathBuf, PathBuf)>);

/// All that is in use, of this process. An entry goes with the last who uses it.
static STORE: LazyLock<Mutex<HashMap<Files, Weak<Shared>>>> = LazyLock::new(Mutex::default);

fn store() -> MutexGuard<'static, HashMap<Files, Weak<Shared>>> {
    // A poisoned lock only means that a thread panicked around an insertion.
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One set of files.
#[derive(Debug)]
pub(super) struct Shared {
    /// The route, node or registry that asked first, for messages.
    of: String,
    /// Without a name to verify.
    plan: TlsPlan,
    loaded: RwLock<Loaded>,
}

/// What of the files is in use.
#[derive(Debug)]
struct Loaded {
    config: Arc<ClientConfig>,
    /// Of client and authorities.
    ends: Certificates,
    at: Instant,
    /// What the paths led to before it was read.
    seen: Vec<Option<Seen>>,
    failures: u64,
    failed: Option<Failed>,
}

/// Other files, which cannot be used.
#[derive(Debug)]
struct Failed {
    why: String,
    seen: Vec<Option<Seen>>,
    at: Instant,
}

impl Shared {
    /// The files of a plan, loaded now unless somebody uses the very same already. Blocking.
    pub(super) fn of(of: &str, plan: &TlsPlan) -> Result<Arc<Self>, TlsError> {
        let files = (plan.ca_file.clone(), plan.client_identity.clone());
        // Nobody holds the store while files are read: they may be on a file system that hangs.
        let known = store().get(&files).and_then(Weak::upgrade);
        if let Some(shared) = known {
            let seen = look(&shared.plan);
            let is_known = shared.loaded().seen == seen;
            if !is_known {
                shared.load(seen)?;
            }
            return Ok(shared);
        }
        let plan = TlsPlan { server_name: None, ..plan.clone() };
        let seen = look(&plan);
        let (config, ends) = read(of, &plan)?;
        let loaded = Loaded { config, ends, at: Instant::now(), seen, failures: 0, failed: None };
        let shared = Arc::new(Self { of: of.to_owned(), plan, loaded: RwLock::new(loaded) });
        let mut store = store();
        if let Some(other) = store.get(&files).and_then(Weak::upgrade) {
            // Somebody was faster.
            return Ok(other);
        }
        store.retain(|_, shared| shared.strong_count() > 0);
        store.insert(files, Arc::downgrade(&shared));
        Ok(shared)
    }

    /// What handshakes take now.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.loaded().config)
    }

    /// When client certificate and authorities end.
    pub(super) fn ends(&self) -> Certificates {
        self.loaded().ends
    }

    fn loaded(&self) -> RwLockReadGuard<'_, Loaded> {
        // A poisoned lock only means that a thread panicked between assignments that cannot.
        self.loaded.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether these are worth reading: others than those in use, and than those that failed just now.
    fn is_news(&self, seen: &[Option<Seen>]) -> bool {
        let loaded = self.loaded();
        match &loaded.failed {
            Some(failed) => failed.seen != seen || failed.at.elapsed() > AGAIN,
            None => loaded.seen != seen,
        }
    }

    /// Reads the files, which were `seen` so before. On an error what was loaded before stays.
    fn load(&self, seen: Vec<Option<Seen>>) -> Result<(), TlsError> {
        let result = read(&self.of, &self.plan);
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok((config, ends)) => {
                let failures = loaded.failures;
                *loaded = Loaded { config, ends, at: Instant::now(), seen, failures, failed: None };
                Ok(())
            }
            Err(error) => {
                loaded.failures += 1;
                loaded.failed = Some(Failed { why: error.to_string(), seen, at: Instant::now() });
                Err(error)
            }
        }
    }

    fn status(&self) -> TlsFilesStatus {
        let loaded = self.loaded();
        let text = |path: &PathBuf| path.display().to_string();
        let identity = self.plan.client_identity.as_ref();
        TlsFilesStatus {
            ca_file: self.plan.ca_file.as_ref().map(text),
            cert_file: identity.map(|(chain, _)| text(chain)),
            key_file: identity.map(|(_, key)| text(key)),
            client_expiry_seconds: loaded.ends.client,
            ca_expiry_seconds: loaded.ends.ca,
            loaded_age_seconds: loaded.at.elapsed().as_secs(),
            failures: loaded.failures,
            failure: loaded.failed.as_ref().map(|failed| failed.why.clone()),
        }
    }
}

/// Every set of files in use, ordered by their names.
pub fn tls_files() -> Vec<TlsFilesStatus> {
    let mut all: Vec<_> = in_use().iter().map(|shared| shared.status()).collect();
    all.sort_by(|a, b| (&a.cert_file, &a.ca_file).cmp(&(&b.cert_file, &b.ca_file)));
    all
}

fn in_use() -> Vec<Arc<Shared>> {
    store().values().filter_map(Weak::upgrade).filter(|shared| shared.has_files()).collect()
}

impl Shared {
    /// Trust in the system's authorities and nothing else is no file to look at.
    fn has_files(&self) -> bool {
        self.plan.ca_file.is_some() || self.plan.client_identity.is_some()
    }
}

/// Looks at all files in use again and again, loads those that are other ones, and tells what became of
/// them. Never ends; cancelling it loses nothing.
pub async fn watch_tls_files(told: impl Fn(TlsLooked)) {
    let mut before = TlsLooked::default();
    loop {
        tokio::time::sleep(EVERY).await;
        // Files may be on a file system that hangs.
        let looked = tokio::task::spawn_blocking(|| look_at(&in_use(), SETTLED)).await;
        let Ok(looked) = looked else { continue };
        if looked != before {
            told(looked);
        }
        before = TlsLooked { loaded: 0, failed: 0, ..looked };
    }
}

/// One look. Blocking.
fn look_at(all: &[Arc<Shared>], settled: Duration) -> TlsLooked {
    let mut looked = TlsLooked::default();
    let others: Vec<_> = all
        .iter()
        .map(|shared| (shared, look(&shared.plan)))
        .filter(|(shared, seen)| shared.is_news(seen))
        .collect();
    if !others.is_empty() {
        std::thread::sleep(settled);
    }
    for (shared, seen) in others {
        // What is still being written is for the next look.
        if look(&shared.plan) != seen {
            continue;
        }
        match shared.load(seen) {
            Ok(()) => {
                tracing::info!("{}: its TLS files are other ones: new handshakes use them", shared.of);
                looked.loaded += 1;
            }
            Err(error) => {
                tracing::error!("{error}; the files that were loaded before stay in use");
                looked.failed += 1;
            }
        }
    }
    looked.stale = all.iter().filter(|shared| shared.loaded().failed.is_some()).count() as u64;
    looked
}

/// What the plan's paths lead to now. Blocking: a system call for each.
fn look(plan: &TlsPlan) -> Vec<Option<Seen>> {
    let identity = plan.client_identity.iter().flat_map(|(chain, key)| [chain, key]);
    plan.ca_file.iter().chain(identity).map(|path| Seen::at(path)).collect()
}

fn read(of: &str, plan: &TlsPlan) -> Result<(Arc<ClientConfig>, Certificates), TlsError> {
    let (roots, ca) = roots(of, plan)?;
    let identity = plan.client_identity.as_ref().map(|files| read_identity(of, files)).transpose()?;
    let client = identity.as_ref().and_then(|(chain, _)| earliest_end(chain));
    let config = client_config(of, roots, identity)?;
    Ok((Arc::new(config), Certificates { client, ca, server: None }))
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
