//! What a peer's frames do to a connection and to its streams.
//!
//! **Source**: RFC 9113, section 6.

use super::Begun;
use super::error::{Break, ErrorCode};
use super::frame::{self, Head};
use super::headers::{self, BLOCK_MOST};
use super::machine::{Block, GoAway, Machine, OUT_MOST};
use super::stream::{Answer, Came, End, Piece};
use crate::model::connection_event::{ConnectionEvent, EventKind, EventReason};
use bytes::Bytes;

/// Most frames of a header block: each costs something, also an empty one.
const BLOCK_FRAMES_MOST: usize = 1024;
/// Largest window that there is.
const WINDOW_MOST: i64 = 0x7fff_ffff;
/// What gRPC servers write into their GOAWAY for PINGs that come too often (gRPC proposal A8).
const TOO_MANY_PINGS: &[u8] = b"too_many_pings";

impl Machine {
    /// Takes the next bytes, in pieces of any size; `tell` is told what happens to the connection.
    pub(super) fn receive(&mut self, mut bytes: &[u8], came: Came, mut tell: impl FnMut(ConnectionEvent)) {
        while !bytes.is_empty() && self.ended.is_none() {
            let mut partial = std::mem::take(&mut self.partial);
            let result = if partial.is_empty() {
                self.first_frame(bytes, came, &mut tell).map(|read| match read {
                    Some(length) => bytes = &bytes[length..],
                    None => {
                        partial.extend_from_slice(bytes);
                        bytes = &[];
                        self.partial = std::mem::take(&mut partial);
                    }
                })
            } else {
                // A head first, and then what that says.
                let whole = Head::read(&partial).map_or(frame::HEAD, |head| frame::HEAD + head.length);
                let (now, rest) = bytes.split_at(bytes.len().min(whole - partial.len()));
                partial.extend_from_slice(now);
                bytes = rest;
                self.first_frame(&partial, came, &mut tell).map(|read| {
                    if read.is_none() {
                        self.partial = std::mem::take(&mut partial);
                    }
                })
            };
            if let Err(why) = result {
                self.finish(why);
            }
        }
    }

    /// Takes the frame that `bytes` begin with. **None**: it is not whole.
    fn first_frame(
        &mut self,
        bytes: &[u8],
        came: Came,
        tell: &mut impl FnMut(ConnectionEvent),
    ) -> Result<Option<usize>, Break> {
        // The type is the fourth byte. A TLS alert is shorter than a head.
        if let (None, Some(kind)) = (self.begun, bytes.get(3)) {
            match *kind {
                frame::SETTINGS => self.begun = Some(Begun::Settings(came.looked)),
                kind => {
                    self.begun = Some(Begun::Otherwise);
                    if kind != frame::GOAWAY {
                        return Err(Break::protocol(ErrorCode::PROTOCOL_ERROR, "it begins without SETTINGS"));
                    }
                }
            }
            self.has_changed = true;
        }
        let Some(head) = Head::read(bytes) else { return Ok(None) };
        if head.length > frame::PAYLOAD_MOST {
            return Err(Break::protocol(ErrorCode::FRAME_SIZE_ERROR, "a frame is longer than allowed"));
        }
        let end = frame::HEAD + head.length;
        let Some(payload) = bytes.get(frame::HEAD..end) else { return Ok(None) };
        self.frame(head, payload, came, tell)?;
        if self.out.len() > 2 * OUT_MOST {
            return Err(Break::Flood("it asks for answers and does not read them"));
        }
        Ok(Some(end))
    }

