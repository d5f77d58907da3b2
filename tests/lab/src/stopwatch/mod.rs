//! A double of an Insight receiver that knows to the microsecond how long it took: one thread, no
//! runtime, and the clock read beside the system call that reads and the one that writes.
//!
//! What a prober measures beyond the time that it is told so is the two machines' networks and the
//! prober's own error. A real receiver's runtime would be in it, too.

mod connection;
mod frames;

use anyhow::{Context, Result, ensure};
use connection::Connection;
use frames::Asked;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The listener's number among the events; connections count from 1.
const LISTENER: u64 = 0;

/// Events that are taken at once.
const EVENTS: usize = 256;

/// How it waits, and for how long it lives.
#[derive(Debug, Clone, Copy)]
pub struct StopwatchOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether it asks all the time, on a CPU of its own, and so is never late; else it sleeps.
    pub spin: bool,
    /// When it ends at the latest.
    pub lifetime: Duration,
}

/// A request whose answer is due.
type Due = Reverse<(Instant, u64, u32)>;

/// Answers until the lifetime is over.
///
/// # Errors
/// It cannot listen, or the system cannot wait for events.
pub fn run(options: StopwatchOptions) -> Result<()> {
    let listener =
        TcpListener::bind(options.listen).with_context(|| format!("listen on {}", options.listen))?;
    listener.set_nonblocking(true).context("make the listener non-blocking")?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("make an epoll instance")?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER)).context("wait for connections")?;
    let end = Instant::now() + options.lifetime;
    let mut all = Stopwatch { epoll, listener, connections: HashMap::new(), next: 1, due: BinaryHeap::new() };
    let mut events = [EpollEvent::empty(); EVENTS];
    while Instant::now() < end {
        let patience = all.patience(options.spin);
        let count = match all.epoll.wait(&mut events, patience) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error).context("wait for events"),
        };
        for event in &events[..count] {
            match event.data() {
                LISTENER => all.accept()?,
                number => all.serve(number),
            }
        }
        all.answer_due();
    }
    Ok(())
}

struct Stopwatch {
    epoll: Epoll,
    listener: TcpListener,
    connections: HashMap<u64, Connection>,
    next: u64,
    due: BinaryHeap<Due>,
}

impl Stopwatch {
    /// How long it may sleep: the system's sleep is too coarse for what is due within a millisecond.
    fn patience(&self, spin: bool) -> EpollTimeout {
        const LONGEST: u16 = 100;
        if spin {
            return EpollTimeout::ZERO;
        }
        let due = self.due.peek().map(|Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
        let whole = due.map_or(LONGEST, |due| u16::try_from(due.as_millis()).unwrap_or(LONGEST).min(LONGEST));
        EpollTimeout::from(whole)
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    return Err(error).context("accept a connection: is the limit on open files reached?");
                }
            };
            ensure!(
                stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).is_ok(),
                "set a socket up"
            );
            let number = self.next;
            self.next += 1;
            self.epoll
                .add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number))
                .context("wait for requests")?;
            self.connections.insert(number, Connection::new(stream));
        }
    }

    /// Reads what has come. What is due at once is answered at once.
    fn serve(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.read() {
            Ok(asked) => {
                for Asked { stream, due } in asked {
                    self.due.push(Reverse((due, number, stream)));
                }
            }
            // It is over; what is due on it has nobody to go to.
            Err(_) => drop(self.connections.remove(&number)),
        }
    }

    fn answer_due(&mut self) {
        while let Some(Reverse((due, number, stream))) = self.due.peek().copied() {
            if due > Instant::now() {
                return;
            }
            self.due.pop();
            let answered = self.connections.get_mut(&number).map(|connection| connection.answer(stream));
            if answered.is_some_and(|answered| answered.is_err()) {
                self.connections.remove(&number);
            }
        }
    }
}
