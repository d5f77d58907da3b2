//! What a client makes of a peer's bytes, without a socket: for whoever wants to throw anything at it.

use super::machine::{Machine, Opened};
use super::stream::Came;
use bytes::Bytes;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// What came of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Overheard {
    /// How the connection ended, if it has.
    pub ended: Option<String>,
    /// What the client said in return.
    pub said: Vec<u8>,
    /// Of each of its two requests: its answer, and each piece of it, as far as they came, or why none did.
    pub answers: [Vec<String>; 2],
    /// What happened to the connection besides.
    pub events: Vec<String>,
}

/// Makes two requests of a peer that sends `bytes`, which come in chunks of so many (at least one).
pub fn overhear(bytes: &[u8], chunk: usize) -> Overheard {
    let mut machine = Machine::new();
    let (mut said, mut events) = (Vec::new(), Vec::new());
    let open = |machine: &mut Machine| match machine.open(&[0x83], &Bytes::from_static(b"ask")) {
        Opened::Stream(id) => id,
        Opened::Full | Opened::Never(_) => unreachable!("no peer has forbidden it yet"),
    };
    let ids = [open(&mut machine), open(&mut machine)];
    let came = Came { looked: Instant::now(), stamp: None };
    for chunk in bytes.chunks(chunk.max(1)) {
        machine.receive(chunk, came, |event| events.push(format!("{event:?}")));
    }
    machine.pump();
    said.append(&mut machine.out);
    let mut cx = Context::from_waker(Waker::noop());
    let answers = ids.map(|id| {
        let mut told = Vec::new();
        match machine.poll_answer(id, &mut cx) {
            Poll::Ready(Ok(answer)) => told.push(format!("{} {:?}", answer.status, answer.headers)),
            Poll::Ready(Err(why)) => told.push(why.to_string()),
            Poll::Pending => {}
        }
        loop {
            match machine.poll_piece(id, &mut cx) {
                Poll::Ready(Ok(Some(piece))) => told.push(format!("{:?}", piece.bytes)),
                Poll::Ready(Ok(None)) => {
                    told.push(format!("{:?}", machine.take_end(id).and_then(|end| end.trailers)));
                    break told;
                }
                Poll::Ready(Err(why)) => {
                    told.push(why.to_string());
                    break told;
                }
                Poll::Pending => break told,
            }
        }
    });
    Overheard { ended: machine.ended.as_ref().map(|ended| format!("{ended:?}")), said, answers, events }
}
