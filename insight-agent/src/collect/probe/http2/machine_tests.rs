//! The protocol against frames written by hand.

use super::*;
use crate::collect::probe::http2::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Head, PADDED, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::collect::probe::http2::overhear;
use crate::collect::probe::http2::stream::Piece;
use crate::model::connection_event::{ConnectionEvent, EventKind};
use proptest::prelude::*;
use std::time::Duration;

fn came() -> Came {
    Came { looked: Instant::now(), stamp: None }
}

fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, kind, flags, stream, payload);
    out
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    fields.iter().for_each(|(name, value)| hpack::write_field(&mut block, name.as_bytes(), value.as_bytes()));
    block
}

fn ok() -> Vec<u8> {
    block(&[(":status", "200"), ("content-type", "application/grpc")])
}

/// A machine with a peer behind it, and what was told.
struct Talk {
    machine: Machine,
    events: Vec<ConnectionEvent>,
}

impl Talk {
    /// Behind the peer's SETTINGS.
    fn new() -> Self {
        let mut talk = Self { machine: Machine::new(), events: Vec::new() };
        talk.hear(&framed(SETTINGS, 0, 0, &[]));
        assert!(talk.said().starts_with(frame::PREFACE));
        talk
    }

    fn hear(&mut self, bytes: &[u8]) {
        let events = &mut self.events;
        self.machine.receive(bytes, came(), |event| events.push(event));
    }

    /// What there was to be written.
    fn said(&mut self) -> Vec<u8> {
        self.machine.pump();
        std::mem::take(&mut self.machine.out)
    }

    /// The same, as frames.
    fn frames(&mut self) -> Vec<(Head, Vec<u8>)> {
        let said = self.said();
        let (mut rest, mut frames) = (&said[..], Vec::new());
        while let Some(head) = Head::read(rest) {
            let (frame, later) = rest.split_at(frame::HEAD + head.length);
            frames.push((head, frame[frame::HEAD..].to_vec()));
            rest = later;
        }
        frames
    }

    fn open(&mut self, body: &'static [u8]) -> u32 {
        match self.machine.open(&[0x83], &Bytes::from_static(body)) {
            Opened::Stream(id) => id,
            Opened::Full => panic!("full"),
            Opened::Never(why) => panic!("{why}"),
        }
    }

    fn answer(&mut self, id: u32) -> Poll<Result<Answer, Break>> {
        self.machine.poll_answer(id, &mut Context::from_waker(Waker::noop()))
    }

    fn piece(&mut self, id: u32) -> Poll<Result<Option<Piece>, Break>> {
        self.machine.poll_piece(id, &mut Context::from_waker(Waker::noop()))
    }

