//! The door of every listener: who gets in, who has to go, and what was refused?
//!
//! A listener that is reached from other hosts is held by whoever opens connections, unless each of their
//! waits ends and a newcomer does not stand behind them. A [`Door`] keeps both promises for one listener:
//!
//! | somebody | meets |
//! |---|---|
//! | opens more connections than there are places | its idlest one is closed for each new one (`book`) |
//! | opens more than one peer's share | the same among its own |
//! | sends no whole request head | [`Limits::first_request`] |
//! | does not finish the TLS handshake | [`Limits::handshake`] |
//! | takes nothing of its response | [`Limits::write`] |
//!
//! Each refusal is counted by [`Refusal`]. Listeners share nothing but the process: a full receiver leaves
//! `/metrics` alone.

mod book;
mod stream;
mod tls;

pub use stream::Guest;

use crate::model::refusal::Refusal;
use book::{Admission, Book};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How many a listener takes, and how long it waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at once.
    pub connections: usize,
    /// Most of them from one IPv4 address or IPv6 /64.
    pub per_peer: usize,
    /// Time from the accept to the first whole request head, TLS handshake included.
    pub first_request: Duration,
    /// Time for the whole TLS handshake.
    pub handshake: Duration,
    /// Time without any progress of a response.
    pub write: Duration,
}

impl Limits {
    /// So many connections, with the waits that every listener has.
    ///
    /// A caller on the other side of the world needs two round trips of 0.3 s for TLS, and one more for its
    /// head; a packet that is lost twice costs it another 3 s. The handshake's time ends first, so that it has
    /// a reason of its own.
    pub const fn new(connections: usize, per_peer: usize) -> Self {
        Self {
            connections,
            per_peer,
            first_request: Duration::from_secs(6),
            handshake: Duration::from_secs(4),
            write: Duration::from_secs(30),
        }
    }
}

/// One listener's door. Shared by its accept loop, its connections and the exporter.
#[derive(Debug)]
pub struct Door {
    limits: Limits,
    book: Mutex<Book<oneshot::Sender<()>>>,
    refused: [AtomicU64; Refusal::ALL.len()],
    /// Connections whose place went to another one and that are still open.
    leaving: AtomicUsize,
    /// One of those has gone.
    left: Notify,
}

/// So many of those may there be before nobody else is let in: each holds a file of this process.
const LEAVING_MOST: usize = 32;

/// How long newcomers wait for that at most: somebody who leaves slowly shall not close the door.
const LEAVING_WAIT: Duration = Duration::from_millis(200);

