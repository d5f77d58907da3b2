//! What a request asks for: a path and its query, percent-encoded.

use std::fmt::Write;

/// A request's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::collect::discovery) struct Target {
    text: String,
    path_len: usize,
}

impl Target {
    /// A path that needs no encoding, with further segments that may.
    pub fn new(path: &str, segments: &[&str]) -> Self {
        let mut text = path.to_owned();
        for segment in segments {
            text.push('/');
            encode(&mut text, segment);
        }
        let path_len = text.len();
        Self { text, path_len }
    }

    /// With `name=value`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self = self.flag(name);
        self.text.push('=');
        encode(&mut self.text, value);
        self
    }

    /// With `name`, which means something by being there.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.text.push(if self.text.len() == self.path_len { '?' } else { '&' });
        self.text.push_str(name);
        self
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As messages name it: without the query.
    pub fn path(&self) -> &str {
        &self.text[..self.path_len]
    }
}

/// RFC 3986 section 2.3: all but unreserved characters.
fn encode(into: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn segments_and_values_are_encoded_and_messages_have_no_query() {
        let target = Target::new("/v1/health/service", &["a/b c"]).with("dc", "é&=").flag("stale");
        assert_eq!(target.as_str(), "/v1/health/service/a%2Fb%20c?dc=%C3%A9%26%3D&stale");
        assert_eq!(target.path(), "/v1/health/service/a%2Fb%20c");
    }

    proptest! {
        #[test]
        fn any_text_makes_a_target_that_http_can_carry(segment in "\\PC*", value in "\\PC*") {
            let target = Target::new("/v1", &[&segment]).with("x", &value);
            prop_assert!(target.as_str().parse::<http::uri::PathAndQuery>().is_ok());
        }
    }
}
