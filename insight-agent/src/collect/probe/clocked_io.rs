//! When did bytes leave and arrive, and what did the peer say about the connection? A stream that
//! notes it, around whatever it carries.

use super::event_log::EventLog;
use super::frames::{FrameWatch, Seen};
use super::stamped::{Clocks, on_steady_clock};
use crate::model::connection_event::{ConnectionEvent, EventKind, EventReason};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// How many flushes are remembered: one RPC makes one to three, and at most
/// `max_in_flight` of them share a connection. With half of them a busy connection could forget
/// the flush of its slowest request; the request phase would then read shorter than it was.
const FLUSHES_KEPT: usize = 256;

/// Reads at most, of 4 KiB each, when nothing can be written any more: last words are short.
const LAST_READS: usize = 8;

/// The instants noted by a [`ClockedIo`], shared with whoever asks.
#[derive(Debug, Default)]
pub(super) struct IoClock {
    noted: Mutex<Noted>,
    begun: Notify,
    events: Arc<EventLog>,
}

/// How the peer's side of a connection began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// With SETTINGS, as HTTP/2 demands, at this instant.
    Settings(Instant),
    /// With something else: no HTTP/2 is spoken there.
    Otherwise,
    /// Not at all: the stream ended before.
    Never,
}

#[derive(Debug, Default)]
struct Noted {
    begun: Option<Begun>,
    goaway: Option<EventReason>,
    frames: FrameWatch,
    /// What ended TLS, if that and not the socket below it ended the stream.
    tls: Option<rustls::Error>,
    last_read: Option<Instant>,
    /// When what was read last came to this host, by the kernel.
    arrived: Option<Instant>,
    flushes: VecDeque<Flush>,
    /// When writing began of what is not flushed yet.
    unflushed: Option<Instant>,
    /// As of the last write.
    clocks: Option<Clocks>,
    /// Calls that may ask.
    calls: usize,
    /// The last write found no room.
    full: bool,
}

/// Something was written, and all of it is on the socket.
#[derive(Debug, Clone, Copy)]
struct Flush {
    began: Instant,
    ended: Instant,
}

/// A call that may ask an [`IoClock`] about anything that was written since it began.
#[derive(Debug)]
pub(super) struct Asking<'a>(&'a IoClock);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut noted = self.0.noted();
        noted.calls -= 1;
        if noted.calls == 0 {
            // An idle connection, of which there may be thousands, keeps next to nothing.
            noted.flushes = VecDeque::new();
        }
    }
}

impl IoClock {
    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        // A poisoned lock only means that a reader panicked between two plain assignments.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a connection of a probe whose events are counted in `events`.
    pub(super) fn new(events: Arc<EventLog>) -> Self {
        Self { events, ..Self::default() }
    }

    /// How the peer's side began. Waits without bound: callers set the deadline. Cancelling loses
    /// nothing.
    pub(super) async fn begun(&self) -> Begun {
        loop {
            let woken = self.begun.notified();
            if let Some(begun) = self.noted().begun {
                return begun;
            }
            woken.await;
        }
    }

    /// The reason of the last GOAWAY. **None**: there was none.
    pub(super) fn goaway(&self) -> Option<EventReason> {
        self.noted().goaway
    }

    /// What ended TLS. **None**: nothing did, or the connection has none. h2 keeps only its text.
    pub(super) fn tls_error(&self) -> Option<rustls::Error> {
        self.noted().tls.clone()
    }

    /// Counts that a request could not be sent at once.
    pub(super) fn note_stall(&self, reason: EventReason) {
        self.events.note(ConnectionEvent { kind: EventKind::SendStall, reason });
    }

    /// Takes what was read.
    fn note_read(&self, bytes: &[u8]) {
        let now = Instant::now();
        let mut guard = self.noted();
        let noted = &mut *guard;
        noted.last_read = Some(now);
        let before = noted.begun;
        let (begun, goaway) = (&mut noted.begun, &mut noted.goaway);
        noted.frames.feed(bytes, |seen| match seen {
            Seen::First { settings: true } => *begun = Some(Begun::Settings(now)),
            Seen::First { settings: false } => *begun = Some(Begun::Otherwise),
            Seen::Event(event) => {
                if event.kind == EventKind::Goaway {
                    *goaway = Some(event.reason);
                }
                self.events.note(event);
            }
        });
        let has_begun = before.is_none() && noted.begun.is_some();
        drop(guard);
        if has_begun {
            self.begun.notify_waiters();
        }
    }

