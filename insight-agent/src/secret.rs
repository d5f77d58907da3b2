//! Secrets: those that callers must present, and those that are presented to others.

use ring::hmac;
use std::fmt;

/// Names the purpose; it is no secret. The HMAC is here for its comparison, which takes the same
/// time wherever two values differ and however long they are.
const PURPOSE: &[u8] = b"insight-agent: comparison of secrets";

/// A token or password. The text itself is not kept, so neither `Debug` nor a core dump shows it.
#[derive(Clone)]
pub struct Secret {
    tag: hmac::Tag,
}

impl Secret {
    /// The secret in the text of a file: without white space around it, such as the last line's
    /// end. **None**: nothing is left, and an empty secret would let everybody in.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        (!text.is_empty()).then(|| Self::new(text))
    }

    pub(crate) fn new(secret: &[u8]) -> Self {
        Self { tag: hmac::sign(&key(), secret) }
    }

    /// Whether this is the secret, in a time that does not depend on how much of it is right.
    pub fn matches(&self, presented: &[u8]) -> bool {
        hmac::verify(&key(), presented, self.tag.as_ref()).is_ok()
    }
}

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, PURPOSE)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A bearer token to present. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(String);

impl Bearer {
    /// The token in the text of a file, without white space around it. **None**: there is none, or
    /// it is one that no header can carry.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let token = std::str::from_utf8(text).ok()?.trim();
        let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(token.to_owned()))
    }

    /// The value of an `authorization` header; it must never be logged.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A text of somebody else's without this token in it.
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// User and password to present to a proxy. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Basic(String);

impl Basic {
    /// `user:password` in the text of a file, without white space around it. **None**: there is no colon, no
    /// user, or something that is not printed (RFC 7617 forbids control characters).
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim();
        let (user, _) = text.split_once(':')?;
        let fits = !user.is_empty() && !text.chars().any(char::is_control);
        fits.then(|| Self(text.to_owned()))
    }

    /// The value of a `proxy-authorization` header; it must never be logged.
    pub fn header(&self) -> String {
        use base64::Engine;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_itself_matches() {
        let secret = Secret::from_text(b" s3cret\n").unwrap();
        assert!(secret.matches(b"s3cret"));
        for wrong in ["", "s3cre", "s3crets", "S3cret", " s3cret\n"] {
            assert!(!secret.matches(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn empty_text_is_no_secret() {
        assert!(Secret::from_text(b" \r\n").is_none());
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new(b"s3cret")), "***");
        assert_eq!(format!("{:?}", Bearer::from_text(b"s3cret\n").unwrap()), "***");
    }

    #[test]
    fn a_users_password_may_hold_colons_and_is_never_shown() {
        let basic = Basic::from_text(b" Aladdin:open sesame\n").unwrap();
        // RFC 7617 section 2 has this very example.
        assert_eq!(basic.header(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{basic:?}"), "***");
        assert!(Basic::from_text(b"me:a:b").is_some());
        for text in [&b""[..], b":x", b"user", b"a:b\nc:d", b"\xff:x"] {
            assert!(Basic::from_text(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_token_to_present_is_one_word() {
        assert_eq!(Bearer::from_text(b" abc\r\n").unwrap().header(), "Bearer abc");
        for text in [&b""[..], b"\n", b"a b", b"a\nb", "\u{e9}".as_bytes(), b"\xff"] {
            assert!(Bearer::from_text(text).is_none(), "{text:?}");
        }
        assert_eq!(Bearer::from_text(b"abc").unwrap().redact("got abc."), "got ***.");
    }
}
