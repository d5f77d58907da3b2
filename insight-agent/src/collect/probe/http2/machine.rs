//! The protocol without its socket: bytes in, bytes out, and what they mean for each stream.
//!
//! **Source**: RFC 9113.

use super::error::{Break, ErrorCode};
use super::frame;
use super::headers;
use super::hpack::{self, Decoder};
use super::stream::{Answer, Came, End, Piece, Stream, remember};
use super::{Begun, WINDOW};
use crate::model::connection_event::EventReason;
use bytes::Bytes;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// What waits to be written at most, before bodies wait with it. Beyond twice of it, a peer makes this end answer
/// and does not read the answers.
pub(super) const OUT_MOST: usize = 64 * 1024;

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::collect::probe) enum Ended {
    /// Closed, or GOAWAY without an error.
    Peace,
    Broke(Break),
}

/// What the peer's last GOAWAY said.
#[derive(Debug, Clone, Copy)]
pub(super) struct GoAway {
    /// The last stream that it looks at.
    pub(super) last: u32,
    pub(super) code: ErrorCode,
    pub(super) reason: EventReason,
}

/// A header block that is not whole yet.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) ends: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) frames: usize,
}

/// A PING under way.
#[derive(Debug)]
pub(super) struct Ping {
    pub(super) data: [u8; 8],
    pub(super) began: Option<Instant>,
    pub(super) came: Option<Came>,
    pub(super) waker: Option<Waker>,
}

/// Whether a stream was opened.
pub(super) enum Opened {
    /// With this number.
    Stream(u32),
    /// The peer takes no more at the same time.
    Full,
    Never(Break),
}

/// A client's end of a connection.
#[derive(Debug)]
pub(super) struct Machine {
    /// A frame that is not whole yet.
    pub(super) partial: Vec<u8>,
    pub(super) block: Option<Block>,
    pub(super) decoder: Decoder,
    pub(super) begun: Option<Begun>,
    pub(super) has_settings: bool,
    pub(super) goaway: Option<GoAway>,
    pub(super) ended: Option<Ended>,

    /// What is to be written next.
    pub(super) out: Vec<u8>,
    pub(super) has_told_table: bool,
    pub(super) window: i64,
    pub(super) initial_window: i64,
    pub(super) streams_most: usize,

    pub(super) receive_window: i64,
    pub(super) taken: u32,

    pub(super) next_stream: u32,
    // Boxed: thousands of idle connections have room for none.
    #[expect(clippy::vec_box, reason = "an idle connection keeps next to nothing")]
    pub(super) streams: Vec<Box<Stream>>,
    pub(super) ping: Option<Ping>,
    pub(super) pings: u64,
    /// Somebody who waits for the connection itself may go on.
    pub(super) has_changed: bool,
}

impl Machine {
    /// At its beginning: what a client says first is to be written.
    pub(super) fn new() -> Self {
        let mut out = frame::PREFACE.to_vec();
        let settings = [
            (frame::HEADER_TABLE_SIZE, 0),
            (frame::ENABLE_PUSH, 0),
            (frame::INITIAL_WINDOW_SIZE, WINDOW),
            (frame::MAX_HEADER_LIST_SIZE, headers::LIST_MOST),
        ];
        frame::write_settings(&mut out, &settings);
        frame::write_window_update(&mut out, 0, WINDOW - 65_535);
        Self {
            partial: Vec::new(),
            block: None,
            decoder: Decoder::default(),
            begun: None,
            has_settings: false,
            goaway: None,
            ended: None,
            out,
            has_told_table: false,
            window: 65_535,
            initial_window: 65_535,
            streams_most: usize::MAX,
            receive_window: i64::from(WINDOW),
            taken: 0,
            next_stream: 1,
            streams: Vec::new(),
            ping: None,
            pings: 0,
            has_changed: false,
        }
    }

    /// The reason of the last GOAWAY. **None**: there was none.
    pub(super) fn goaway(&self) -> Option<EventReason> {
        self.goaway.map(|goaway| goaway.reason)
    }

