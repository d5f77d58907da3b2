//! The kernel's own round trips of a connection.
//!
//! **Source**: `getsockopt(TCP_INFO)`, `struct tcp_info` of the kernel's UAPI (`linux/tcp.h`). The
//! structure only ever grows at its end, so fixed offsets are part of the interface; a field
//! beyond the length that the kernel returned reads as `None`.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Byte offset of `tcpi_rtt` (u32, µs, smoothed).
const OFFSET_RTT: usize = 68;
/// Byte offset of `tcpi_min_rtt` (u32, µs, windowed minimum; kernel 4.6).
const OFFSET_MIN_RTT: usize = 148;
/// Byte offset of `tcpi_notsent_bytes` (u32; kernel 4.6).
const OFFSET_NOT_SENT: usize = 144;
/// More than the fields above need, less than the whole structure.
const LENGTH: usize = 160;
/// What the kernel reports as minimum before it has a sample.
const NO_SAMPLE: u32 = u32::MAX;

/// Round trips as the kernel saw them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TcpInfo {
    /// Smoothed round trip. Right after the handshake it is the handshake's. **None**: no
    /// sample yet.
    pub(super) rtt: Option<Duration>,
    /// Windowed minimum. **None**: no sample yet, or the kernel does not tell.
    pub(super) min_rtt: Option<Duration>,
    /// Bytes that were written to the socket and never sent: the peer's window, or the path, does not
    /// take them. **None**: the kernel does not tell.
    pub(super) not_sent: Option<u32>,
}

/// Reads the socket's figures; a socket that is no TCP socket any more gives `None`s.
pub(super) fn read_tcp_info(socket: BorrowedFd<'_>) -> TcpInfo {
    let mut bytes = [0_u8; LENGTH];
    let mut length = LENGTH as libc::socklen_t;
    #[expect(unsafe_code, reason = "no wrapper offers TCP_INFO with the length that the kernel filled")]
    // SAFETY: `bytes` is valid for `length` writable bytes, `length` is initialised and outlives
    // the call, and the descriptor is open for as long as `socket` is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return TcpInfo::default();
    }
    parse_tcp_info(bytes.get(..length as usize).unwrap_or_default())
}

fn parse_tcp_info(bytes: &[u8]) -> TcpInfo {
    let field = |offset: usize| {
        let field: [u8; 4] = bytes.get(offset..offset + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(field))
    };
    let micros = |offset: usize| match field(offset)? {
        0 | NO_SAMPLE => None,
        micros => Some(Duration::from_micros(u64::from(micros))),
    };
    TcpInfo { rtt: micros(OFFSET_RTT), min_rtt: micros(OFFSET_MIN_RTT), not_sent: field(OFFSET_NOT_SENT) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_short_answer_gives_none_for_what_it_lacks() {
        let mut bytes = [0_u8; LENGTH];
        bytes[OFFSET_RTT..OFFSET_RTT + 4].copy_from_slice(&1500_u32.to_ne_bytes());
        bytes[OFFSET_MIN_RTT..OFFSET_MIN_RTT + 4].copy_from_slice(&1200_u32.to_ne_bytes());
        let rtt = Some(Duration::from_micros(1500));
        bytes[OFFSET_NOT_SENT..OFFSET_NOT_SENT + 4].copy_from_slice(&7_u32.to_ne_bytes());
        let min_rtt = Some(Duration::from_micros(1200));
        assert_eq!(parse_tcp_info(&bytes), TcpInfo { rtt, min_rtt, not_sent: Some(7) });
        assert_eq!(parse_tcp_info(&bytes[..104]), TcpInfo { rtt, min_rtt: None, not_sent: None });
        assert_eq!(parse_tcp_info(&[]), TcpInfo::default());
    }

    #[test]
    fn a_loopback_connection_has_a_handshake_round_trip() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let info = read_tcp_info(stream.as_fd());
        assert!(info.rtt.is_some_and(|rtt| rtt < Duration::from_secs(1)), "{info:?}");
        assert!(info.min_rtt <= info.rtt, "{info:?}");
    }

    #[test]
    fn a_socket_that_is_not_tcp_gives_none() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(read_tcp_info(socket.as_fd()), TcpInfo::default());
    }
}
