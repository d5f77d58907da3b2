//! Data ready to application read, with the sequence numbers that tell a read from a peek.

use super::exchange::is_control;
use super::layout::Socket;

/// TCP's state with both directions open, as the kernel numbers it.
const ESTABLISHED: u8 = 1;

/// Reads of one call follow each other by the time it takes to copy a segment, a few µs. A rest
/// that is read within this time was read by the same call and is no wait of its own.
pub const SAME_READ_NS: u64 = 100_000;

/// What is unread: the values of [`Socket::unread`]. Nothing that is known of.
const NOTHING: u8 = 0;
/// Bytes that have waited since `ready_ns`.
const ARRIVED: u8 = 1;
/// What a partial read left behind: `ready_ns` is when that was.
const REST: u8 = 2;
/// Bytes for which nobody waits: HTTP/2 housekeeping alone, or what was there before the socket was
/// known. `ready_ns` is 0.
const CONTROL: u8 = 3;

/// How far a connection's receiving side has come, as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// The next byte expected from the network.
    pub rcv_nxt: u32,
    /// The next byte that the application will read.
    pub copied: u32,
    /// TCP's state.
    pub state: u8,
}

impl Sequence {
    /// Bytes that the application has not read. A FIN takes a sequence number and is no byte.
    #[inline(always)]
    const fn unread(&self) -> u32 {
        self.bytes(self.rcv_nxt.wrapping_sub(self.copied))
    }

    /// So many sequence numbers as bytes: one alone, of a peer that no longer sends, is its FIN.
    #[inline(always)]
    const fn bytes(&self, numbers: u32) -> u32 {
        if self.state != ESTABLISHED && numbers == 1 { 0 } else { numbers }
    }
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Nothing was consumed that anybody waited for, or the same call goes on.
    Nothing,
    /// The oldest byte waited so long. **Unit**: ns.
    Waited(u64),
    /// Data was read that was not seen to arrive.
    Unstamped,
}

/// The socket has been open for long: what is unread now arrived nobody knows when, and is no wait;
/// what comes behind it is one from its own arrival on.
#[inline(always)]
pub fn join(socket: &mut Socket, sequence: &Sequence) {
    socket.seen_seq = sequence.rcv_nxt;
    socket.copied_seq = sequence.copied;
    socket.seen = 1;
    socket.unread = if sequence.unread() == 0 { NOTHING } else { CONTROL };
}

/// Data became readable. True: bytes of a request or of an answer are among what is new. With
/// `http2`, housekeeping is none: it does not begin a wait, and what comes behind it while it is
/// unread has waited since its own arrival.
#[inline(always)]
pub fn ready(socket: &mut Socket, now: u64, sequence: &Sequence, http2: bool) -> bool {
    let unread = sequence.unread();
    if unread == 0 {
        return false;
    }
    // Before the first data, `seen_seq` is unknown: all that is unread is new.
    let new = match socket.seen {
        0 => unread,
        _ => sequence.bytes(sequence.rcv_nxt.wrapping_sub(socket.seen_seq)),
    };
    socket.seen_seq = sequence.rcv_nxt;
    socket.seen = 1;
    let matters = new != 0 && !(http2 && is_control(new));
    // The oldest byte is what waits longest.
    if matters && socket.ready_ns == 0 {
        // What was unread before is housekeeping.
        let waiting = if new < unread { new } else { unread };
        socket.ready_seq = sequence.rcv_nxt.wrapping_sub(waiting);
        socket.ready_ns = now;
        socket.unread = ARRIVED;
    } else if socket.ready_ns == 0 {
        socket.unread = CONTROL;
    }
    matters
}

