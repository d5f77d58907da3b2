//! Why a stream or a connection ended.

use crate::model::connection_event::EventReason;
use std::fmt;
use std::io;

/// An HTTP/2 error code. **Source**: RFC 9113, section 7.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    pub(super) const NO_ERROR: Self = Self(0x0);
    pub(super) const PROTOCOL_ERROR: Self = Self(0x1);
    pub(super) const FLOW_CONTROL_ERROR: Self = Self(0x3);
    pub(super) const STREAM_CLOSED: Self = Self(0x5);
    pub(super) const FRAME_SIZE_ERROR: Self = Self(0x6);
    pub(in crate::collect::probe) const REFUSED_STREAM: Self = Self(0x7);
    pub(in crate::collect::probe) const CANCEL: Self = Self(0x8);
    pub(super) const COMPRESSION_ERROR: Self = Self(0x9);
    pub(in crate::collect::probe) const ENHANCE_YOUR_CALM: Self = Self(0xb);
    pub(in crate::collect::probe) const INADEQUATE_SECURITY: Self = Self(0xc);

    /// Whether nothing went wrong.
    pub(in crate::collect::probe) fn is_none(self) -> bool {
        self == Self::NO_ERROR
    }
}

impl fmt::Display for ErrorCode {
    /// The specification's name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match EventReason::of_code(self.0) {
            EventReason::Other => write!(formatter, "error code {:#x}", self.0),
            known => formatter.write_str(&known.as_str().to_ascii_uppercase()),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Why a stream, or all of a connection, gives no more answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// The peer reset the stream.
    #[error("the stream was reset with {0}")]
    Reset(ErrorCode),
    /// The peer said GOAWAY and does not count this stream among those that it looks at.
    #[error("GOAWAY {0}")]
    Refused(ErrorCode),
    /// The connection ended behind a GOAWAY with an error that had counted the stream in.
    #[error("GOAWAY {0}")]
    Gone(ErrorCode),
    /// The answer on this stream breaks the rules; the connection is fit for others.
    #[error("a malformed answer: {0}")]
    Malformed(&'static str),
    /// The header fields of an answer, or its trailers, are larger than what is accepted.
    #[error("too many header fields")]
    TooManyHeaders,
    /// What came breaks the rules of the connection.
    #[error("{what} ({code})")]
    Protocol {
        /// With what this end closes it.
        code: ErrorCode,
        /// The rule.
        what: &'static str,
    },
    /// Frames or header blocks without end.
    #[error("a flood: {0}")]
    Flood(&'static str),
    /// The socket, or TLS, broke.
    #[error("{text}")]
    Io {
        /// Of what kind.
        kind: io::ErrorKind,
        /// The error's own words.
        text: String,
    },
    /// The peer closed the connection without a word.
    #[error("the connection was closed")]
    Closed,
    /// All numbers for streams are used up.
    #[error("the connection has carried all of the streams that it may")]
    Exhausted,
}

impl Break {
    pub(super) fn protocol(code: ErrorCode, what: &'static str) -> Self {
        Self::Protocol { code, what }
    }

    pub(super) fn io(error: &io::Error) -> Self {
        Self::Io { kind: error.kind(), text: error.to_string() }
    }

    /// With what this end closes the connection for it.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::Protocol { code, .. } => *code,
            Self::Flood(_) => ErrorCode::ENHANCE_YOUR_CALM,
            _ => ErrorCode::NO_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_specifications_names() {
        assert_eq!(ErrorCode(0).to_string(), "NO_ERROR");
        assert_eq!(ErrorCode::ENHANCE_YOUR_CALM.to_string(), "ENHANCE_YOUR_CALM");
        assert_eq!(format!("{:?}", ErrorCode(0x2)), "INTERNAL_ERROR");
        assert_eq!(ErrorCode(0x77).to_string(), "error code 0x77");
    }
}
