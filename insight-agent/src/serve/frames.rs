//! What HTTP/2 itself refuses, read off the frames: the library below the services answers a stream too many,
//! a flood or a large head on its own and tells nobody.
//!
//! Of what comes the preface and the heads of frames are looked at, 9 bytes each; of what goes 8 more of
//! RST_STREAM and GOAWAY. Not seen: a head that is small as it comes and above the limit once decompressed;
//! the library refuses it all the same. **Source**: RFC 9113, sections 3.4, 4.1, 6.2, 6.4, 6.8, 6.10 and 7.

use super::MAX_HEADER_LIST;
use crate::model::refusal::Refusal;

/// Which way frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the caller: heads that are too large.
    In,
    /// To it: what is refused.
    Out,
}

/// What a caller says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;

const PROTOCOL_ERROR: u32 = 0x1;
const REFUSED_STREAM: u32 = 0x7;
const ENHANCE_YOUR_CALM: u32 = 0xb;
/// Codes that name a mistake of the caller: protocol, flow control, frame size, compression.
const MISTAKES: [u32; 4] = [PROTOCOL_ERROR, 0x3, 0x6, 0x9];

/// How far the caller's preface has come.
#[derive(Debug, Default)]
pub(super) struct Preface {
    seen: usize,
    failed: bool,
}

impl Preface {
    /// Takes bytes that came; whether they show, for the first time, that this is no HTTP/2.
    pub(super) fn is_broken_by(&mut self, bytes: &[u8]) -> bool {
        let rest = &PREFACE[self.seen..];
        let compared = rest.len().min(bytes.len());
        if self.failed || compared == 0 {
            return false;
        }
        self.failed = bytes[..compared] != rest[..compared];
        self.seen += compared;
        self.failed
    }
}

/// Reads the frames of one direction as they pass, in pieces of any size.
#[derive(Debug)]
pub(super) struct Frames {
    way: Way,
    /// Frame head, and as much payload as is looked at.
    kept: [u8; HEAD + CODE],
    filled: usize,
    /// Bytes of the payload that are still to come and not kept.
    skip: usize,
    /// Bytes of the header block that is coming.
    block: usize,
}

const HEAD: usize = 9;
/// A GOAWAY's last stream and error code.
const CODE: usize = 8;

impl Frames {
    /// Those that the caller sends, from the first byte behind its preface.
    pub(super) fn incoming() -> Self {
        Self { way: Way::In, kept: [0; HEAD + CODE], filled: 0, skip: PREFACE.len(), block: 0 }
    }

    /// Those that it gets.
    pub(super) fn outgoing() -> Self {
        Self { way: Way::Out, skip: 0, ..Self::incoming() }
    }