    fn frame(
        &mut self,
        head: Head,
        payload: &[u8],
        came: Came,
        tell: &mut impl FnMut(ConnectionEvent),
    ) -> Result<(), Break> {
        let continues = self.block.as_ref().map(|block| block.stream);
        let is_continued = head.kind == frame::CONTINUATION && Some(head.stream) == continues;
        if continues.is_some() != is_continued || (head.kind == frame::CONTINUATION && !is_continued) {
            return Err(wrong("a header block is interrupted, or continued without a beginning"));
        }
        let is_of_connection = matches!(head.kind, frame::SETTINGS | frame::PING | frame::GOAWAY);
        let is_of_stream = matches!(head.kind, frame::DATA..=frame::RST_STREAM | frame::CONTINUATION);
        if (is_of_connection && head.stream != 0) || (is_of_stream && head.stream == 0) {
            return Err(wrong("a frame of a stream is of none, or the other way round"));
        }
        let mut event = |kind, reason| tell(ConnectionEvent { kind, reason });
        match head.kind {
            frame::DATA => self.data(head, payload, came),
            frame::HEADERS => {
                let unpadded = frame::unpadded(head, payload);
                let block = match head.has(frame::HAS_PRIORITY) {
                    true => unpadded.and_then(|block| block.get(5..)),
                    false => unpadded,
                };
                let block = block.ok_or(wrong("a frame with more padding than payload"))?;
                self.block(head, head.has(frame::END_STREAM), block, came)
            }
            frame::CONTINUATION => self.block(head, false, payload, came),
            frame::RST_STREAM => {
                let code = exact(payload).map(u32::from_be_bytes).ok_or(SIZE)?;
                self.known(head.stream)?;
                event(EventKind::RstStream, EventReason::of_code(code));
                if let Some(stream) = self.stream(head.stream) {
                    stream.is_reset = true;
                    stream.break_off(Break::Reset(ErrorCode(code)));
                    self.has_changed = true;
                }
                Ok(())
            }
            frame::SETTINGS if head.has(frame::ACK) => {
                if payload.is_empty() {
                    Ok(())
                } else {
                    Err(SIZE)
                }
            }
            frame::SETTINGS => self.settings(payload, event),
            frame::PUSH_PROMISE => Err(wrong("a pushed stream, which is switched off")),
            frame::PING => {
                let data = exact::<8>(payload).ok_or(SIZE)?;
                self.pinged(head, data, came);
                Ok(())
            }
            frame::GOAWAY => self.go_away(payload, event),
            frame::WINDOW_UPDATE => self.window_update(head.stream, payload),
            // PRIORITY is told to be left alone, and so is what is not known.
            frame::PRIORITY if payload.len() != 5 => Err(SIZE),
            _ => Ok(()),
        }
    }

    /// Whether a stream was ever opened: peers may speak of those that are closed, and of no others.
    fn known(&self, stream: u32) -> Result<(), Break> {
        match stream % 2 == 1 && stream < self.next_stream {
            true => Ok(()),
            false => Err(wrong("a frame of a stream that was never opened")),
        }
    }

    fn data(&mut self, head: Head, payload: &[u8], came: Came) -> Result<(), Break> {
        self.known(head.stream)?;
        let data = frame::unpadded(head, payload).ok_or(wrong("a frame with more padding than payload"))?;
        self.receive_window -= payload.len() as i64;
        if self.receive_window < 0 {
            return Err(FLOW);
        }
        let Some(stream) = self.stream(head.stream).filter(|stream| stream.broken.is_none()) else {
            self.release(None, payload.len());
            return Ok(());
        };
        let receiving = &mut stream.receiving;
        if receiving.end.is_some() {
            return Err(Break::protocol(ErrorCode::STREAM_CLOSED, "an answer goes on behind its end"));
        }
        receiving.window -= payload.len() as i64;
        if receiving.window < 0 {
            return Err(FLOW);
        }
        if !receiving.has_head {
            return self.malformed(head.stream, payload.len(), "a body before its header fields");
        }
        if let Some(promised) = &mut receiving.promised {
            match promised.checked_sub(data.len() as u64) {
                Some(left) => *promised = left,
                None => return self.malformed(head.stream, payload.len(), "more than its content-length"),
            }
        }
        if !data.is_empty() {
            receiving.pieces.push_back(Piece { bytes: Bytes::copy_from_slice(data), came });
        }
        stream.wake();
        self.release(Some(head.stream), payload.len() - data.len());
        if head.has(frame::END_STREAM) {
            self.end_stream(head.stream, None, came);
        }
        Ok(())
    }

