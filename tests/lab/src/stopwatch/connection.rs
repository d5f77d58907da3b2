//! One HTTP/2 connection: as much of the protocol as unary calls need.

use super::frames::{self, Asked, Frame, Request};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// Bytes that are read at once.
const READ: usize = 16 * 1024;

/// Unread bytes that a connection may leave: a whole frame of the largest size.
const MOST: usize = frames::HEAD + (1 << 14);

/// A request that came, and when.
#[derive(Debug)]
struct Open {
    body: Vec<u8>,
    request: Option<(Request, Instant)>,
}

/// A connection and its requests.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// What has come and is no whole frame yet.
    unread: Vec<u8>,
    greeted: bool,
    open: HashMap<u32, Open>,
    /// Bytes of bodies since the peer's window was last filled up.
    consumed: u32,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new(), greeted: false, open: HashMap::new(), consumed: 0 }
    }

    /// Takes what has come. Gives the requests that are whole now.
    ///
    /// # Errors
    /// The connection is over, or speaks another protocol.
    pub(super) fn read(&mut self) -> io::Result<Vec<Asked>> {
        let mut buffer = [0; READ];
        let mut asked = Vec::new();
        loop {
            let length = match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(asked),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let received = Instant::now();
            self.unread.extend_from_slice(&buffer[..length]);
            self.take_frames(received, &mut asked)?;
            if length < READ {
                return Ok(asked);
            }
        }
    }

    fn take_frames(&mut self, received: Instant, asked: &mut Vec<Asked>) -> io::Result<()> {
        let mut unread = std::mem::take(&mut self.unread);
        let mut at = 0;
        if !self.greeted {
            if unread.len() < frames::PREFACE.len() {
                self.unread = unread;
                return Ok(());
            }
            if !unread.starts_with(frames::PREFACE) {
                return Err(io::Error::new(ErrorKind::InvalidData, "no HTTP/2 with prior knowledge"));
            }
            at = frames::PREFACE.len();
            self.greeted = true;
            self.stream.write_all(&frames::greeting())?;
        }
        while let Some((frame, length)) = frames::read(&unread[at..]) {
            at += length;
            self.take(&frame, received, asked)?;
        }
        unread.drain(..at);
        if unread.len() > MOST {
            return Err(io::Error::new(ErrorKind::InvalidData, "a frame beyond the largest size"));
        }
        self.unread = unread;
        Ok(())
    }

    fn take(&mut self, frame: &Frame<'_>, received: Instant, asked: &mut Vec<Asked>) -> io::Result<()> {
        match frame.kind {
            frames::HEADERS => {
                self.open.insert(frame.stream, Open { body: Vec::new(), request: None });
            }
            frames::DATA => {
                self.consumed += frame.payload.len() as u32;
                let Some(open) = self.open.get_mut(&frame.stream) else { return Ok(()) };
                open.body.extend_from_slice(frame.payload);
                if frame.flags & frames::END_STREAM != 0 {
                    let request = Request::read(&open.body)
                        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no MeasureRequest"))?;
                    let due = received + request.delay;
                    open.request = Some((request, received));
                    asked.push(Asked { stream: frame.stream, due });
                }
                if self.consumed > frames::WINDOW / 2 {
                    let more = frames::window_update(std::mem::take(&mut self.consumed));
                    self.stream.write_all(&more)?;
                }
            }
            frames::RST_STREAM => drop(self.open.remove(&frame.stream)),
            frames::SETTINGS | frames::PING if frame.flags & frames::ACK == 0 => {
                self.stream.write_all(&frames::acknowledged(frame))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Answers a request, with how long that took up to the system call that writes.
    ///
    /// # Errors
    /// The peer does not take it: answers are small, so that only happens to one that reads nothing.
    pub(super) fn answer(&mut self, stream: u32) -> io::Result<()> {
        let Some(Open { request: Some((request, received)), .. }) = self.open.remove(&stream) else {
            return Ok(());
        };
        let answer = frames::answer(stream, &request, received.elapsed());
        self.stream.write_all(&answer)
    }
}