impl Door {
    /// With nobody inside.
    pub fn new(limits: Limits) -> Arc<Self> {
        let book = Mutex::new(Book::new(limits.connections, limits.per_peer));
        let refused = [const { AtomicU64::new(0) }; Refusal::ALL.len()];
        Arc::new(Self { limits, book, refused, leaving: AtomicUsize::new(0), left: Notify::new() })
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Connections that are inside.
    pub fn open(&self) -> usize {
        self.lock().open()
    }

    /// Most connections at once.
    pub fn most(&self) -> usize {
        self.lock().most()
    }

    /// How often each reason was given since the start.
    pub fn refused(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().map(|reason| (reason, self.refused[reason as usize].load(Ordering::Relaxed)))
    }

    /// Counts somebody who was turned away.
    pub fn refuse(&self, reason: Refusal) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A stream of a peer that has just connected. **None**: there is no room for it, which is counted; drop
    /// the stream. Call it within a runtime.
    pub fn let_in<S>(self: &Arc<Self>, stream: S, peer: IpAddr) -> Option<Guest<S>> {
        let (place, closed) = self.admit(peer)?;
        Some(self.guest(stream, place, closed))
    }

    /// Waits while many connections whose places went to others are still to be closed. An accept loop that did
    /// not would hold thousands of files where it lets hundreds in.
    pub async fn settled(&self) {
        let settled = async {
            loop {
                let left = self.left.notified();
                if self.leaving.load(Ordering::Relaxed) <= LEAVING_MOST {
                    return;
                }
                left.await;
            }
        };
        // Either way somebody else comes in now.
        let _ = tokio::time::timeout(LEAVING_WAIT, settled).await;
    }

    fn guest<S>(&self, stream: S, place: Arc<Place>, closed: oneshot::Receiver<()>) -> Guest<S> {
        Guest::new(stream, place, closed, self.limits.first_request, self.limits.write)
    }

    fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<(Arc<Place>, oneshot::Receiver<()>)> {
        let (close, closed) = oneshot::channel();
        let admission = self.lock().admit(peer.into(), close, Instant::now());
        let number = match admission {
            Admission::Admitted(number) => number,
            Admission::InPlaceOf(number, other, reason) => {
                self.refuse(reason);
                self.leaving.fetch_add(1, Ordering::Relaxed);
                // Its connection may have ended meanwhile.
                let _ = other.send(());
                number
            }
            Admission::Refused(reason) => {
                self.refuse(reason);
                return None;
            }
        };
        let (asked, heard) = (AtomicBool::new(false), AtomicBool::new(false));
        Some((Arc::new(Place { door: Arc::clone(self), number, asked, heard }), closed))
    }

    /// The TLS handshake of a connection, in time. **Errors** are counted by what was wrong.
    ///
    /// # Errors
    /// As the handshake gives, or a timeout.
    pub async fn handshake<S>(
        &self,
        acceptor: TlsAcceptor,
        stream: Guest<S>,
    ) -> io::Result<TlsStream<Guest<S>>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let place = Arc::clone(stream.place());
        match tokio::time::timeout(self.limits.handshake, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                if let Some(reason) = tls::refusal(&error, place.heard.load(Ordering::Relaxed)) {
                    self.refuse(reason);
                }
                Err(error)
            }
            Err(_) => {
                self.refuse(Refusal::SlowHandshake);
                Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book<oneshot::Sender<()>>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; given back when the last handle is dropped.
#[derive(Debug)]
pub struct Place {
    door: Arc<Door>,
    number: u64,
    /// Whether a request has come on it.
    asked: AtomicBool,
    /// Whether anything has come since the last request.
    heard: AtomicBool,
}

impl Place {
    /// A request's head has come.
    pub fn begin(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.heard.store(false, Ordering::Relaxed);
        self.door.lock().begin(self.number, Instant::now());
    }

    /// A request is done with.
    pub fn end(&self) {
        self.door.lock().end(self.number, Instant::now());
    }

    /// Counts something on this connection that was turned away.
    pub fn refuse(&self, reason: Refusal) {
        self.door.refuse(reason);
    }

    /// Counts a connection that was closed because no whole head came in time, unless it was only idle
    /// between two requests.
    pub fn closed_waiting(&self) {
        if self.heard.load(Ordering::Relaxed) || self.door.lock().is_arriving(self.number) {
            self.refuse(Refusal::NoRequest);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let gave_it_up = self.door.lock().leave(self.number).is_none();
        if gave_it_up {
            self.door.leaving.fetch_sub(1, Ordering::Relaxed);
            self.door.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, duplex};

    #[tokio::test]
    async fn a_place_is_given_back_and_a_closed_connection_notices() {
        let door = Door::new(Limits::new(1, 1));
        let (first, _peer) = duplex(16);
        let mut first = door.let_in(first, [127, 0, 0, 1].into()).unwrap();
        assert_eq!((door.open(), door.most()), (1, 1));
        let (second, _peer) = duplex(16);
        let second = door.let_in(second, [127, 0, 0, 2].into()).unwrap();
        let error = first.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        drop(first);
        assert_eq!(door.open(), 1, "its place had been another's");
        drop(second);
        assert_eq!(door.open(), 0);
        assert!(door.refused().all(|(reason, count)| count == u64::from(reason == Refusal::Crowded)));
    }

    #[tokio::test]
    async fn newcomers_wait_until_those_whose_places_they_took_have_gone() {
        let door = Door::new(Limits::new(1, 1));
        let come = |peer: u8| door.let_in(duplex(16).0, [127, 0, 0, peer].into()).unwrap();
        let mut inside: Vec<_> = (0..=LEAVING_MOST).map(|peer| come(peer as u8)).collect();
        let is_settled = async || tokio::time::timeout(LEAVING_WAIT / 4, door.settled()).await.is_ok();
        assert!(is_settled().await, "so many are few");
        inside.push(come(200));
        assert!(!is_settled().await);
        drop(inside.remove(0));
        assert!(is_settled().await);
        drop(inside);
        assert_eq!((door.open(), door.leaving.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test]
    async fn nobody_is_closed_in_the_midst_of_a_request() {
        let door = Door::new(Limits::new(1, 1));
        let (first, _peer) = duplex(16);
        let first = door.let_in(first, [127, 0, 0, 1].into()).unwrap();
        first.place().begin();
        assert!(door.let_in(duplex(16).0, [127, 0, 0, 2].into()).is_none());
        first.place().end();
        assert!(door.let_in(duplex(16).0, [127, 0, 0, 2].into()).is_some());
    }
}
