//! Accepting gRPC connections with bounds: the receiver's port is made to be reached from other
//! hosts, and what stands there in silence must not cost the agent its file descriptors.
//!
//! The [`Door`] says who gets in and who has to go. The TLS handshake is made here, in time, so that a
//! connection reaches the services when it has something to say.

use super::frames::{Frames, Preface};
use crate::door::{Door, Guest, Place};
use crate::model::refusal::Refusal;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// Pause after an accept that failed, most likely for want of file descriptors: trying again at once
/// would only burn the thread that probes' figures depend on.
const PAUSE: Duration = Duration::from_millis(200);

/// Accepts connections that have begun to speak, until its receiver is dropped.
pub(super) fn accept(
    listener: TcpListener,
    door: Arc<Door>,
    tls: Option<TlsAcceptor>,
) -> mpsc::Receiver<io::Result<Caller>> {
    let (ready, accepted) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut arriving = JoinSet::new();
        loop {
            let stream = tokio::select! {
                () = ready.closed() => return,
                stream = listener.accept() => stream,
            };
            while arriving.try_join_next().is_some() {}
            match stream {
                Ok((stream, peer)) => {
                    // A failure means that the peer has gone, which the first read will say.
                    let _ = stream.set_nodelay(true);
                    let Some(guest) = door.let_in(stream, peer.ip()) else { continue };
                    let (ready, tls, inside) = (ready.clone(), tls.clone(), Arc::clone(&door));
                    arriving.spawn(async move {
                        match greet(guest, tls, &inside).await {
                            // Nobody accepts any more: the connection is closed with the listener.
                            Ok(caller) => drop(ready.send(Ok(caller)).await),
                            Err(error) => {
                                tracing::debug!(%error, "[grpc] a connection did not get to a request")
                            }
                        }
                    });
                    door.settled().await;
                }
                Err(error) => {
                    tracing::warn!("[grpc] accept: {error}: check the limit on open files");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    });
    accepted
}

async fn greet(mut guest: Guest<TcpStream>, tls: Option<TlsAcceptor>, door: &Door) -> io::Result<Caller> {
    let place = Arc::clone(guest.place());
    guest.spoken().await?;
    let stream = match tls {
        None => Stream::Plain(guest),
        Some(acceptor) => Stream::Tls(Box::new(door.handshake(acceptor, guest).await?)),
    };
    let (sent, got) = (Frames::incoming(), Frames::outgoing());
    Ok(Caller { stream, place, preface: Preface::default(), sent, got })
}

/// A connection that a service may answer on.
#[derive(Debug)]
pub(super) struct Caller {
    stream: Stream,
    place: Arc<Place>,
    preface: Preface,
    sent: Frames,
    got: Frames,
}

#[derive(Debug)]
enum Stream {
    Plain(Guest<TcpStream>),
    Tls(Box<TlsStream<Guest<TcpStream>>>),
}

/// Calls a method of the stream, whichever it is.
macro_rules! either {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match &mut $self.stream {
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl Connected for Caller {
    type ConnectInfo = Arc<Place>;

    fn connect_info(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }
}

impl AsyncRead for Caller {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = either!(self, poll_read(cx, buf));
        let Self { place, preface, sent, .. } = &mut *self;
        let read = &buf.filled()[before..];
        if preface.is_broken_by(read) {
            place.refuse(Refusal::Malformed);
        }
        sent.feed(read, |reason| place.refuse(reason));
        polled
    }
}

impl AsyncWrite for Caller {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = either!(self, poll_write(cx, buf));
        if let Poll::Ready(Ok(written)) = polled {
            self.note(&buf[..written]);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = either!(self, poll_write_vectored(cx, bufs));
        if let Poll::Ready(Ok(mut written)) = polled {
            for buf in bufs {
                let part = written.min(buf.len());
                self.note(&buf[..part]);
                written -= part;
            }
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

impl Caller {
    fn note(&mut self, written: &[u8]) {
        let Self { got, place, .. } = self;
        got.feed(written, |reason| place.refuse(reason));
    }
}
