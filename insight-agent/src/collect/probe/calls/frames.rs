//! Messages out of a stream's bytes, however these are cut into pieces. Pure.

use crate::collect::probe::message::FRAME_BYTES;
use bytes::{Bytes, BytesMut};

/// Takes pieces of a body and finds the messages in it.
#[derive(Debug)]
pub(super) struct FrameReader {
    /// Whether messages are wanted; else only their ends are told.
    keeps: bool,
    head: [u8; FRAME_BYTES],
    /// Bytes of the head that are there.
    filled: usize,
    /// Bytes of the message that are missing still.
    missing: usize,
    message: BytesMut,
}

/// A frame that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compressed;

impl FrameReader {
    pub(super) fn new(keeps: bool) -> Self {
        Self { keeps, head: [0; FRAME_BYTES], filled: 0, missing: 0, message: BytesMut::new() }
    }

    /// Takes the next piece; `ended` is told each message that ends within it (an empty one where they are not
    /// kept), and says whether to go on.
    pub(super) fn feed(
        &mut self,
        mut piece: &[u8],
        mut ended: impl FnMut(Bytes) -> bool,
    ) -> Result<(), Compressed> {
        loop {
            if self.filled < FRAME_BYTES {
                let taken = piece.len().min(FRAME_BYTES - self.filled);
                self.head[self.filled..self.filled + taken].copy_from_slice(&piece[..taken]);
                self.filled += taken;
                piece = &piece[taken..];
                if self.filled < FRAME_BYTES {
                    return Ok(());
                }
                let [compressed, length @ ..] = self.head;
                if compressed != 0 {
                    return Err(Compressed);
                }
                self.missing = u32::from_be_bytes(length) as usize;
            }
            let taken = piece.len().min(self.missing);
            if self.keeps {
                self.message.extend_from_slice(&piece[..taken]);
            }
            self.missing -= taken;
            piece = &piece[taken..];
            if self.missing > 0 {
                return Ok(());
            }
            self.filled = 0;
            if !ended(self.message.split().freeze()) {
                return Ok(());
            }
        }
    }

    /// Whether all that began has ended.
    pub(super) fn is_between_messages(&self) -> bool {
        self.filled == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::probe::message::frame_bytes;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> (Vec<Bytes>, bool) {
        let (mut reader, mut messages) = (FrameReader::new(true), Vec::new());
        for piece in pieces {
            reader
                .feed(piece, |message| {
                    messages.push(message);
                    true
                })
                .unwrap();
        }
        (messages, reader.is_between_messages())
    }

    #[test]
    fn a_message_that_does_not_end_is_none() {
        assert_eq!(read(&[&[0, 0, 0, 0, 2, 7]]), (vec![], false));
        assert_eq!(read(&[&[0, 0]]), (vec![], false));
        assert_eq!(read(&[&[0, 0, 0, 0, 0]]), (vec![Bytes::new()], true));
    }

    #[test]
    fn a_compressed_message_is_refused() {
        assert_eq!(FrameReader::new(true).feed(&[1, 0, 0, 0, 0], |_| true), Err(Compressed));
    }

    proptest! {
        #[test]
        fn the_same_messages_come_out_however_the_bytes_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            cuts in prop::collection::vec(1_usize..9, 1..60),
        ) {
            let body: Vec<u8> = messages.iter().flat_map(|message| frame_bytes(message)).collect();
            let (mut rest, mut pieces) = (&body[..], Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, further) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = further;
            }
            let (read, whole) = read(&pieces);
            prop_assert!(whole);
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut ended = 0_usize;
            let _: Result<(), Compressed> = FrameReader::new(false).feed(&body, |message| {
                assert!(message.is_empty(), "nothing is kept");
                ended += 1;
                true
            });
            prop_assert!(ended * FRAME_BYTES <= body.len());
        }
    }
}
