//! One request and its answer, as far as they have come.

use super::WINDOW;
use super::error::Break;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::collections::VecDeque;
use std::task::{Context, Waker};
use std::time::Instant;

/// When bytes came: when this thread looked, and the kernel's own stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    pub(super) looked: Instant,
    /// **None**: the kernel did not say.
    pub(super) stamp: Option<Instant>,
}

impl Came {
    /// When it was, and whether the kernel says so: a stamp of before `since` is of other bytes.
    pub(in crate::collect::probe) fn since(self, since: Instant) -> (Instant, bool) {
        match self.stamp.filter(|stamp| (since..=self.looked).contains(stamp)) {
            Some(stamp) => (stamp, true),
            None => (self.looked, false),
        }
    }
}

/// The beginning of an answer.
#[derive(Debug)]
pub(in crate::collect::probe) struct Answer {
    pub(in crate::collect::probe) status: StatusCode,
    pub(in crate::collect::probe) headers: HeaderMap,
    pub(in crate::collect::probe) came: Came,
}

/// A part of an answer's body, as a frame brought it.
#[derive(Debug)]
pub(in crate::collect::probe) struct Piece {
    pub(in crate::collect::probe) bytes: Bytes,
    pub(in crate::collect::probe) came: Came,
}

/// The end of an answer.
#[derive(Debug)]
pub(super) struct End {
    /// **None**: there were none.
    pub(super) trailers: Option<HeaderMap>,
    pub(super) came: Came,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) broken: Option<Break>,
    /// RST_STREAM went one way or the other: nothing more may be said.
    pub(super) is_reset: bool,
    pub(super) waker: Option<Waker>,
}

#[derive(Debug)]
pub(super) struct Sending {
    /// What is not framed yet.
    pub(super) body: Bytes,
    /// All of it is framed.
    pub(super) is_framed: bool,
    pub(super) window: i64,
    /// When the first write of it began.
    pub(super) began: Option<Instant>,
    /// When all of it was on the socket.
    pub(super) written: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Receiving {
    pub(super) has_head: bool,
    pub(super) answer: Option<Answer>,
    pub(super) pieces: VecDeque<Piece>,
    pub(super) end: Option<End>,
    /// What the peer may still send.
    pub(super) window: i64,
    /// Bytes that were taken, and that the peer does not know of.
    pub(super) taken: u32,
    /// What content-length says that is still to come.
    pub(super) promised: Option<u64>,
}

/// Keeps whom to wake.
pub(super) fn remember(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

impl Stream {
    pub(super) fn new(id: u32, body: Bytes, window: i64) -> Self {
        Self {
            id,
            sending: Sending { is_framed: body.is_empty(), body, window, began: None, written: None },
            receiving: Receiving { window: i64::from(WINDOW), ..Receiving::default() },
            broken: None,
            is_reset: false,
            waker: None,
        }
    }

    /// Whether it counts among the peer's concurrent streams.
    pub(super) fn is_open(&self) -> bool {
        !(self.is_reset || self.broken.is_some() || (self.sending.is_framed && self.receiving.end.is_some()))
    }

    /// Whether an answer may still come.
    pub(super) fn is_waiting(&self) -> bool {
        self.broken.is_none() && self.receiving.end.is_none()
    }

    /// Ends it early, and tells whoever waits.
    pub(super) fn break_off(&mut self, why: Break) {
        if self.is_waiting() {
            self.broken = Some(why);
            // What is still to be sent has nowhere to go.
            self.sending.body = Bytes::new();
        }
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