    fn why(&mut self, id: u32) -> Break {
        match self.answer(id) {
            Poll::Ready(Err(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn is_protocol(ended: Option<&Ended>, wanted: ErrorCode) -> bool {
    matches!(ended, Some(Ended::Broke(Break::Protocol { code, .. })) if *code == wanted)
}

#[test]
fn a_request_is_headers_and_data_and_the_first_one_switches_the_table_off() {
    let mut talk = Talk::new();
    assert_eq!(talk.open(b"ask"), 1);
    let frames = talk.frames();
    let kinds: Vec<_> = frames.iter().map(|(head, _)| (head.kind, head.flags, head.stream)).collect();
    assert_eq!(kinds, [(HEADERS, END_HEADERS, 1), (DATA, END_STREAM, 1)]);
    assert_eq!((&frames[0].1[..], &frames[1].1[..]), (&[0x20, 0x83][..], &b"ask"[..]));
    assert_eq!(talk.open(b""), 3);
    let frames = talk.frames();
    assert_eq!((frames[0].0.flags, &frames[0].1[..]), (END_HEADERS | END_STREAM, &[0x83][..]));
}

#[test]
fn a_long_header_block_goes_on_in_a_second_frame() {
    let mut talk = Talk::new();
    let long = vec![0x83; frame::PAYLOAD_MOST + 10];
    assert!(matches!(talk.machine.open(&long, &Bytes::new()), Opened::Stream(1)));
    let frames = talk.frames();
    let kinds: Vec<_> = frames.iter().map(|(head, _)| (head.kind, head.flags, head.length)).collect();
    assert_eq!(kinds, [(HEADERS, END_STREAM, frame::PAYLOAD_MOST), (CONTINUATION, END_HEADERS, 11)]);
}

#[test]
fn an_answer_is_taken_in_order_and_trailers_end_it() {
    let trailers = block(&[("grpc-status", "0")]);
    let bytes = [
        framed(HEADERS, END_HEADERS, 1, &block(&[(":status", "103")])),
        framed(HEADERS, 0, 1, &ok()[..3]),
        framed(CONTINUATION, END_HEADERS, 1, &ok()[3..]),
        framed(DATA, PADDED, 1, b"\x02abc\0\0"),
        framed(DATA, 0, 1, b""),
        framed(PRIORITY, 0, 1, &[0; 5]),
        framed(77, 0xff, 1, b"unknown"),
        framed(DATA, 0, 1, b"def"),
        framed(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
    ]
    .concat();
    for chunk in [1, 2, 7, 9, 64, 4096] {
        let mut talk = Talk::new();
        let id = talk.open(b"ask");
        bytes.chunks(chunk).for_each(|chunk| talk.hear(chunk));
        let Poll::Ready(Ok(answer)) = talk.answer(id) else { panic!("in chunks of {chunk}") };
        assert_eq!((answer.status.as_u16(), answer.headers.len()), (200, 1));
        let mut body = Vec::new();
        while let Poll::Ready(Ok(Some(piece))) = talk.piece(id) {
            body.extend_from_slice(&piece.bytes);
        }
        assert_eq!(body, b"abcdef");
        assert!(matches!(talk.piece(id), Poll::Ready(Ok(None))));
        assert_eq!(talk.machine.take_end(id).unwrap().trailers.unwrap()["grpc-status"], "0");
        assert_eq!((&talk.machine.ended, talk.events.len()), (&None, 0));
        talk.machine.close(id);
        assert!(talk.machine.is_idle());
        let frames = talk.frames();
        assert!(frames.iter().all(|(head, _)| head.kind != RST_STREAM), "{frames:?}");
    }
}

#[test]
fn a_body_waits_for_the_peers_windows() {
    let mut talk = Talk::new();
    talk.hear(&framed(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 4]));
    let id = talk.open(b"0123456789");
    let data = |talk: &mut Talk| -> Vec<u8> {
        talk.frames().into_iter().filter(|(head, _)| head.kind == DATA).flat_map(|(_, data)| data).collect()
    };
    assert_eq!(data(&mut talk), b"0123");
    talk.hear(&framed(WINDOW_UPDATE, 0, id, &[0, 0, 0, 2]));
    assert_eq!(data(&mut talk), b"45");
    // It may also be lowered below what was sent.
    talk.hear(&framed(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]));
    talk.hear(&framed(WINDOW_UPDATE, 0, id, &[0, 0, 0, 3]));
    assert_eq!(data(&mut talk), b"");
    talk.hear(&framed(WINDOW_UPDATE, 0, id, &[0, 0, 0, 100]));
    assert_eq!(data(&mut talk), b"6789");
    let setting = ConnectionEvent { kind: EventKind::Settings, reason: EventReason::InitialWindowSize };
    assert_eq!(talk.events, [setting; 2], "the first SETTINGS are no change");
}

#[test]
fn what_was_taken_opens_the_windows_again() {
    let mut talk = Talk::new();
    let id = talk.open(b"ask");
    talk.frames();
    talk.hear(&framed(HEADERS, END_HEADERS, id, &ok()));
    let piece = framed(DATA, 0, id, &[0; frame::PAYLOAD_MOST]);
    let whole_window = WINDOW as usize / frame::PAYLOAD_MOST;
    for _ in 0..whole_window {
        talk.hear(&piece);
    }
    assert_eq!(talk.frames(), [], "nothing was taken");
    for _ in 0..whole_window {
        assert!(matches!(talk.piece(id), Poll::Ready(Ok(Some(_)))));
    }
    let updates: Vec<_> = talk.frames().iter().map(|(head, _)| (head.kind, head.stream)).collect();
    assert_eq!(updates, [(WINDOW_UPDATE, 0), (WINDOW_UPDATE, id), (WINDOW_UPDATE, 0), (WINDOW_UPDATE, id)]);
    for _ in 0..=whole_window {
        talk.hear(&piece);
    }
    assert!(is_protocol(talk.machine.ended.as_ref(), ErrorCode::FLOW_CONTROL_ERROR));
}

#[test]
fn an_answer_that_nobody_wants_is_reset_and_gives_its_window_back() {
    let mut talk = Talk::new();
    let id = talk.open(b"ask");
    talk.frames();
    talk.hear(&framed(HEADERS, END_HEADERS, id, &ok()));
    talk.hear(&framed(DATA, 0, id, &[0; 1000]));
    talk.machine.close(id);
    assert_eq!(talk.machine.taken, 1000);
    assert!(talk.frames().iter().any(|(head, code)| head.kind == RST_STREAM && code[3] == 8));
    // What was on its way meanwhile is no offence.
    talk.hear(&framed(DATA, 0, id, &[0; 500]));
    talk.hear(&framed(HEADERS, END_HEADERS | END_STREAM, id, &block(&[("grpc-status", "0")])));
    talk.hear(&framed(RST_STREAM, 0, id, &[0; 4]));
    talk.hear(&framed(WINDOW_UPDATE, 0, id, &[0, 0, 0, 9]));
    assert_eq!((talk.machine.taken, &talk.machine.ended), (1500, &None));
}

#[test]
fn no_more_streams_are_opened_than_the_peer_takes() {
    let mut talk = Talk::new();
    talk.hear(&framed(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]));
    let id = talk.open(b"");
    assert!(matches!(talk.machine.open(&[], &Bytes::new()), Opened::Full));
    talk.hear(&framed(HEADERS, END_HEADERS | END_STREAM, id, &ok()));
    assert_eq!(talk.open(b""), 3, "one that has ended is none, also while it is held");
}

#[test]
fn a_reset_is_told_unless_the_answer_was_whole() {
    let mut talk = Talk::new();
    let (whole, cut) = (talk.open(b""), talk.open(b""));
    talk.hear(&framed(HEADERS, END_HEADERS | END_STREAM, whole, &ok()));
    for id in [whole, cut] {
        talk.hear(&framed(RST_STREAM, 0, id, &[0, 0, 0, 7]));
    }
    assert!(matches!(talk.answer(whole), Poll::Ready(Ok(_))));
    assert_eq!(talk.why(cut), Break::Reset(ErrorCode::REFUSED_STREAM));
    let event = ConnectionEvent { kind: EventKind::RstStream, reason: EventReason::RefusedStream };
    assert_eq!(talk.events, [event; 2]);
}

#[test]
fn goaway_tells_streams_apart_and_takes_no_new_ones() {
    let mut talk = Talk::new();
    let (seen, unseen) = (talk.open(b""), talk.open(b""));
    talk.hear(&framed(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    assert_eq!(talk.why(unseen), Break::Refused(ErrorCode::NO_ERROR));
    assert!(talk.answer(seen).is_pending());
    assert_eq!(talk.machine.refuses(), Some(Break::Refused(ErrorCode::NO_ERROR)));
    talk.machine.finish(Break::Closed);
    assert_eq!((talk.why(seen), talk.machine.ended), (Break::Closed, Some(Ended::Peace)));

    let mut talk = Talk::new();
    let seen = talk.open(b"");
    talk.hear(&framed(GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\x0btoo_many_pings"));
    talk.machine.finish(Break::Io { kind: std::io::ErrorKind::BrokenPipe, text: String::new() });
    let gone = Break::Gone(ErrorCode::ENHANCE_YOUR_CALM);
    assert_eq!((talk.why(seen), talk.machine.goaway()), (gone.clone(), Some(EventReason::TooManyPings)));
    assert_eq!(talk.machine.ended, Some(Ended::Broke(gone)));
    assert_eq!(talk.events, [ConnectionEvent { kind: EventKind::Goaway, reason: EventReason::TooManyPings }]);
}

#[test]
fn pings_are_answered_and_only_the_own_ones_end() {
    let mut talk = Talk::new();
    talk.frames();
    talk.hear(&framed(PING, 0, 0, b"ABCDEFGH"));
    assert_eq!(
        talk.frames(),
        [(Head { length: 8, kind: PING, flags: ACK, stream: 0 }, b"ABCDEFGH".to_vec())]
    );
    assert!(talk.machine.ping() && !talk.machine.ping());
    let asked = talk.frames();
    let start = Instant::now();
    talk.machine.note_writing(start);
    let mut cx = Context::from_waker(Waker::noop());
    talk.hear(&framed(PING, ACK, 0, b"ABCDEFGH"));
    assert!(talk.machine.poll_pong(&mut cx).is_pending());
    talk.hear(&framed(PING, ACK, 0, &asked[0].1));
    assert!(talk.machine.was_pinged());
    let Poll::Ready(Some(took)) = talk.machine.poll_pong(&mut cx) else { panic!("no answer") };
    assert!(took <= start.elapsed());
}

#[test]
fn what_is_malformed_costs_its_stream_alone() {
    let cases: [&dyn Fn(u32) -> Vec<u8>; 8] = [
        &|id| framed(DATA, 0, id, b"before its head"),
        &|id| framed(HEADERS, END_HEADERS, id, &block(&[("x", "no status")])),
        &|id| framed(HEADERS, END_HEADERS, id, &block(&[(":status", "200"), ("connection", "close")])),
        &|id| [framed(HEADERS, END_HEADERS, id, &ok()), framed(HEADERS, END_HEADERS, id, &ok())].concat(),
        &|id| framed(WINDOW_UPDATE, 0, id, &[0; 4]),
        &|id| framed(WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff]),
        &|id| {
            let head = block(&[(":status", "200"), ("content-length", "3")]);
            [framed(HEADERS, END_HEADERS, id, &head), framed(DATA, 0, id, b"four")].concat()
        },
        &|id| {
            let head = block(&[(":status", "200"), ("content-length", "3")]);
            [framed(HEADERS, END_HEADERS, id, &head), framed(DATA, END_STREAM, id, b"2!")].concat()
        },
    ];
    for (nth, case) in cases.iter().enumerate() {
        let mut talk = Talk::new();
        let id = talk.open(b"ask");
        talk.frames();
        talk.hear(&case(id));
        // What came before is told before.
        let _ = talk.answer(id);
        let why = loop {
            match talk.piece(id) {
                Poll::Ready(Ok(Some(_))) => {}
                Poll::Ready(Err(why)) => break why,
                other => panic!("{nth}: {other:?}"),
            }
        };
        assert!(matches!(why, Break::Malformed(_)), "{nth}: {why}");
        let frames = talk.frames();
        assert!(
            frames.iter().any(|(head, code)| head.kind == RST_STREAM && code[3] == 1),
            "{nth}: {frames:?}"
        );
        assert_eq!(talk.machine.ended, None, "{nth}");
        assert_eq!(talk.open(b""), id + 2, "the connection is fit for others");
    }
}

#[test]
fn what_breaks_the_connections_rules_ends_it_with_the_specified_code() {
    let (protocol, size) = (ErrorCode::PROTOCOL_ERROR, ErrorCode::FRAME_SIZE_ERROR);
    for (nth, (bytes, code)) in [
        (framed(DATA, 0, 0, b"of no stream"), protocol),
        (framed(DATA, 0, 99, b"of one that was never opened"), protocol),
        (framed(DATA, PADDED, 1, b"\x09short"), protocol),
        (framed(HEADERS, END_HEADERS, 2, &ok()), protocol),
        (framed(HEADERS, END_HEADERS, 1, &[0x80]), ErrorCode::COMPRESSION_ERROR),
        ([framed(HEADERS, 0, 1, &ok()), framed(PING, 0, 0, &[0; 8])].concat(), protocol),
        ([framed(HEADERS, 0, 1, &ok()), framed(CONTINUATION, 0, 3, &ok())].concat(), protocol),
        (framed(CONTINUATION, END_HEADERS, 1, &ok()), protocol),
        (framed(PUSH_PROMISE, END_HEADERS, 1, &[0; 8]), protocol),
        (framed(SETTINGS, 0, 0, &[0; 5]), size),
        (framed(SETTINGS, ACK, 0, &[0; 6]), size),
        (framed(SETTINGS, 0, 1, &[]), protocol),
        (framed(SETTINGS, 0, 0, &[0, 4, 0xff, 0, 0, 0]), ErrorCode::FLOW_CONTROL_ERROR),
        (framed(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), protocol),
        (framed(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), protocol),
        (framed(PING, 0, 0, &[0; 7]), size),
        (framed(GOAWAY, 0, 0, &[0; 7]), size),
        (framed(RST_STREAM, 0, 1, &[0; 3]), size),
        (framed(RST_STREAM, 0, 5, &[0; 4]), protocol),
        (framed(WINDOW_UPDATE, 0, 0, &[0; 4]), protocol),
        (framed(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), ErrorCode::FLOW_CONTROL_ERROR),
        (framed(PRIORITY, 0, 1, &[0; 4]), size),
        (framed(77, 0, 1, &[0; frame::PAYLOAD_MOST + 1]), size),
        (
            [framed(HEADERS, END_HEADERS | END_STREAM, 1, &ok()), framed(DATA, 0, 1, b"more")].concat(),
            ErrorCode::STREAM_CLOSED,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut talk = Talk::new();
        talk.open(b"ask");
        talk.frames();
        talk.hear(&bytes);
        assert!(is_protocol(talk.machine.ended.as_ref(), code), "{nth}: {:?}", talk.machine.ended);
        let frames = talk.frames();
        let (head, payload) = frames.last().unwrap();
        assert_eq!((head.kind, payload[7]), (GOAWAY, u8::try_from(code.0).unwrap()), "{nth}");
    }
}

#[test]
fn floods_are_given_up() {
    let mut talk = Talk::new();
    for _ in 0..10_000 {
        talk.hear(&framed(PING, 0, 0, &[0; 8]));
    }
    assert!(matches!(talk.machine.ended, Some(Ended::Broke(Break::Flood(_)))));
    assert!(talk.machine.out.len() < 3 * OUT_MOST);

    for part in [&[][..], &[0x82; frame::PAYLOAD_MOST]] {
        let mut talk = Talk::new();
        let id = talk.open(b"");
        talk.hear(&framed(HEADERS, 0, id, part));
        for _ in 0..2000 {
            talk.hear(&framed(CONTINUATION, 0, id, part));
        }
        assert!(matches!(talk.why(id), Break::Flood(_)));
    }
}

#[test]
fn what_is_no_http2_is_noticed_by_its_fourth_byte() {
    let tls_alert = [21, 3, 3, 0, 2, 2, 70];
    for bytes in [&tls_alert[..4], b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0"] {
        let mut machine = Machine::new();
        machine.receive(bytes, came(), |_| ());
        assert_eq!(machine.begun, Some(Begun::Otherwise));
        assert!(is_protocol(machine.ended.as_ref(), ErrorCode::PROTOCOL_ERROR));
    }
    let mut machine = Machine::new();
    machine.receive(&[0, 0, 0], came(), |_| ());
    assert_eq!(machine.begun, None);
    machine.finish(Break::Closed);
    assert_eq!((machine.begun, machine.ended), (Some(Begun::Never), Some(Ended::Peace)));
}

#[test]
fn stamps_count_if_they_can_be_of_these_bytes() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let came = |stamp| Came { looked: at(10), stamp };
    assert_eq!(came(None).since(start), (at(10), false));
    assert_eq!(came(Some(at(4))).since(start), (at(4), true));
    assert_eq!(came(Some(at(4))).since(at(5)), (at(10), false), "it is of before");
    assert_eq!(came(Some(at(11))).since(start), (at(10), false), "it is of the future");
}

/// Frames that make some sense, among others.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let frame = (0_u8..12, any::<u8>(), 0_u32..8, prop::collection::vec(any::<u8>(), 0..40));
    let sensible = prop_oneof![
        frame.prop_map(|(kind, flags, stream, payload)| framed(kind, flags, stream, &payload)),
        (0_u32..6).prop_map(|stream| framed(HEADERS, END_HEADERS, stream, &ok())),
        (0_u32..6).prop_map(|stream| framed(DATA, END_STREAM, stream, b"data")),
        Just(framed(PING, 0, 0, &[1; 8])),
        Just(framed(SETTINGS, 0, 0, &[0, 4, 0, 0, 1, 0])),
    ];
    prop::collection::vec(sensible, 0..20).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn chunks_make_no_difference_and_nothing_makes_it_panic(bytes in frames(), chunk in 1_usize..50) {
        let bytes = [framed(SETTINGS, 0, 0, &[]), bytes].concat();
        prop_assert_eq!(overhear(&bytes, chunk), overhear(&bytes, usize::MAX));
    }
}
