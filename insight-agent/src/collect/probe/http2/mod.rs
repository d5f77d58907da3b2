//! HTTP/2 as a prober needs it: a client that times every request by itself, hears all that a peer says about
//! the connection, and keeps next to nothing for one that is idle.
//!
//! Buffers belong to the thread and to what is under way, and not to the connection: a prober has thousands of
//! those, and one request a second on each. A request is written by whoever makes it, and not by another task,
//! so that its beginning is its beginning; a `Connection`'s driver reads, and writes what did not fit at once.
//!
//! - `machine`: the protocol, without a socket or a clock, and `hear` what it makes of frames; `hpack`, `huffman`, `headers` and `frame`
//!   are its alphabet.
//! - `connection`: the socket, its clocks, and the tasks that wait.
//!
//! What it leaves out: servers' pushes, priorities, trailers of requests, and a dynamic table of its own.

mod connection;
mod error;
mod frame;
mod headers;
mod hear;
mod hpack;
mod huffman;
mod io;
mod machine;
mod overhear;
mod stream;

pub(super) use connection::{Connection, Exchange};
pub(super) use error::{Break, ErrorCode};
pub(super) use headers::LIST_MOST;
pub(super) use hpack::write_field;
pub(super) use io::Io;
pub(super) use machine::Ended;
pub use overhear::{Overheard, overhear};
pub(super) use stream::{Answer, Came};

use std::time::Instant;

/// Receive windows of a stream and of a connection: one large-payload answer without waiting for an update.
const WINDOW: u32 = 8 * 1024 * 1024;

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
