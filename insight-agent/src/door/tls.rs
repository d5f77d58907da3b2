//! What was wrong with a TLS handshake, as a reason to count.

use crate::model::refusal::Refusal;
use std::io::{self, ErrorKind};

/// The reason behind a failed handshake. **None**: none of the peer's making, or counted already. `heard`:
/// the peer has sent something.
pub(super) fn refusal(error: &io::Error, heard: bool) -> Option<Refusal> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            Some(Refusal::ClientCertificate)
        }
        Some(_) => Some(Refusal::Handshake),
        // The connection's own bounds broke it; they have counted it.
        None if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::ConnectionAborted) => None,
        // A port scan, or a health check that only connects.
        None if !heard => None,
        None => Some(Refusal::Handshake),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;

    #[test]
    fn a_handshakes_failure_has_the_reason_that_its_error_names() {
        let of = |error: rustls::Error| refusal(&io::Error::new(ErrorKind::InvalidData, error), true);
        assert_eq!(of(rustls::Error::NoCertificatesPresented), Some(Refusal::ClientCertificate));
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(of(unknown), Some(Refusal::ClientCertificate));
        assert_eq!(of(rustls::Error::HandshakeNotComplete), Some(Refusal::Handshake));
        let end = || io::Error::from(ErrorKind::UnexpectedEof);
        assert_eq!(refusal(&end(), true), Some(Refusal::Handshake));
        assert_eq!(refusal(&end(), false), None);
        assert_eq!(refusal(&io::Error::from(ErrorKind::TimedOut), true), None);
    }
}