    /// Takes what passed and gives what it refused.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut refused: impl FnMut(Refusal)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                (self.skip, bytes) = (self.skip - skipped, &bytes[skipped..]);
                continue;
            }
            let wanted = self.wanted();
            let taken = (wanted - self.filled).min(bytes.len());
            self.kept[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            // The head may ask for a part of the payload.
            if self.filled == self.wanted() {
                self.read().into_iter().for_each(&mut refused);
                self.skip = self.length() - (self.filled - HEAD);
                self.filled = 0;
            }
        }
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.kept;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    /// Bytes that this frame is kept of.
    fn wanted(&self) -> usize {
        let payload = match (self.filled >= HEAD && self.way == Way::Out).then_some(self.kept[3]) {
            Some(RST_STREAM) => 4,
            Some(GOAWAY) => CODE,
            _ => 0,
        };
        if payload == 0 { HEAD } else { HEAD + payload.min(self.length()) }
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = [self.kept[at], self.kept[at + 1], self.kept[at + 2], self.kept[at + 3]];
        u32::from_be_bytes(bytes)
    }

    /// What the kept frame refused, or what will be refused about it.
    fn read(&mut self) -> Option<Refusal> {
        if self.way == Way::In {
            return self.read_block();
        }
        let code = match self.kept[3] {
            RST_STREAM => self.word(HEAD),
            GOAWAY => self.word(HEAD + 4),
            _ => return None,
        };
        match code {
            REFUSED_STREAM => Some(Refusal::TooManyStreams),
            ENHANCE_YOUR_CALM => Some(Refusal::Flooded),
            code if MISTAKES.contains(&code) => Some(Refusal::Malformed),
            _ => None,
        }
    }

    /// A header block that passes the limit with this frame.
    fn read_block(&mut self) -> Option<Refusal> {
        let before = match self.kept[3] {
            HEADERS => 0,
            CONTINUATION => self.block,
            _ => return None,
        };
        self.block = before.saturating_add(self.length());
        let limit = MAX_HEADER_LIST as usize;
        (before <= limit && self.block > limit).then_some(Refusal::HeadTooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn reset(stream: u32, code: u32) -> Vec<u8> {
        frame(RST_STREAM, stream, &code.to_be_bytes())
    }

    fn goaway(code: u32) -> Vec<u8> {
        frame(GOAWAY, 0, &[&7u32.to_be_bytes()[..], &code.to_be_bytes(), b"because"].concat())
    }

    /// A conversation with one of each.
    fn written() -> Vec<u8> {
        [
            frame(4, 0, &[0; 18]),
            frame(HEADERS, 1, &[1; 60]),
            frame(0, 1, &[3; 500]),
            reset(1, 0),
            reset(3, 8),
            reset(5, REFUSED_STREAM),
            reset(9, PROTOCOL_ERROR),
            goaway(ENHANCE_YOUR_CALM),
            goaway(0),
        ]
        .concat()
    }

    const REFUSED: [Refusal; 3] = [Refusal::TooManyStreams, Refusal::Malformed, Refusal::Flooded];

    #[test]
    fn each_refusal_is_read_once_and_ends_that_refuse_nothing_are_none() {
        let mut seen = Vec::new();
        Frames::outgoing().feed(&written(), |reason| seen.push(reason));
        assert_eq!(seen, REFUSED);
    }

    #[test]
    fn frames_too_short_for_their_kind_are_no_panic() {
        let bytes = [frame(RST_STREAM, 1, &[]), frame(GOAWAY, 0, &[0, 0]), reset(5, REFUSED_STREAM)].concat();
        let mut seen = Vec::new();
        Frames::outgoing().feed(&bytes, |reason| seen.push(reason));
        assert_eq!(seen.last(), Some(&Refusal::TooManyStreams));
    }

    #[test]
    fn head_above_the_limit_is_told_once_however_it_is_cut() {
        let part = vec![0; MAX_HEADER_LIST as usize / 2];
        let block = |kind| frame(kind, 1, &part);
        let mut large = [&PREFACE[..], &block(HEADERS), &block(CONTINUATION), &block(CONTINUATION)].concat();
        large.extend([block(CONTINUATION), block(HEADERS), block(CONTINUATION)].concat());
        let (mut seen, mut frames) = (Vec::new(), Frames::incoming());
        large.chunks(1000).for_each(|piece| frames.feed(piece, |reason| seen.push(reason)));
        assert_eq!(seen, [Refusal::HeadTooLarge]);
    }

    #[test]
    fn preface_of_another_protocol_is_told_once() {
        let mut preface = Preface::default();
        assert!(!preface.is_broken_by(&PREFACE[..10]));
        assert!(!preface.is_broken_by(&[&PREFACE[10..], b"\0\0\0"].concat()));
        assert!(!preface.is_broken_by(b"anything"));
        let mut preface = Preface::default();
        assert!(preface.is_broken_by(b"GET / HTTP/1.1\r\n"));
        assert!(!preface.is_broken_by(b"Host: x\r\n"));
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_read_as_the_whole(pieces in prop::collection::vec(1usize..40, 1..80)) {
            let (bytes, mut seen, mut frames, mut at) = (written(), Vec::new(), Frames::outgoing(), 0);
            for size in pieces.into_iter().chain(std::iter::repeat(7)) {
                if at == bytes.len() {
                    break;
                }
                let end = bytes.len().min(at + size);
                frames.feed(&bytes[at..end], |reason| seen.push(reason));
                at = end;
            }
            prop_assert_eq!(seen, REFUSED);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            Frames::outgoing().feed(&bytes, |_| ());
        }
    }
}
