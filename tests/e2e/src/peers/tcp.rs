//! Peers that fail below HTTP/2.

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use std::io::ErrorKind;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Accepts (the kernel does) and never says a word: a process that is stuck.
#[derive(Debug)]
pub struct Silent {
    _listener: TcpListener,
}

impl Silent {
    /// Listens at `address`.
    ///
    /// # Panics
    /// The address is taken.
    pub fn start(address: SocketAddr) -> Self {
        Self { _listener: listener(address) }
    }
}

/// Lets SYNs go unanswered: a host that is down, or a firewall that drops.
///
/// Its accept queue is full, and Linux drops the SYNs that come on top.
#[derive(Debug)]
pub struct BlackHole {
    _listener: OwnedFd,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// Listens at `address` and fills the queue.
    ///
    /// # Panics
    /// The address is taken, or the queue takes connections without end.
    pub fn start(address: SocketAddrV4) -> Self {
        let listener = listen_without_queue(address);
        let listener = listener.unwrap_or_else(|error| panic!("listen at {address}: {error}"));
        let mut queued = Vec::new();
        // A backlog of 0 holds one connection; a second one may still be half open.
        for _ in 0..8 {
            // Below the 1 s after which the kernel sends a SYN again.
            match TcpStream::connect_timeout(&address.into(), Duration::from_millis(300)) {
                Ok(stream) => queued.push(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Self { _listener: listener, _queued: queued };
                }
                Err(error) => panic!("fill the queue of {address}: {error}"),
            }
        }
        panic!("the queue of {address} took {} connections and is not full", queued.len())
    }
}

/// Accepts and closes at once: what a balancer without a backend does.
#[derive(Debug)]
pub struct Closing {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Closing {
    /// Listens at `address`.
    ///
    /// # Panics
    /// The address is taken.
    pub fn start(address: SocketAddr) -> Self {
        let listener = listener(address);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                drop(stream);
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // One more connection, so that the thread looks.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The standard library's listener asks for a queue of its own choice.
fn listen_without_queue(address: SocketAddrV4) -> nix::Result<OwnedFd> {
    let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // A test before this one may have left connections of this address in TIME_WAIT.
    setsockopt(&listener, sockopt::ReuseAddr, &true)?;
    bind(listener.as_raw_fd(), &SockaddrIn::from(address))?;
    listen(&listener, Backlog::new(0)?)?;
    Ok(listener)
}

fn listener(address: SocketAddr) -> TcpListener {
    TcpListener::bind(address).unwrap_or_else(|error| panic!("listen at {address}: {error}"))
}