    /// Why no new stream can be opened. **None**: one can, now or once others have ended.
    pub(super) fn refuses(&self) -> Option<Break> {
        match (&self.ended, self.goaway) {
            (Some(Ended::Broke(why)), _) => Some(why.clone()),
            (_, Some(goaway)) => Some(Break::Refused(goaway.code)),
            (Some(Ended::Peace), _) => Some(Break::Closed),
            _ if self.next_stream > 0x7fff_ffff => Some(Break::Exhausted),
            _ => None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    // ---- requests ---------------------------------------------------------------------------

    /// Opens a stream for a request with this header block.
    pub(super) fn open(&mut self, block: &[u8], body: &Bytes) -> Opened {
        if let Some(why) = self.refuses() {
            return Opened::Never(why);
        }
        if self.streams.iter().filter(|stream| stream.is_open()).count() >= self.streams_most {
            return Opened::Full;
        }
        let id = self.next_stream;
        self.next_stream += 2;
        self.write_block(id, block, body.is_empty());
        self.streams.push(Box::new(Stream::new(id, body.clone(), self.initial_window)));
        self.pump();
        Opened::Stream(id)
    }

    fn write_block(&mut self, stream: u32, block: &[u8], ends: bool) {
        let told;
        let mut rest = block;
        if !self.has_told_table {
            self.has_told_table = true;
            told = [&[hpack::NO_TABLE], block].concat();
            rest = &told;
        }
        let (mut kind, mut flags) = (frame::HEADERS, if ends { frame::END_STREAM } else { 0 });
        loop {
            let (now, later) = rest.split_at(rest.len().min(frame::PAYLOAD_MOST));
            flags |= if later.is_empty() { frame::END_HEADERS } else { 0 };
            frame::write(&mut self.out, kind, flags, stream, now);
            if later.is_empty() {
                return;
            }
            (kind, flags, rest) = (frame::CONTINUATION, 0, later);
        }
    }

    /// Frames as much of the bodies as the peer's windows take.
    pub(super) fn pump(&mut self) {
        for stream in &mut self.streams {
            let sending = &mut stream.sending;
            while !sending.is_framed && stream.broken.is_none() && self.out.len() < OUT_MOST {
                let room = self.window.min(sending.window).max(0);
                let length = sending
                    .body
                    .len()
                    .min(frame::PAYLOAD_MOST)
                    .min(usize::try_from(room).unwrap_or(usize::MAX));
                if length == 0 {
                    break;
                }
                let piece = sending.body.split_to(length);
                sending.is_framed = sending.body.is_empty();
                let flags = if sending.is_framed { frame::END_STREAM } else { 0 };
                frame::write(&mut self.out, frame::DATA, flags, stream.id, &piece);
                self.window -= length as i64;
                sending.window -= length as i64;
            }
        }
    }

    /// What is in `out` is about to be written.
    pub(super) fn note_writing(&mut self, now: Instant) {
        for stream in &mut self.streams {
            stream.sending.began.get_or_insert(now);
        }
        if let Some(ping) = &mut self.ping {
            ping.began.get_or_insert(now);
        }
    }

    /// All that was in `out` is on the socket.
    pub(super) fn note_flushed(&mut self, now: Instant) {
        for stream in self.streams.iter_mut().filter(|stream| stream.sending.is_framed) {
            stream.sending.written.get_or_insert(now);
        }
    }

    /// The stream of a request that somebody still holds.
    pub(super) fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id).map(|stream| &mut **stream)
    }

    /// Takes the beginning of an answer.
    pub(super) fn poll_answer(&mut self, id: u32, cx: &mut Context<'_>) -> Poll<Result<Answer, Break>> {
        let Some(stream) = self.stream(id) else { return Poll::Ready(Err(Break::Closed)) };
        match stream.receiving.answer.take() {
            Some(answer) => Poll::Ready(Ok(answer)),
            None => stream.wait(cx),
        }
    }