    /// A call begins.
    pub(super) fn asking(&self) -> Asking<'_> {
        self.noted().calls += 1;
        Asking(self)
    }

    /// Takes when the bytes of a read came, by the kernel's stamp if there is one.
    pub(super) fn note_arrival(&self, stamp: Option<SystemTime>) {
        let now = Clocks::read();
        let mut noted = self.noted();
        noted.arrived =
            stamp.zip(noted.clocks).and_then(|(stamp, before)| on_steady_clock(stamp, before, now));
    }

    /// Takes what ended reading.
    fn note_read_error(&self, error: &io::Error) {
        if let Some(tls) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            self.noted().tls = Some(tls.clone());
        }
    }

    /// Takes a write that was begun at `began`; `full`: it found no room.
    pub(super) fn note_write(&self, began: Instant, full: bool) {
        let mut noted = self.noted();
        let was_full = std::mem::replace(&mut noted.full, full);
        if noted.unflushed.is_none() {
            noted.unflushed = Some(began);
            noted.clocks = Some(Clocks::read());
        }
        drop(noted);
        if full && !was_full {
            self.note_stall(EventReason::Socket);
        }
    }

    /// When the first flush at or after `since` had put everything written before it onto the
    /// socket. **None** when there was none, or it is too long ago to be remembered.
    pub(super) fn flushed_after(&self, since: Instant) -> Option<Instant> {
        self.noted().flushes.iter().map(|flush| flush.ended).find(|ended| *ended >= since)
    }

    /// When the first write at or after `since` began. **None** as of [`Self::flushed_after`].
    pub(super) fn wrote_after(&self, since: Instant) -> Option<Instant> {
        self.noted().flushes.iter().map(|flush| flush.began).find(|began| *began >= since)
    }

    /// When what was read last had come to this host. **None**: the kernel did not say, or it was before
    /// `since`.
    pub(super) fn arrived(&self, since: Instant) -> Option<Instant> {
        self.noted().arrived.filter(|arrived| *arrived >= since)
    }

    /// Whether anything was read at or after `since`: a connection on which a whole deadline
    /// passed in silence is not worth keeping.
    pub(super) fn read_after(&self, since: Instant) -> bool {
        self.noted().last_read.is_some_and(|read| read >= since)
    }
}

/// A stream that notes reads and flushes in an [`IoClock`].
#[derive(Debug)]
pub(super) struct ClockedIo<S> {
    stream: S,
    clock: Arc<IoClock>,
    /// With what a write will fail, once the peer is heard out.
    failing: Option<io::Error>,
}

impl<S> ClockedIo<S> {
    pub(super) fn new(stream: S, clock: Arc<IoClock>) -> Self {
        Self { stream, clock, failing: None }
    }
}

