//! Name lookups: one at a time per name, shared by all who wait for it.
//!
//! A lookup is a blocking call of the system's resolver, which may take half a minute to give up and
//! cannot be cancelled. Each holds a thread. So a sample that finds a lookup of its name under way
//! waits for that one: however long a resolver hangs, there are as many threads as names.

use crate::model::series::lost::Loss;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What the resolver said, and how long it took.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// **Errors**: the resolver's own text.
    pub(super) addresses: Result<Vec<IpAddr>, Arc<str>>,
    /// From the question to the answer, also for those who joined later: a name that takes 3 s takes
    /// 3 s for a client that asks now.
    pub(super) took: Duration,
}

type Pending = watch::Receiver<Option<Answer>>;

/// Lookups under way, by name. Of the process: all probes ask the same resolver.
static PENDING: LazyLock<Mutex<HashMap<String, Pending>>> = LazyLock::new(Mutex::default);

fn pending() -> MutexGuard<'static, HashMap<String, Pending>> {
    // A poisoned lock only means that a thread panicked around an insertion.
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks a name up, and notes a [`Loss::Skipped`] where a lookup under way was joined. Waits as long as
/// the resolver does; callers set the deadline. Cancelling leaves the lookup to those who come later.
pub(super) async fn look_up(host: &str, losses: &mut Vec<(&'static str, Loss)>) -> Answer {
    let (mut answer, joined) = ask(host, |host| (host, 0_u16).to_socket_addrs().map(Iterator::collect));
    if joined {
        losses.push(("dns", Loss::Skipped));
    }
    match answer.wait_for(Option::is_some).await.map(|answer| answer.clone()) {
        Ok(Some(answer)) => answer,
        // Its thread is gone without an answer: the runtime that it belonged to has ended.
        Ok(None) | Err(_) => {
            Answer { addresses: Err("the lookup was given up".into()), took: Duration::ZERO }
        }
    }
}

/// The lookup under way, or a new one on a thread for blocking calls; and whether it was joined.
fn ask(
    host: &str,
    resolve: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> (Pending, bool) {
    let mut pending = pending();
    // One whose thread is gone is none.
    if let Some(answer) = pending.get(host).filter(|answer| answer.has_changed().is_ok()) {
        return (answer.clone(), true);
    }
    let (sender, receiver) = watch::channel(None);
    pending.insert(host.to_owned(), receiver.clone());
    drop(pending);
    let host = host.to_owned();
    tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let addresses = resolve(&host);
        let took = start.elapsed();
        let addresses = addresses
            .map(|found| found.into_iter().map(|address| address.ip()).collect())
            .map_err(|error| error.to_string().into());
        // Out of the table before it is told: whoever asks after the answer asks anew.
        self::pending().remove(&host);
        sender.send_replace(Some(Answer { addresses, took }));
    });
    (receiver, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static ASKED: AtomicUsize = AtomicUsize::new(0);

    fn slow(_host: &str) -> io::Result<Vec<SocketAddr>> {
        ASKED.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(200));
        Ok(vec!["127.0.0.9:0".parse().unwrap()])
    }

    #[tokio::test]
    async fn a_lookup_under_way_is_joined_and_the_next_one_asks_anew() {
        let (mut first, joined) = ask("slow.test", slow);
        assert!(!joined);
        for _ in 0..100 {
            assert!(ask("slow.test", slow).1, "a second lookup was started");
        }
        let (_, other) = ask("other.test", slow);
        assert!(!other, "another name does not wait");
        let answer = first.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert_eq!(answer.addresses.unwrap(), ["127.0.0.9".parse::<IpAddr>().unwrap()]);
        assert!(answer.took >= Duration::from_millis(200), "also for those who joined: {:?}", answer.took);
        assert!(!ask("slow.test", slow).1);
        assert_eq!(ASKED.load(Ordering::Relaxed).min(2), 2);
    }

    #[tokio::test]
    async fn joining_is_counted_and_an_error_keeps_its_text() {
        let mut losses = Vec::new();
        let (one, other) =
            tokio::join!(async { look_up("no-such-host.invalid", &mut losses).await }, async {
                look_up("no-such-host.invalid", &mut Vec::new()).await
            });
        let text = one.addresses.unwrap_err();
        assert!(!text.is_empty() && other.addresses.is_err());
        assert_eq!(losses, [], "the first one asked");
    }

    #[test]
    fn a_lookup_whose_runtime_has_ended_is_asked_anew() {
        let runtime =
            || tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        let first = runtime();
        first.block_on(async {
            ask("gone-a.test", slow);
            // Its turn never comes: the only thread is busy until the runtime is gone.
            ask("gone-b.test", slow);
        });
        first.shutdown_timeout(Duration::from_secs(10));
        runtime().block_on(async { assert!(!ask("gone-b.test", slow).1) });
    }
}