    /// Takes the next piece of an answer. **None**: it has ended.
    pub(super) fn poll_piece(&mut self, id: u32, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Break>> {
        let Some(stream) = self.stream(id) else { return Poll::Ready(Err(Break::Closed)) };
        if let Some(piece) = stream.receiving.pieces.pop_front() {
            self.release(Some(id), piece.bytes.len());
            return Poll::Ready(Ok(Some(piece)));
        }
        if stream.receiving.end.is_some() {
            return Poll::Ready(Ok(None));
        }
        stream.wait(cx)
    }

    /// How an answer ended, with the trailers for whoever asks first.
    pub(super) fn take_end(&mut self, id: u32) -> Option<End> {
        let end = self.stream(id)?.receiving.end.as_mut()?;
        Some(End { trailers: end.trailers.take(), came: end.came })
    }

    /// Nobody wants this stream's answer any more.
    pub(super) fn close(&mut self, id: u32) {
        let Some(at) = self.streams.iter().position(|stream| stream.id == id) else { return };
        let stream = self.streams.swap_remove(at);
        if stream.is_open() && self.ended.is_none() {
            frame::write_reset(&mut self.out, id, ErrorCode::CANCEL);
        }
        let left: usize = stream.receiving.pieces.iter().map(|piece| piece.bytes.len()).sum();
        self.release(None, left);
        if self.streams.is_empty() {
            self.streams = Vec::new();
        }
        self.has_changed = true;
    }

    /// Opens the windows again for bytes that are out of the way, once it is worth a frame.
    pub(super) fn release(&mut self, stream: Option<u32>, bytes: usize) {
        let bytes = bytes as u32;
        self.taken += bytes;
        if self.taken >= WINDOW / 2 {
            self.receive_window += i64::from(self.taken);
            frame::write_window_update(&mut self.out, 0, std::mem::take(&mut self.taken));
        }
        let Some(stream) = stream.and_then(|id| self.streams.iter_mut().find(|stream| stream.id == id))
        else {
            return;
        };
        let receiving = &mut stream.receiving;
        receiving.taken += bytes;
        if receiving.taken >= WINDOW / 2 && receiving.end.is_none() {
            receiving.window += i64::from(receiving.taken);
            frame::write_window_update(&mut self.out, stream.id, std::mem::take(&mut receiving.taken));
        }
    }

    // ---- PING -------------------------------------------------------------------------------

    /// Sends a PING. `false`: one is under way, or the connection has ended.
    pub(super) fn ping(&mut self) -> bool {
        if self.ended.is_some() || self.ping.as_ref().is_some_and(|ping| ping.came.is_none()) {
            return false;
        }
        self.pings += 1;
        let data = self.pings.to_be_bytes();
        frame::write(&mut self.out, frame::PING, 0, 0, &data);
        self.ping = Some(Ping { data, began: None, came: None, waker: None });
        true
    }

    /// Whether one was ever sent.
    pub(super) fn was_pinged(&self) -> bool {
        self.pings > 0
    }

    /// From its first write to its answer. **None**: the connection ended.
    pub(super) fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<Option<std::time::Duration>> {
        let Some(ping) = &mut self.ping else { return Poll::Ready(None) };
        if let Some((began, came)) = ping.began.zip(ping.came) {
            self.ping = None;
            return Poll::Ready(Some(came.since(began).0.saturating_duration_since(began)));
        }
        if self.ended.is_some() {
            return Poll::Ready(None);
        }
        remember(&mut ping.waker, cx);
        Poll::Pending
    }

    // ---- the end ----------------------------------------------------------------------------

    /// Ends the connection from this side.
    pub(super) fn say_goodbye(&mut self) {
        if self.ended.is_none() {
            frame::write_goaway(&mut self.out, ErrorCode::NO_ERROR);
            self.finish(Break::Closed);
        }
    }

    /// Takes that nothing more comes, or why it cannot be read.
    pub(super) fn finish(&mut self, why: Break) {
        if self.ended.is_some() {
            return;
        }
        let gone = self.goaway.filter(|goaway| !goaway.code.is_none()).map(|goaway| Break::Gone(goaway.code));
        match (gone, &why) {
            (Some(gone), Break::Closed | Break::Io { .. }) => self.end(Ended::Broke(gone.clone()), &gone),
            (_, Break::Closed) => self.end(Ended::Peace, &why),
            _ => {
                if matches!(why, Break::Protocol { .. } | Break::Flood(_)) {
                    frame::write_goaway(&mut self.out, why.code());
                }
                self.end(Ended::Broke(why.clone()), &why);
            }
        }
    }

    fn end(&mut self, ended: Ended, why: &Break) {
        self.ended = Some(ended);
        self.begun.get_or_insert(Begun::Never);
        self.streams.iter_mut().for_each(|stream| stream.break_off(why.clone()));
        if let Some(waker) = self.ping.as_mut().and_then(|ping| ping.waker.take()) {
            waker.wake();
        }
        (self.partial, self.block) = (Vec::new(), None);
        self.has_changed = true;
    }
}

impl Stream {
    /// Why there is nothing to be taken, or that it may still come.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Break>> {
        if let Some(why) = &self.broken {
            return Poll::Ready(Err(why.clone()));
        }
        remember(&mut self.waker, cx);
        Poll::Pending
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