impl<S> Drop for ClockedIo<S> {
    fn drop(&mut self) {
        self.clock.noted().begun.get_or_insert(Begun::Never);
        self.clock.begun.notify_waiters();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClockedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if let Err(error) = &result {
            self.clock.note_read_error(error);
        }
        if result.is_ok() && buf.filled().len() > before {
            self.clock.note_read(&buf.filled()[before..]);
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncRead + Unpin> ClockedIo<S> {
    /// Fails a write with `error`, once the peer is heard out. Who closes a connection says why (GOAWAY,
    /// a TLS alert) and may then reset it; whether a write fails before that is read is chance.
    ///
    /// The error of the write says that the socket is broken, so that reading comes to an end, too.
    fn fail(&mut self, cx: &mut Context<'_>, error: io::Error) -> Poll<io::Error> {
        let mut bytes = [0; 4096];
        for _ in 0..LAST_READS {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => self.clock.note_read(buf.filled()),
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(last)) => {
                    self.clock.note_read_error(&last);
                    break;
                }
                Poll::Pending => {
                    self.failing = Some(error);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(error)
    }

    /// Runs one operation of the writing side.
    fn writing<T>(
        &mut self,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let error = match self.failing.take() {
            Some(error) => error,
            None => match operation(Pin::new(&mut self.stream), cx) {
                Poll::Ready(Err(error)) => error,
                other => return other,
            },
        };
        self.fail(cx, error).map(Err)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClockedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let began = Instant::now();
        let result = self.writing(cx, |stream, cx| stream.poll_write(cx, buf));
        self.clock.note_write(began, result.is_pending() && self.failing.is_none());
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(self.writing(cx, |stream, cx| stream.poll_flush(cx)));
        let mut noted = self.clock.noted();
        if result.is_ok()
            && let Some(began) = noted.unflushed.take()
        {
            if noted.flushes.len() == FLUSHES_KEPT {
                noted.flushes.pop_front();
            }
            noted.flushes.push_back(Flush { began, ended: Instant::now() });
        }
        drop(noted);
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let began = Instant::now();
        let result = self.writing(cx, |stream, cx| stream.poll_write_vectored(cx, bufs));
        self.clock.note_write(began, result.is_pending() && self.failing.is_none());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn notes_reads_flushes_and_the_end() {
        let (near, mut far) = tokio::io::duplex(64);
        let clock = Arc::new(IoClock::default());
        let mut io = ClockedIo::new(near, Arc::clone(&clock));
        let start = Instant::now();
        io.flush().await.unwrap();
        assert_eq!(clock.flushed_after(start), None, "a flush of nothing is none");
        io.write_all(b"abc").await.unwrap();
        assert_eq!(clock.flushed_after(start), None);
        io.flush().await.unwrap();
        let flushed = clock.flushed_after(start).unwrap();
        assert!(flushed >= start && clock.flushed_after(Instant::now()).is_none());

        assert!(!clock.read_after(start));
        // SETTINGS without a parameter, and half of the next frame's header.
        far.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
        io.read_exact(&mut [0; 12]).await.unwrap();
        assert!(matches!(clock.begun().await, Begun::Settings(at) if at >= flushed));
        assert!(clock.read_after(start) && !clock.read_after(Instant::now()));
    }

    #[tokio::test]
    async fn a_write_that_finds_no_room_is_one_stall() {
        let (near, mut far) = tokio::io::duplex(4);
        let events = Arc::new(EventLog::default());
        let mut io = ClockedIo::new(near, Arc::new(IoClock::new(Arc::clone(&events))));
        let writing = tokio::spawn(async move { io.write_all(&[0; 64]).await });
        far.read_exact(&mut [0; 4]).await.unwrap();
        let stall = ConnectionEvent { kind: EventKind::SendStall, reason: EventReason::Socket };
        assert_eq!(events.take()[0].0, stall);
        far.read_exact(&mut [0; 60]).await.unwrap();
        writing.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_speaks_something_else_is_noticed_at_once() {
        let (near, mut far) = tokio::io::duplex(64);
        let clock = Arc::new(IoClock::default());
        let mut io = ClockedIo::new(near, Arc::clone(&clock));
        far.write_all(b"SSH-2.0").await.unwrap();
        io.read_exact(&mut [0; 7]).await.unwrap();
        assert_eq!(clock.begun().await, Begun::Otherwise);
    }

    #[tokio::test]
    async fn a_peer_that_says_why_and_goes_is_heard_although_the_write_fails_first() {
        let (near, mut far) = tokio::io::duplex(64);
        let clock = Arc::new(IoClock::default());
        let mut io = ClockedIo::new(near, Arc::clone(&clock));
        // GOAWAY with ENHANCE_YOUR_CALM, and the end.
        far.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]).await.unwrap();
        drop(far);
        io.write_all(b"abc").await.unwrap_err();
        assert_eq!(clock.goaway(), Some(EventReason::EnhanceYourCalm));
    }

    #[tokio::test]
    async fn a_stream_that_ends_in_silence_never_begins() {
        let (near, _far) = tokio::io::duplex(64);
        let clock = Arc::new(IoClock::default());
        let io = ClockedIo::new(near, Arc::clone(&clock));
        let waiting = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move { clock.begun().await }
        });
        tokio::task::yield_now().await;
        drop(io);
        assert_eq!(waiting.await.unwrap(), Begun::Never);
        assert_eq!(clock.begun().await, Begun::Never);
    }
}
