//! An answer that goes on: its lines, each with a most length.

use super::connection::Connection;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Longest line in bytes: a slice of 1,000 endpoints with all that a cluster can say of them is below 1 MiB.
const LINE_MOST: usize = 4 << 20;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::collect::discovery) enum Next {
    /// A whole line, without its end; not empty.
    Line(Bytes),
    /// The answer ended, after a whole line.
    End,
    /// The connection broke, or the answer ended within a line, which is lost.
    Cut,
    /// A line beyond [`LINE_MOST`].
    TooLong,
}

/// The lines of an answer. Dropping it closes the connection.
#[derive(Debug)]
pub(in crate::collect::discovery) struct Lines {
    /// Held, because it carries the body.
    _connection: Connection,
    body: Incoming,
    split: Split,
}

impl Lines {
    pub(super) fn new(connection: Connection, body: Incoming) -> Self {
        Self { _connection: connection, body, split: Split::default() }
    }

    /// The next line. Cancelling loses nothing.
    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(line) = self.split.line() {
                return Next::Line(line);
            }
            if self.split.rest.len() > LINE_MOST {
                return Next::TooLong;
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(part) = frame.data_ref() {
                        self.split.rest.extend_from_slice(part);
                    }
                }
                Some(Err(_)) => return Next::Cut,
                None if self.split.rest.is_empty() => return Next::End,
                None => return Next::Cut,
            }
        }
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Split {
    rest: BytesMut,
    /// How much of `rest` is known to have no line end.
    looked_at: usize,
}

impl Split {
    /// The first whole line that is not empty.
    fn line(&mut self) -> Option<Bytes> {
        loop {
            let Some(end) = self.rest[self.looked_at..].iter().position(|byte| *byte == b'\n') else {
                self.looked_at = self.rest.len();
                return None;
            };
            let line = self.rest.split_to(self.looked_at + end);
            self.rest.advance(1);
            self.looked_at = 0;
            let line = line.freeze();
            let line = line.slice_ref(line.trim_ascii());
            if !line.is_empty() {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_come_out_the_same_however_they_were_cut(
            lines in prop::collection::vec("[a-z]{1,9}", 0..9),
            cuts in prop::collection::vec(1usize..7, 1..40),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\r\n\n")).collect();
            let (mut split, mut found, mut at) = (Split::default(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                let end = text.len().min(at + cut);
                split.rest.extend_from_slice(&text.as_bytes()[at..end]);
                at = end;
                while let Some(line) = split.line() {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                }
                if at == text.len() {
                    break;
                }
            }
            prop_assert_eq!(found, lines);
            prop_assert!(split.rest.is_empty());
        }
    }
}
