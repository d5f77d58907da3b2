//! What peers do to connections, besides answering: a closed set of events, each with a reason.

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A GOAWAY frame came. Reason: its error code.
    Goaway,
    /// A RST_STREAM frame came. Reason: its error code.
    RstStream,
    /// A SETTINGS frame after the first one. Reason: each parameter that it sets.
    Settings,
    /// A request could not be sent at once. Reason: what held it.
    SendStall,
}

impl EventKind {
    /// The names, in order of declaration: the closed set of an `event` label.
    pub const NAMES: [&'static str; 4] = ["goaway", "rst_stream", "settings", "send_stall"];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Why it happened. Each kind of event has its own part of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the specification's own, but for those with a text")]
pub enum EventReason {
    // GOAWAY and RST_STREAM: RFC 9113, section 7, ordered by code.
    NoError,
    ProtocolError,
    InternalError,
    FlowControlError,
    SettingsTimeout,
    StreamClosed,
    FrameSizeError,
    RefusedStream,
    Cancel,
    CompressionError,
    ConnectError,
    EnhanceYourCalm,
    InadequateSecurity,
    Http11Required,
    /// An error code or a parameter outside of the specification.
    Other,
    /// ENHANCE_YOUR_CALM with the text by which gRPC servers say that PINGs come too often.
    TooManyPings,
    // SETTINGS: RFC 9113, section 6.5.2, ordered by identifier.
    HeaderTableSize,
    EnablePush,
    MaxConcurrentStreams,
    InitialWindowSize,
    MaxFrameSize,
    MaxHeaderListSize,
    /// The peer's HTTP/2 window was closed.
    Http2Window,
    /// This host's socket took no more: the peer's TCP window is closed, or the link is slow.
    Socket,
}

impl EventReason {
    /// The names, in order of declaration: the closed set of a `reason` label.
    pub const NAMES: [&'static str; 24] = [
        "no_error",
        "protocol_error",
        "internal_error",
        "flow_control_error",
        "settings_timeout",
        "stream_closed",
        "frame_size_error",
        "refused_stream",
        "cancel",
        "compression_error",
        "connect_error",
        "enhance_your_calm",
        "inadequate_security",
        "http_1_1_required",
        "other",
        "too_many_pings",
        "header_table_size",
        "enable_push",
        "max_concurrent_streams",
        "initial_window_size",
        "max_frame_size",
        "max_header_list_size",
        "http2_window",
        "socket",
    ];

    /// Error codes 0 to 13.
    const CODES: [Self; 14] = [
        Self::NoError,
        Self::ProtocolError,
        Self::InternalError,
        Self::FlowControlError,
        Self::SettingsTimeout,
        Self::StreamClosed,
        Self::FrameSizeError,
        Self::RefusedStream,
        Self::Cancel,
        Self::CompressionError,
        Self::ConnectError,
        Self::EnhanceYourCalm,
        Self::InadequateSecurity,
        Self::Http11Required,
    ];

    /// Identifiers 1 to 6.
    const SETTINGS: [Self; 6] = [
        Self::HeaderTableSize,
        Self::EnablePush,
        Self::MaxConcurrentStreams,
        Self::InitialWindowSize,
        Self::MaxFrameSize,
        Self::MaxHeaderListSize,
    ];

    /// The name used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Of an HTTP/2 error code.
    pub fn of_code(code: u32) -> Self {
        usize::try_from(code).ok().and_then(|at| Self::CODES.get(at).copied()).unwrap_or(Self::Other)
    }

    /// Of a SETTINGS parameter.
    pub fn of_setting(identifier: u16) -> Self {
        usize::from(identifier)
            .checked_sub(1)
            .and_then(|at| Self::SETTINGS.get(at).copied())
            .unwrap_or(Self::Other)
    }
}

/// One kind of event with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionEvent {
    /// What happened.
    pub kind: EventKind,
    /// Why.
    pub reason: EventReason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_parameters_have_the_specifications_names() {
        assert_eq!(EventReason::of_code(0).as_str(), "no_error");
        assert_eq!(EventReason::of_code(0xb).as_str(), "enhance_your_calm");
        assert_eq!(EventReason::of_code(0xd).as_str(), "http_1_1_required");
        assert_eq!(EventReason::of_code(0xe), EventReason::Other);
        assert_eq!(EventReason::of_setting(1).as_str(), "header_table_size");
        assert_eq!(EventReason::of_setting(4).as_str(), "initial_window_size");
        assert_eq!(EventReason::of_setting(0), EventReason::Other);
        assert_eq!(EventReason::of_setting(7), EventReason::Other);
        assert_eq!(EventReason::NAMES[EventReason::Socket as usize], "socket");
        assert_eq!(EventKind::NAMES[EventKind::SendStall as usize], "send_stall");
    }
}
