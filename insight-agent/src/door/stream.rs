//! A connection whose waits all end: closed when its place is wanted, when it asks nothing in time, and when
//! its peer takes nothing.

use super::Place;
use crate::model::refusal::Refusal;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

/// A stream with a [`Place`] that breaks where its peer would hold it for ever.
#[derive(Debug)]
pub struct Guest<S> {
    stream: S,
    place: Arc<Place>,
    /// Ends when a newcomer needs the place. **None**: it has.
    closed: Option<oneshot::Receiver<()>>,
    /// The time to ask something. **None**: it has asked.
    arriving: Option<Pin<Box<Sleep>>>,
    patience: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Guest<S> {
    pub(super) fn new(
        stream: S,
        place: Arc<Place>,
        closed: oneshot::Receiver<()>,
        first: Duration,
        patience: Duration,
    ) -> Self {
        let arriving = Some(Box::pin(sleep(first)));
        Self { stream, place, closed: Some(closed), arriving, patience, waiting: None }
    }

    /// Its place, to say what goes on.
    pub fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Fails once the connection has to end.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        // Polled again after its end, a channel panics.
        if self.closed.as_mut().is_some_and(|closed| Pin::new(closed).poll(cx).is_ready()) {
            self.closed = None;
        }
        if self.closed.is_none() {
            return Err(io::Error::new(ErrorKind::ConnectionAborted, "its place went to another connection"));
        }
        if self.place.asked.load(Ordering::Relaxed) {
            self.arriving = None;
        }
        if self.arriving.as_mut().is_some_and(|arriving| arriving.as_mut().poll(cx).is_ready()) {
            self.arriving = None;
            self.place.refuse(Refusal::NoRequest);
            return Err(io::Error::new(ErrorKind::TimedOut, "no whole request in time"));
        }
        Ok(())
    }

    /// Passes a write's outcome on, unless it has been waiting for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        self.check(cx)?;
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        self.place.refuse(Refusal::SlowReader);
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the peer takes no data")))
    }
}

impl Guest<TcpStream> {
    /// Waits until the peer has sent something, or has gone.
    ///
    /// # Errors
    /// It did not in time, or its place was wanted.
    pub async fn spoken(&mut self) -> io::Result<()> {
        poll_fn(|cx| match self.stream.poll_read_ready(cx)? {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => {
                self.check(cx)?;
                Poll::Pending
            }
        })
        .await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guest<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if Pin::new(&mut self.stream).poll_read(cx, buf)?.is_pending() {
            self.check(cx)?;
            return Poll::Pending;
        }
        if buf.filled().len() > before {
            self.place.heard.store(true, Ordering::Relaxed);
            // One byte at a time is no reason to wait longer.
            self.check(cx)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guest<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Door, Limits};
    use super::*;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// Short waits, so that the tests do not take theirs.
    fn limits() -> Limits {
        let (first_request, write) = (Duration::from_millis(300), Duration::from_millis(600));
        Limits { first_request, write, ..Limits::new(8, 8) }
    }

    fn guest<S>(door: &Arc<Door>, stream: S) -> Guest<S> {
        door.let_in(stream, [127, 0, 0, 1].into()).unwrap()
    }

    fn count(door: &Door, reason: Refusal) -> u64 {
        door.refused().find(|&(known, _)| known == reason).unwrap().1
    }

    #[tokio::test]
    async fn peer_that_takes_nothing_breaks_the_connection_in_time() {
        let door = Door::new(limits());
        let (stream, _peer) = duplex(16);
        let mut stream = guest(&door, stream);
        stream.place().begin();
        let start = Instant::now();
        let error = stream.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= limits().write, "{:?}", start.elapsed());
        assert_eq!(count(&door, Refusal::SlowReader), 1);
    }

    #[tokio::test]
    async fn slow_but_steady_reader_gets_everything() {
        let door = Door::new(limits());
        let (stream, mut peer) = duplex(16);
        let mut stream = guest(&door, stream);
        stream.place().begin();
        let start = Instant::now();
        let writer = tokio::spawn(async move { stream.write_all(&[7; 256]).await });
        let (mut all, mut part) = (0, [0; 16]);
        while all < 256 {
            sleep(Duration::from_millis(60)).await;
            all += peer.read(&mut part).await.unwrap();
        }
        writer.await.unwrap().unwrap();
        assert!(start.elapsed() > limits().write, "it took longer than any one wait may");
        assert_eq!(count(&door, Refusal::SlowReader), 0);
    }

    #[tokio::test]
    async fn bytes_without_a_request_do_not_prolong_the_wait() {
        let door = Door::new(limits());
        let (stream, mut peer) = duplex(16);
        let mut stream = guest(&door, stream);
        let drip = tokio::spawn(async move {
            while peer.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        let start = Instant::now();
        let mut all = Vec::new();
        assert!(stream.read_to_end(&mut all).await.is_err());
        assert!(start.elapsed() >= limits().first_request, "{:?}", start.elapsed());
        assert!(all.len() > 1, "it had come in parts");
        assert_eq!(count(&door, Refusal::NoRequest), 1);
        drop(stream);
        drip.await.unwrap();
    }
}
