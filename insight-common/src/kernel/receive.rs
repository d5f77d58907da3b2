//! Data ready to application read, with the sequence numbers that tell a read from a peek.

use super::layout::Socket;

/// TCP's state with both directions open, as the kernel numbers it.
const ESTABLISHED: u8 = 1;

/// Reads of one call follow each other by the time it takes to copy a segment, a few µs. A rest
/// that is read within this time was read by the same call and is no wait of its own.
pub const SAME_READ_NS: u64 = 100_000;

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Nothing was consumed, or the same call goes on.
    Nothing,
    /// The oldest byte waited so long. **Unit**: ns.
    Waited(u64),
    /// Data was read that was not seen to arrive.
    Unstamped,
}

/// Bytes that the application has not read. A FIN takes a sequence number and is no byte.
#[inline(always)]
pub const fn unread(rcv_nxt: u32, copied_seq: u32, state: u8) -> u32 {
    let unread = rcv_nxt.wrapping_sub(copied_seq);
    if state != ESTABLISHED && unread == 1 { 0 } else { unread }
}

/// Data became readable. Gives the bytes that are new.
#[inline(always)]
pub fn ready(socket: &mut Socket, now: u64, rcv_nxt: u32, copied_seq: u32, state: u8) -> u32 {
    let unread = unread(rcv_nxt, copied_seq, state);
    if unread == 0 {
        return 0;
    }
    // The oldest byte is what waits longest.
    if socket.ready_ns == 0 {
        socket.ready_ns = now;
        socket.ready_seq = copied_seq;
        socket.rest = 0;
    }
    // Before the first data, `seen_seq` is unknown: all that is unread is new.
    let new = if socket.seen == 0 { unread } else { rcv_nxt.wrapping_sub(socket.seen_seq) };
    socket.seen_seq = rcv_nxt;
    socket.seen = 1;
    new
}

/// The application may have read: `copied_seq` says whether it did.
#[inline(always)]
pub fn read(socket: &mut Socket, now: u64, rcv_nxt: u32, copied_seq: u32, state: u8) -> Read {
    let since = socket.ready_ns;
    if since == 0 {
        return Read::Unstamped;
    }
    if copied_seq == socket.ready_seq {
        return Read::Nothing;
    }
    let waited = now.saturating_sub(since);
    let same_call = socket.rest != 0 && waited < SAME_READ_NS;
    if unread(rcv_nxt, copied_seq, state) == 0 {
        socket.ready_ns = 0;
        socket.rest = 0;
    } else {
        // What stays unread arrived before now; counting it from now on is a lower bound.
        socket.ready_ns = now;
        socket.ready_seq = copied_seq;
        socket.rest = 1;
    }
    if same_call { Read::Nothing } else { Read::Waited(waited) }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Role;
    use super::*;

    const CLOSE_WAIT: u8 = 8;

    fn socket() -> Socket {
        Socket::opening(Role::Accepted)
    }

    #[test]
    fn the_oldest_byte_counts_and_a_full_read_ends_the_wait() {
        let mut socket = socket();
        assert_eq!(ready(&mut socket, 1_000, 600, 500, ESTABLISHED), 100);
        assert_eq!(ready(&mut socket, 2_000, 650, 500, ESTABLISHED), 50);
        assert_eq!(read(&mut socket, 9_000, 650, 650, ESTABLISHED), Read::Waited(8_000));
        assert_eq!(read(&mut socket, 9_500, 650, 650, ESTABLISHED), Read::Unstamped);
    }

    #[test]
    fn a_peek_ends_nothing() {
        let mut socket = socket();
        ready(&mut socket, 1_000, 600, 500, ESTABLISHED);
        assert_eq!(read(&mut socket, 2_000, 600, 500, ESTABLISHED), Read::Nothing);
        assert_eq!(read(&mut socket, 3_000, 600, 600, ESTABLISHED), Read::Waited(2_000));
    }

    #[test]
    fn a_rest_is_a_wait_of_its_own_unless_the_same_call_reads_it() {
        let mut socket = socket();
        ready(&mut socket, 1_000, 600, 500, ESTABLISHED);
        assert_eq!(read(&mut socket, 5_000, 600, 550, ESTABLISHED), Read::Waited(4_000));
        assert_eq!(
            read(&mut socket, 6_000, 600, 580, ESTABLISHED),
            Read::Nothing,
            "the next segment of a call"
        );
        assert_eq!(
            read(&mut socket, 6_000 + SAME_READ_NS, 600, 600, ESTABLISHED),
            Read::Waited(SAME_READ_NS)
        );
    }

    #[test]
    fn a_fin_is_no_data() {
        let mut socket = socket();
        assert_eq!(ready(&mut socket, 1_000, 501, 500, CLOSE_WAIT), 0);
        assert_eq!(socket.ready_ns, 0);
        ready(&mut socket, 2_000, 601, 500, CLOSE_WAIT);
        assert_eq!(read(&mut socket, 3_000, 601, 600, CLOSE_WAIT), Read::Waited(1_000));
        assert_eq!(socket.ready_ns, 0, "only the FIN is left");
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut socket = socket();
        assert_eq!(ready(&mut socket, 1_000, 10, u32::MAX - 9, ESTABLISHED), 20);
        assert_eq!(read(&mut socket, 2_000, 10, 10, ESTABLISHED), Read::Waited(1_000));
    }
}
