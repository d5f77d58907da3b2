//! Accepting gRPC connections with bounds: the receiver's port is made to be reached from other
//! hosts, and what stands there in silence must not cost the agent its file descriptors.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tonic::transport::server::Connected;

/// Connections that may be open at once; further ones wait in the kernel's queue. A region's senders
/// and their fresh probes take some dozens.
const MAX_CONNECTIONS: usize = 512;
/// How long a connection may stay silent before its first byte: a client speaks first, at once.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// Pause after an accept that failed, most likely for want of file descriptors: trying again at once
/// would only burn the thread that probes' figures depend on.
const PAUSE: Duration = Duration::from_millis(200);

/// Accepts connections that have begun to speak, until its receiver is dropped.
pub(super) fn accept(listener: TcpListener) -> mpsc::Receiver<io::Result<Bounded>> {
    let (ready, accepted) = mpsc::channel(1);
    tokio::spawn(async move {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut waiting = JoinSet::new();
        loop {
            // The semaphore is never closed, so an error cannot come.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let stream = tokio::select! {
                () = ready.closed() => return,
                stream = listener.accept() => stream,
            };
            while waiting.try_join_next().is_some() {}
            match stream {
                Ok((stream, peer)) => {
                    let ready = ready.clone();
                    waiting.spawn(async move {
                        let spoke = tokio::time::timeout(FIRST_BYTE, stream.readable()).await;
                        if matches!(spoke, Ok(Ok(()))) && stream.set_nodelay(true).is_ok() {
                            // Nobody accepts any more: the connection is closed with the listener.
                            let _ = ready.send(Ok(Bounded { stream, peer, _permit: permit })).await;
                        }
                    });
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

/// A connection that counts against the bound as long as it is open.
#[derive(Debug)]
pub(super) struct Bounded {
    stream: TcpStream,
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Bounded {
    type ConnectInfo = SocketAddr;

    fn connect_info(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