    /// Takes a part of a header block.
    fn block(&mut self, head: Head, ends: bool, part: &[u8], came: Came) -> Result<(), Break> {
        self.known(head.stream)?;
        let begun = self.block.take();
        if begun.is_none() && head.has(frame::END_HEADERS) {
            return self.fields(head.stream, ends, part, came);
        }
        let mut block =
            begun.unwrap_or_else(|| Block { stream: head.stream, ends, bytes: Vec::new(), frames: 0 });
        block.frames += 1;
        if block.bytes.len() + part.len() > BLOCK_MOST || block.frames > BLOCK_FRAMES_MOST {
            return Err(Break::Flood("a header block without end"));
        }
        block.bytes.extend_from_slice(part);
        if head.has(frame::END_HEADERS) {
            return self.fields(block.stream, block.ends, &block.bytes, came);
        }
        self.block = Some(block);
        Ok(())
    }

    fn fields(&mut self, id: u32, ends: bool, block: &[u8], came: Came) -> Result<(), Break> {
        let fields = headers::read(&mut self.decoder, block)
            .map_err(|bad| Break::protocol(ErrorCode::COMPRESSION_ERROR, bad.0))?;
        let Some(stream) = self.stream(id).filter(|stream| stream.broken.is_none()) else { return Ok(()) };
        let receiving = &mut stream.receiving;
        if receiving.end.is_some() {
            return Err(Break::protocol(ErrorCode::STREAM_CLOSED, "an answer goes on behind its end"));
        }
        let fields = match fields {
            Ok(fields) => fields,
            Err(why) => {
                self.reset(id, why);
                return Ok(());
            }
        };
        match (receiving.has_head, fields.status) {
            (false, Some(status)) if status.is_informational() && !ends => return Ok(()),
            (false, Some(status)) => {
                receiving.has_head = true;
                let length = fields.map.get(http::header::CONTENT_LENGTH);
                receiving.promised = length.and_then(|value| value.to_str().ok()?.parse().ok());
                receiving.answer = Some(Answer { status, headers: fields.map, came });
                stream.wake();
                if ends {
                    self.end_stream(id, None, came);
                }
            }
            (false, None) => return self.malformed(id, 0, "it has no :status"),
            (true, None) if ends => self.end_stream(id, Some(fields.map), came),
            (true, _) => return self.malformed(id, 0, "a second list of header fields, and no trailers"),
        }
        Ok(())
    }

    fn end_stream(&mut self, id: u32, trailers: Option<http::HeaderMap>, came: Came) {
        let Some(stream) = self.stream(id) else { return };
        if stream.receiving.promised.is_some_and(|left| left > 0) {
            return self.reset(id, Break::Malformed("less than its content-length"));
        }
        stream.receiving.end = Some(End { trailers, came });
        stream.wake();
        self.has_changed = true;
    }

    /// Ends one stream that is at odds with the rules; `unread` bytes of it are out of the way.
    fn malformed(&mut self, id: u32, unread: usize, why: &'static str) -> Result<(), Break> {
        self.release(None, unread);
        self.reset(id, Break::Malformed(why));
        Ok(())
    }

    fn reset(&mut self, id: u32, why: Break) {
        frame::write_reset(&mut self.out, id, ErrorCode::PROTOCOL_ERROR);
        if let Some(stream) = self.stream(id) {
            stream.is_reset = true;
            stream.break_off(why);
        }
        self.has_changed = true;
    }

