//! The socket below a probe's connection: TCP, or a UNIX socket of this host.
//!
//! What asks the kernel about it (`TCP_INFO`, stamps of arrival) is told nothing by a UNIX socket: its kernel
//! code stamps datagrams and never streams, so there the moment of the read counts.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to a path, or to `@NAME` of the abstract namespace. The kernel decides at once, whether or not
    /// anybody accepts.
    pub(super) async fn connect_unix(name: &str) -> io::Result<Self> {
        let stream = match name.strip_prefix('@') {
            Some(name) => UnixStream::connect(format!("\0{name}")).await,
            None => UnixStream::connect(name).await,
        };
        stream.map(Self::Unix)
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Runs a call that reads, and takes note if there was nothing to read.
    pub(super) fn try_reading<T>(&self, read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, read),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, read),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    pub(super) fn try_write_vectored(&self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(parts),
            Self::Unix(stream) => stream.try_write_vectored(parts),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::probe::stamped::Stamped;
    use crate::collect::probe::tcp_info::{TcpInfo, read_tcp_info};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_unix_socket_carries_bytes_and_the_kernel_tells_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let socket = Arc::new(Socket::connect_unix(path.to_str().unwrap()).await.unwrap());
        assert_eq!(read_tcp_info(socket.as_fd()), TcpInfo::default());
        let (mut far, _) = listener.accept().unwrap();
        let mut near = Stamped::new(socket);
        near.write_all(b"there").await.unwrap();
        let mut bytes = [0; 5];
        io::Read::read_exact(&mut far, &mut bytes).unwrap();
        assert_eq!(&bytes, b"there");
        io::Write::write_all(&mut far, b"back").unwrap();
        near.read_exact(&mut bytes[..4]).await.unwrap();
        assert_eq!(&bytes[..4], b"back");
        assert_eq!(near.stamp(), None, "its reads are stamped by whoever reads");
        drop(far);
        assert_eq!(near.read(&mut bytes).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_name_of_the_abstract_namespace_is_connected_to() {
        let name = format!("insight-test-{}", std::process::id());
        let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Socket::connect_unix(&format!("@{name}")).await.unwrap();
        let error = Socket::connect_unix("@insight-nobody-is-here").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = Socket::connect_unix("/no/such/socket").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_full_queue_of_connections_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Unix,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::empty(),
            None,
        )
        .unwrap();
        let address = nix::sys::socket::UnixAddr::new(&path).unwrap();
        nix::sys::socket::bind(listener.as_raw_fd(), &address).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1).unwrap()).unwrap();
        let mut held = Vec::new();
        let error = loop {
            match Socket::connect_unix(path.to_str().unwrap()).await {
                Ok(socket) => held.push(socket),
                Err(error) => break error,
            }
            assert!(held.len() < 10, "the queue takes more than it should");
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
