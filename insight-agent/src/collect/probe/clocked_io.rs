//! When did bytes leave and arrive? A stream that notes it, around whatever it carries.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// How many flushes are remembered: one RPC makes one to three, and at most
/// `max_in_flight` of them share a connection. With half of them a busy connection could forget
/// the flush of its slowest request; the request phase would then read shorter than it was.
const FLUSHES_KEPT: usize = 256;

/// The instants noted by a [`ClockedIo`], shared with whoever asks.
#[derive(Debug, Default)]
pub(super) struct IoClock {
    noted: Mutex<Noted>,
    first_read: Notify,
}

#[derive(Debug, Default)]
struct Noted {
    first_read: Option<Instant>,
    last_read: Option<Instant>,
    flushes: VecDeque<Instant>,
    unflushed: bool,
    ended: bool,
}

impl IoClock {
    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        // A poisoned lock only means that a reader panicked between two plain assignments.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the first byte was read. **None** when the stream ended before one came. Waits
    /// without bound: callers set the deadline. Cancelling loses nothing.
    pub(super) async fn first_read(&self) -> Option<Instant> {
        loop {
            let woken = self.first_read.notified();
            {
                let noted = self.noted();
                if noted.first_read.is_some() || noted.ended {
                    return noted.first_read;
                }
            }
            woken.await;
        }
    }

    /// When the first flush at or after `since` had put everything written before it onto the
    /// socket. **None** when there was none, or it is too long ago to be remembered.
    pub(super) fn flushed_after(&self, since: Instant) -> Option<Instant> {
        self.noted().flushes.iter().copied().find(|flushed| *flushed >= since)
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
}

impl<S> ClockedIo<S> {
    pub(super) fn new(stream: S, clock: Arc<IoClock>) -> Self {
        Self { stream, clock }
    }
}

impl<S> Drop for ClockedIo<S> {
    fn drop(&mut self) {
        self.clock.noted().ended = true;
        self.clock.first_read.notify_waiters();
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
        if result.is_ok() && buf.filled().len() > before {
            let now = Instant::now();
            let mut noted = self.clock.noted();
            noted.last_read = Some(now);
            if noted.first_read.is_none() {
                noted.first_read = Some(now);
                drop(noted);
                self.clock.first_read.notify_waiters();
            }
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClockedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.clock.noted().unflushed = true;
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        let mut noted = self.clock.noted();
        if result.is_ok() && std::mem::take(&mut noted.unflushed) {
            if noted.flushes.len() == FLUSHES_KEPT {
                noted.flushes.pop_front();
            }
            noted.flushes.push_back(Instant::now());
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
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.clock.noted().unflushed = true;
        Poll::Ready(result)
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

        far.write_all(b"x").await.unwrap();
        assert!(!clock.read_after(start));
        io.read_u8().await.unwrap();
        assert!(clock.first_read().await.unwrap() >= flushed);
        assert!(clock.read_after(start) && !clock.read_after(Instant::now()));
    }

    #[tokio::test]
    async fn a_stream_that_ends_in_silence_has_no_first_read() {
        let (near, _far) = tokio::io::duplex(64);
        let clock = Arc::new(IoClock::default());
        let io = ClockedIo::new(near, Arc::clone(&clock));
        let waiting = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move { clock.first_read().await }
        });
        tokio::task::yield_now().await;
        drop(io);
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!(clock.first_read().await, None);
    }
}