    fn settings(
        &mut self,
        payload: &[u8],
        mut event: impl FnMut(EventKind, EventReason),
    ) -> Result<(), Break> {
        let (settings, []) = payload.as_chunks::<6>() else { return Err(SIZE) };
        for [i0, i1, value @ ..] in settings {
            let (id, value) = (u16::from_be_bytes([*i0, *i1]), u32::from_be_bytes(*value));
            if self.has_settings {
                event(EventKind::Settings, EventReason::of_setting(id));
            }
            match id {
                frame::INITIAL_WINDOW_SIZE => {
                    if i64::from(value) > WINDOW_MOST {
                        return Err(FLOW);
                    }
                    let change =
                        i64::from(value) - std::mem::replace(&mut self.initial_window, i64::from(value));
                    for stream in &mut self.streams {
                        stream.sending.window += change;
                        if stream.sending.window > WINDOW_MOST {
                            return Err(FLOW);
                        }
                    }
                }
                // A larger one gains a prober nothing.
                frame::MAX_FRAME_SIZE if !(16_384..1 << 24).contains(&value) => {
                    return Err(wrong("a SETTINGS_MAX_FRAME_SIZE outside of its range"));
                }
                frame::MAX_CONCURRENT_STREAMS => {
                    self.streams_most = usize::try_from(value).unwrap_or(usize::MAX);
                }
                frame::ENABLE_PUSH if value > 1 => {
                    return Err(wrong("a SETTINGS_ENABLE_PUSH of neither 0 nor 1"));
                }
                _ => {}
            }
        }
        self.has_settings = true;
        frame::write(&mut self.out, frame::SETTINGS, frame::ACK, 0, &[]);
        self.has_changed = true;
        Ok(())
    }

    fn pinged(&mut self, head: Head, data: [u8; 8], came: Came) {
        if !head.has(frame::ACK) {
            return frame::write(&mut self.out, frame::PING, frame::ACK, 0, &data);
        }
        if let Some(ping) = self.ping.as_mut().filter(|ping| ping.data == data) {
            ping.came.get_or_insert(came);
            if let Some(waker) = ping.waker.take() {
                waker.wake();
            }
        }
    }

    fn go_away(
        &mut self,
        payload: &[u8],
        mut event: impl FnMut(EventKind, EventReason),
    ) -> Result<(), Break> {
        let (last, rest) = frame::number(payload).zip(payload.get(4..)).ok_or(SIZE)?;
        let (code, text) = frame::number(rest).zip(rest.get(4..)).ok_or(SIZE)?;
        let code = ErrorCode(code);
        let calm = code == ErrorCode::ENHANCE_YOUR_CALM && text.starts_with(TOO_MANY_PINGS);
        let reason = if calm { EventReason::TooManyPings } else { EventReason::of_code(code.0) };
        event(EventKind::Goaway, reason);
        let last = (last & 0x7fff_ffff).min(self.goaway.map_or(u32::MAX, |before| before.last));
        self.goaway = Some(GoAway { last, code, reason });
        for stream in self.streams.iter_mut().filter(|stream| stream.id > last) {
            stream.is_reset = true;
            stream.break_off(Break::Refused(code));
        }
        self.has_changed = true;
        Ok(())
    }

    fn window_update(&mut self, id: u32, payload: &[u8]) -> Result<(), Break> {
        let payload = exact::<4>(payload).ok_or(SIZE)?;
        let bytes = i64::from(u32::from_be_bytes(payload) & 0x7fff_ffff);
        if id == 0 {
            self.window += bytes;
            return match (bytes, self.window) {
                (0, _) => Err(wrong("a window is opened by nothing")),
                (_, window) if window > WINDOW_MOST => Err(FLOW),
                _ => Ok(()),
            };
        }
        self.known(id)?;
        let Some(stream) = self.stream(id) else { return Ok(()) };
        stream.sending.window += bytes;
        if bytes == 0 || stream.sending.window > WINDOW_MOST {
            return self.malformed(id, 0, "a window that is opened by nothing, or too far");
        }
        Ok(())
    }
}

const SIZE: Break =
    Break::Protocol { code: ErrorCode::FRAME_SIZE_ERROR, what: "a frame has the wrong length" };
const FLOW: Break = Break::Protocol {
    code: ErrorCode::FLOW_CONTROL_ERROR,
    what: "more was sent, or allowed, than a window has",
};

fn wrong(what: &'static str) -> Break {
    Break::protocol(ErrorCode::PROTOCOL_ERROR, what)
}

fn exact<const N: usize>(payload: &[u8]) -> Option<[u8; N]> {
    payload.try_into().ok()
}
