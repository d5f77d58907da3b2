//! What does the peer say about the connection itself? HTTP/2 frames, seen in passing.
//!
//! h2 obeys GOAWAY, RST_STREAM and SETTINGS and tells of them only by what breaks: neither a graceful
//! GOAWAY nor the text of one, nor a changed setting can be asked for. So the bytes that it reads are
//! looked at on their way: nine of each frame, and the payload of those three.
//!
//! **Source**: RFC 9113, sections 4.1, 6.4, 6.5 and 6.8.

use crate::model::connection_event::{ConnectionEvent, EventKind, EventReason};

const HEADER: usize = 9;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
/// Bytes of a payload that are kept: ten settings, of the six that there are; a GOAWAY's stream, code
/// and the beginning of its text.
const KEPT: usize = 60;
/// What gRPC servers write into their GOAWAY for PINGs that come too often (gRPC proposal A8).
const TOO_MANY_PINGS: &[u8] = b"too_many_pings";

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The connection's first frame: SETTINGS, as the protocol demands, or anything else.
    First { settings: bool },
    /// Something to be counted.
    Event(ConnectionEvent),
}

/// Follows one direction of a connection, in chunks of any size.
#[derive(Debug, Default)]
pub(super) struct FrameWatch {
    header: [u8; HEADER],
    /// Bytes of the header that are there.
    filled: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
    kept: Vec<u8>,
    first_was_told: bool,
    settings_frames: u64,
    /// The peer does not speak HTTP/2: there are no frames to follow.
    lost: bool,
}

impl FrameWatch {
    /// Takes the next bytes, and tells what they show.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Seen)) {
        while !bytes.is_empty() && !self.lost {
            if self.filled < HEADER {
                bytes = self.fill_header(bytes, &mut tell);
            } else {
                let (now, rest) = bytes.split_at(self.left.min(bytes.len()));
                if self.is_kept() {
                    let room = KEPT - self.kept.len();
                    self.kept.extend_from_slice(&now[..now.len().min(room)]);
                }
                self.left -= now.len();
                bytes = rest;
            }
            if self.filled == HEADER && self.left == 0 {
                self.end_frame(&mut tell);
            }
        }
    }

    fn fill_header<'a>(&mut self, bytes: &'a [u8], tell: &mut impl FnMut(Seen)) -> &'a [u8] {
        let (now, rest) = bytes.split_at((HEADER - self.filled).min(bytes.len()));
        self.header[self.filled..self.filled + now.len()].copy_from_slice(now);
        self.filled += now.len();
        // The type is the fourth byte. A TLS alert is shorter than a header.
        if self.filled > 3 && !self.first_was_told {
            self.first_was_told = true;
            let settings = self.kind() == SETTINGS;
            self.lost = !settings && self.kind() != GOAWAY;
            tell(Seen::First { settings });
        }
        if self.filled == HEADER {
            let [high, middle, low, ..] = self.header;
            self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        }
        rest
    }

    fn kind(&self) -> u8 {
        self.header[3]
    }

    fn is_kept(&self) -> bool {
        matches!(self.kind(), RST_STREAM | SETTINGS | GOAWAY)
    }

    fn end_frame(&mut self, tell: &mut impl FnMut(Seen)) {
        let mut event = |kind, reason| tell(Seen::Event(ConnectionEvent { kind, reason }));
        let code = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?));
        match self.kind() {
            RST_STREAM => {
                if let Some(code) = code(&self.kept) {
                    event(EventKind::RstStream, EventReason::of_code(code));
                }
            }
            GOAWAY => {
                // The last stream's number comes first.
                if let Some(code) = self.kept.get(4..).and_then(code) {
                    let reason = EventReason::of_code(code);
                    let pings =
                        reason == EventReason::EnhanceYourCalm && self.kept[8..].starts_with(TOO_MANY_PINGS);
                    event(EventKind::Goaway, if pings { EventReason::TooManyPings } else { reason });
                }
            }
            SETTINGS if self.header[4] & ACK == 0 => {
                self.settings_frames += 1;
                if self.settings_frames > 1 {
                    for setting in self.kept.chunks_exact(6) {
                        let identifier = u16::from_be_bytes([setting[0], setting[1]]);
                        event(EventKind::Settings, EventReason::of_setting(identifier));
                    }
                }
            }
            _ => {}
        }
        self.kept.clear();
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    }

    fn goaway(code: u32, text: &[u8]) -> Vec<u8> {
        frame(GOAWAY, 0, &[&[0, 0, 0, 1], &code.to_be_bytes()[..], text].concat())
    }

    fn seen(bytes: &[u8], chunk: usize) -> Vec<Seen> {
        let (mut watch, mut seen) = (FrameWatch::default(), Vec::new());
        bytes.chunks(chunk).for_each(|chunk| watch.feed(chunk, |what| seen.push(what)));
        seen
    }

    fn event(kind: EventKind, reason: EventReason) -> Seen {
        Seen::Event(ConnectionEvent { kind, reason })
    }

    #[test]
    fn events_are_seen_in_chunks_of_any_size() {
        let window: [u8; 12] = [0, 4, 0, 0, 0, 9, 0, 3, 0, 0, 0, 1];
        let bytes = [
            frame(SETTINGS, 0, &window),
            frame(SETTINGS, ACK, &[]),
            frame(0, 0, &[7; 1000]),
            frame(SETTINGS, 0, &window),
            frame(RST_STREAM, 0, &[0, 0, 0, 8]),
            goaway(0, b""),
            goaway(11, b"too_many_pings"),
            goaway(11, &[b'x'; 500]),
        ]
        .concat();
        let expected = [
            Seen::First { settings: true },
            event(EventKind::Settings, EventReason::InitialWindowSize),
            event(EventKind::Settings, EventReason::MaxConcurrentStreams),
            event(EventKind::RstStream, EventReason::Cancel),
            event(EventKind::Goaway, EventReason::NoError),
            event(EventKind::Goaway, EventReason::TooManyPings),
            event(EventKind::Goaway, EventReason::EnhanceYourCalm),
        ];
        for chunk in [1, 2, 3, 7, 9, 64, 4096] {
            assert_eq!(seen(&bytes, chunk), expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn what_is_no_http2_is_told_once_and_not_followed() {
        let tls_alert = [21, 3, 3, 0, 2, 2, 70];
        assert_eq!(seen(&tls_alert, 7), [Seen::First { settings: false }]);
        assert_eq!(seen(b"HTTP/1.1 400 Bad Request\r\n\r\n", 5), [Seen::First { settings: false }]);
        assert_eq!(seen(&[0, 0, 0], 3), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_followed_with_bounded_memory(
            bytes in prop::collection::vec(any::<u8>(), 0..2000), chunk in 1_usize..50,
        ) {
            let mut watch = FrameWatch::default();
            // A good beginning, so that the rest is looked at.
            watch.feed(&frame(SETTINGS, 0, &[]), |_| ());
            for chunk in bytes.chunks(chunk) {
                watch.feed(chunk, |_| ());
                prop_assert!(watch.kept.len() <= KEPT && watch.filled < HEADER + 1);
            }
        }
    }
}
