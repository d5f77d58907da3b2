//! Does a comma stand within a list of upstream tries that was written without quotes?

/// Whether the text up to a comma leaves a list of tries open: its last parameter is an upstream or
/// connect time without quotes, or it is one more try of such a list (`before`).
pub(super) fn ends_in_tries(part: &[u8], before: bool) -> bool {
    let Some(last) = part.iter().rposition(|byte| *byte == b';') else {
        return before && is_try(part);
    };
    let parameter = part.get(last + 1..).unwrap_or_default();
    let Some(equals) = parameter.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = parameter.split_at(equals);
    let is_list = matches!(key.trim_ascii(), b"u" | b"u_s" | b"u_us" | b"c" | b"c_s" | b"c_us");
    is_list && is_try(value.get(1..).unwrap_or_default())
}

/// Whether a try follows a comma: a number or `-`, up to the next comma or semicolon; or something
/// that begins as one and that colons keep from being a name, so that it spoils its list and is not
/// lost behind a list that looks whole. A hop is taken for a try only if its name is a number.
pub(super) fn begins_with_try(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| matches!(byte, b',' | b';')).unwrap_or(text.len());
    let text = text.get(..end).unwrap_or_default().trim_ascii();
    let begins = matches!(text.first(), Some(b'0'..=b'9' | b'-'));
    is_try(text) || (begins && text.contains(&b':'))
}

/// A number or `-`, or several with colons between them.
fn is_try(text: &[u8]) -> bool {
    text.split(|byte| *byte == b':').all(|one| {
        let one = one.trim_ascii();
        let digits = one.iter().filter(|byte| byte.is_ascii_digit()).count();
        let points = one.iter().filter(|byte| **byte == b'.').count();
        one == b"-" || (digits > 0 && points <= 1 && digits + points == one.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_dashes_are_tries_and_names_are_not() {
        for text in ["0.010", " 12 ", "-", "0.010 : -", "- : 1;c=2", "5, near;d=1"] {
            assert!(begins_with_try(text.as_bytes()), "{text}");
        }
        for text in ["", " ", "a", "10.0.0.1", "1a", "-a", "near : 1", ";", "a1;d=1"] {
            assert!(!begins_with_try(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_list_is_open_behind_an_upstream_or_connect_time_only() {
        for (part, before) in [("a;u=1", false), ("a;d=1; c_us = -", false), ("1 : 2", true)] {
            assert!(ends_in_tries(part.as_bytes(), before), "{part}");
        }
        for (part, before) in
            [("a;d=1", true), ("a;u=", false), ("a;u", false), ("1", false), ("x", true), ("a;u=\"1\"", true)]
        {
            assert!(!ends_in_tries(part.as_bytes(), before), "{part}");
        }
    }
}