/// The application may have read: `copied` says whether it did.
#[inline(always)]
pub fn read(socket: &mut Socket, now: u64, sequence: &Sequence, http2: bool) -> Read {
    let since = socket.ready_ns;
    let unread = sequence.unread();
    if since == 0 {
        if socket.unread != CONTROL {
            return Read::Unstamped;
        }
        if unread == 0 {
            socket.unread = NOTHING;
        }
        return Read::Nothing;
    }
    // Not beyond the first byte that waits: a peek, or housekeeping in front of it.
    if sequence.copied.wrapping_sub(socket.ready_seq) as i32 <= 0 {
        return Read::Nothing;
    }
    let waited = now.saturating_sub(since);
    let same_call = socket.unread == REST && waited < SAME_READ_NS;
    if unread == 0 {
        socket.ready_ns = 0;
        socket.unread = NOTHING;
    } else if http2 && is_control(unread) {
        socket.ready_ns = 0;
        socket.unread = CONTROL;
    } else {
        // What stays unread arrived before now; counting it from now on is a lower bound.
        socket.ready_ns = now;
        socket.ready_seq = sequence.copied;
        socket.unread = REST;
    }
    if same_call { Read::Nothing } else { Read::Waited(waited) }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Role;
    use super::*;

    const CLOSE_WAIT: u8 = 8;
    const PING: u32 = 17;

    fn socket() -> Socket {
        Socket::opening(Role::Accepted as u8)
    }

    const fn open(rcv_nxt: u32, copied: u32) -> Sequence {
        Sequence { rcv_nxt, copied, state: ESTABLISHED }
    }

    const fn closing(rcv_nxt: u32, copied: u32) -> Sequence {
        Sequence { rcv_nxt, copied, state: CLOSE_WAIT }
    }

    #[test]
    fn the_oldest_byte_counts_and_a_full_read_ends_the_wait() {
        let mut socket = socket();
        assert!(ready(&mut socket, 1_000, &open(600, 500), true));
        assert!(ready(&mut socket, 2_000, &open(650, 500), true));
        assert_eq!(read(&mut socket, 9_000, &open(650, 650), true), Read::Waited(8_000));
        assert_eq!(read(&mut socket, 9_500, &open(650, 650), true), Read::Unstamped);
    }

    #[test]
    fn a_peek_ends_nothing() {
        let mut socket = socket();
        ready(&mut socket, 1_000, &open(600, 500), true);
        assert_eq!(read(&mut socket, 2_000, &open(600, 500), true), Read::Nothing);
        assert_eq!(read(&mut socket, 3_000, &open(600, 600), true), Read::Waited(2_000));
    }

    #[test]
    fn a_rest_is_a_wait_of_its_own_unless_the_same_call_reads_it() {
        let mut socket = socket();
        ready(&mut socket, 1_000, &open(600, 500), true);
        assert_eq!(read(&mut socket, 5_000, &open(600, 550), true), Read::Waited(4_000));
        let next_segment = read(&mut socket, 6_000, &open(600, 580), true);
        assert_eq!(next_segment, Read::Nothing, "the next segment of a call");
        let late = read(&mut socket, 6_000 + SAME_READ_NS, &open(600, 600), true);
        assert_eq!(late, Read::Waited(SAME_READ_NS));
    }

    #[test]
    fn a_fin_is_no_data() {
        let mut socket = socket();
        assert!(!ready(&mut socket, 1_000, &closing(501, 500), true));
        assert_eq!(socket.ready_ns, 0);
        ready(&mut socket, 2_000, &closing(601, 500), true);
        assert_eq!(read(&mut socket, 3_000, &closing(601, 600), true), Read::Waited(1_000));
        assert_eq!(socket.ready_ns, 0, "only the FIN is left");
    }

    #[test]
    fn a_fin_behind_unread_bytes_is_neither_news_nor_a_wait() {
        let mut socket = socket();
        assert!(ready(&mut socket, 1_000, &open(600, 500), true));
        assert!(!ready(&mut socket, 2_000, &closing(601, 500), true));
        assert_eq!(read(&mut socket, 3_000, &closing(601, 600), true), Read::Waited(2_000));

        let mut socket = self::socket();
        assert!(!ready(&mut socket, 1_000, &open(500 + PING, 500), true));
        assert!(!ready(&mut socket, 2_000, &closing(501 + PING, 500), true));
        assert_eq!(read(&mut socket, 3_000, &closing(501 + PING, 500 + PING), true), Read::Nothing);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut socket = socket();
        assert!(ready(&mut socket, 1_000, &open(10, u32::MAX - 9), true));
        assert_eq!(read(&mut socket, 2_000, &open(10, 10), true), Read::Waited(1_000));
    }

    #[test]
    fn nobody_waits_for_housekeeping() {
        let mut socket = socket();
        assert!(!ready(&mut socket, 1_000, &open(500 + PING, 500), true));
        assert_eq!(read(&mut socket, 2_000, &open(500 + PING, 500), true), Read::Nothing, "a peek");
        assert_eq!(read(&mut socket, 3_000, &open(500 + PING, 500 + PING), true), Read::Nothing);
        let again = read(&mut socket, 4_000, &open(500 + PING, 500 + PING), true);
        assert_eq!(again, Read::Unstamped, "what was not seen to arrive is still told");
    }

    #[test]
    fn without_http2_every_byte_is_waited_for() {
        let mut socket = socket();
        assert!(ready(&mut socket, 1_000, &open(500 + PING, 500), false));
        assert_eq!(read(&mut socket, 3_000, &open(500 + PING, 500 + PING), false), Read::Waited(2_000));
    }

    #[test]
    fn a_request_behind_unread_housekeeping_waits_from_its_own_arrival() {
        let mut socket = socket();
        assert!(!ready(&mut socket, 1_000, &open(500 + PING, 500), true));
        assert!(ready(&mut socket, 5_000, &open(600 + PING, 500), true));
        let control = read(&mut socket, 6_000, &open(600 + PING, 500 + PING), true);
        assert_eq!(control, Read::Nothing, "only the housekeeping was read");
        assert_eq!(read(&mut socket, 7_000, &open(600 + PING, 600 + PING), true), Read::Waited(2_000));
    }

    #[test]
    fn what_was_unread_when_the_socket_became_known_is_no_wait_and_no_loss() {
        for http2 in [false, true] {
            let mut socket = socket();
            join(&mut socket, &open(600, 500));
            assert_eq!(read(&mut socket, 1_000, &open(600, 550), http2), Read::Nothing);
            assert!(ready(&mut socket, 2_000, &open(700, 550), http2));
            assert_eq!(read(&mut socket, 3_000, &open(700, 600), http2), Read::Nothing, "the old rest");
            assert_eq!(read(&mut socket, 5_000, &open(700, 700), http2), Read::Waited(3_000));
        }
        let mut socket = socket();
        join(&mut socket, &open(500, 500));
        assert!(ready(&mut socket, 2_000, &open(600, 500), true), "all that comes is new");
        assert_eq!(read(&mut socket, 3_000, &open(600, 600), true), Read::Waited(1_000));
        let mut socket = self::socket();
        join(&mut socket, &closing(501, 500));
        assert!(!ready(&mut socket, 2_000, &closing(501, 500), true), "only the FIN was unread");
    }

    #[test]
    fn housekeeping_that_a_partial_read_leaves_behind_is_no_wait() {
        let mut socket = socket();
        assert!(ready(&mut socket, 1_000, &open(600, 500), true));
        assert!(!ready(&mut socket, 2_000, &open(600 + PING, 500), true));
        assert_eq!(read(&mut socket, 3_000, &open(600 + PING, 600), true), Read::Waited(2_000));
        assert_eq!(read(&mut socket, 50 * SAME_READ_NS, &open(600 + PING, 600 + PING), true), Read::Nothing);
    }
}
