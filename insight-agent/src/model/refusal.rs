//! Why a listener turned somebody away: the closed set of its counter's `reason` label.

/// A reason to refuse or to close. Each connection or request that is turned away counts under one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// The listener was full: the newcomer took the place of the idlest connection, or, with none idle,
    /// was closed itself.
    Crowded,
    /// The same among the connections of one peer, which had reached its share.
    PeerShare,
    /// No whole request head in time, on a new connection or on one that had begun another head.
    NoRequest,
    /// The TLS handshake was not finished in time.
    SlowHandshake,
    /// The TLS handshake failed for another reason than a client certificate.
    Handshake,
    /// The client showed no certificate where one is asked for, or one that is not accepted.
    ClientCertificate,
    /// A request head above the limit.
    HeadTooLarge,
    /// A request body or message above the limit, or figures in it that are.
    BodyTooLarge,
    /// What came is not the protocol of this listener, or breaks its rules.
    Malformed,
    /// A token, password or user that is missing or wrong.
    Unauthenticated,
    /// A request that a web page of another host made, or one with another host's name.
    Forbidden,
    /// More streams on one HTTP/2 connection than it may have.
    TooManyStreams,
    /// Frames that cost more than they say: resets, PINGs or header continuations in great numbers.
    Flooded,
    /// Too many requests of the listener were under way.
    Busy,
    /// A request whose body did not come in time.
    SlowRequest,
    /// A peer that took nothing of its response for too long.
    SlowReader,
}

impl Refusal {
    /// Every reason, in order of declaration.
    pub const ALL: [Self; 16] = [
        Self::Crowded,
        Self::PeerShare,
        Self::NoRequest,
        Self::SlowHandshake,
        Self::Handshake,
        Self::ClientCertificate,
        Self::HeadTooLarge,
        Self::BodyTooLarge,
        Self::Malformed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::TooManyStreams,
        Self::Flooded,
        Self::Busy,
        Self::SlowRequest,
        Self::SlowReader,
    ];

    /// The names, in the same order.
    pub const NAMES: [&'static str; Self::ALL.len()] = [
        "crowded",
        "peer_share",
        "no_request",
        "slow_handshake",
        "handshake",
        "client_certificate",
        "head_too_large",
        "body_too_large",
        "malformed",
        "unauthenticated",
        "forbidden",
        "too_many_streams",
        "flooded",
        "busy",
        "slow_request",
        "slow_reader",
    ];

    /// The name used in labels.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_at_the_place_of_their_name() {
        for (at, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            assert_eq!(format!("{reason:?}").to_lowercase(), reason.as_str().replace('_', ""));
        }
    }
}
