//! What is no request and no answer, known by its size.

/// What TLS 1.3 adds to each.
const TLS_RECORD: u32 = 22;

/// Which sizes are no request and no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// None: it is another protocol.
    Nothing,
    /// Those of HTTP/2 frames.
    Plain,
    /// Those, with and without what TLS 1.3 adds.
    Tls,
}

impl Control {
    /// As configured: HTTP/2 or not, and how many exchanges of a connection are left out, which are two
    /// where a TLS handshake comes first.
    #[inline(always)]
    pub const fn of(http2: bool, skip: u16) -> Self {
        match (http2, skip) {
            (false, _) => Self::Nothing,
            (true, 0 | 1) => Self::Plain,
            (true, _) => Self::Tls,
        }
    }

    /// Whether so many bytes at once are HTTP/2 housekeeping.
    #[inline(always)]
    pub const fn is(self, bytes: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::Plain => is_listed(bytes),
            Self::Tls => is_listed(bytes) || (bytes > TLS_RECORD && is_listed(bytes - TLS_RECORD)),
        }
    }
}

/// Frames that are no request and no answer: SETTINGS acknowledgement and empty SETTINGS 9,
/// WINDOW_UPDATE 13, PING 17, and what pairs of them come to.
#[inline(always)]
const fn is_listed(bytes: u32) -> bool {
    matches!(bytes, 9 | 13 | 17 | 22 | 26 | 30 | 34)
}
