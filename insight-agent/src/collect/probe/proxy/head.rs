//! The head of an HTTP/1 answer: its status, and where it ends.
//!
//! No clock, no I/O, no recursion. Fields are passed over: a tunnel needs none of them.

/// Longest head, in bytes. Those of known proxies are below 1 KiB; with half of it an error page's cookies could
/// cost the status that explains them, double would only let a stranger hold more memory.
pub const HEAD_MOST: usize = 8 * 1024;
/// Longest reason that is kept, in characters: it goes to logs and to the status page.
const REASON_MOST: usize = 100;
/// What an answer begins with.
const VERSION: &[u8] = b"HTTP/1.";

/// A complete head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status, 100 to 999.
    pub code: u16,
    /// What stands behind it, without what is not printed; empty where nothing does.
    pub reason: String,
    /// Its length in bytes, with the empty line that ends it.
    pub length: usize,
}

/// What is not the head of an HTTP/1 answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It begins with something else.
    #[error("it does not begin with HTTP/1")]
    NotHttp,
    /// There is no status behind the version.
    #[error("its first line has no status of three digits")]
    NoStatus,
    /// It does not end within [`HEAD_MOST`].
    #[error("its head is too long")]
    TooLong,
}

/// Reads a head at the beginning of `bytes`. **None**: it is good so far, and its end has not come yet.
///
/// Lines may end with a line feed alone, as RFC 9112 section 2.2 lets recipients take them.
///
/// # Errors
/// As soon as no further bytes could make a head of it.
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    let seen = bytes.len().min(VERSION.len());
    if bytes[..seen] != VERSION[..seen] {
        return Err(HeadError::NotHttp);
    }
    let considered = &bytes[..bytes.len().min(HEAD_MOST)];
    let first_end = considered.iter().position(|byte| *byte == b'\n');
    let status = first_end.map(|end| parse_status(&considered[..end])).transpose()?;
    let end = end_of_lines(considered);
    match (status, end) {
        (Some((code, reason)), Some(length)) => Ok(Some(Head { code, reason, length })),
        _ if bytes.len() >= HEAD_MOST => Err(HeadError::TooLong),
        _ => Ok(None),
    }
}

/// The bytes up to and with the first empty line.
fn end_of_lines(bytes: &[u8]) -> Option<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).find_map(|next| match &bytes[next..] {
        [b'\n', ..] => Some(next + 1),
        [b'\r', b'\n', ..] => Some(next + 2),
        _ => None,
    })
}

/// `HTTP/1.x CODE REASON`, without its line feed.
fn parse_status(line: &[u8]) -> Result<(u16, String), HeadError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (version, code) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let minor = version.get(VERSION.len()..).unwrap_or_default();
    let is_number = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    if minor.len() != 1 || code.len() != 3 || !is_number(minor) || !is_number(code) || code[0] == b'0' {
        return Err(HeadError::NoStatus);
    }
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let reason = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let reason = reason.chars().filter(|c| !c.is_control()).take(REASON_MOST).collect::<String>();
    Ok((code, reason.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_head_is_its_status_and_ends_with_the_empty_line() {
        let whole = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 x\r\n\r\nPRI";
        let head = parse_head(whole).unwrap().unwrap();
        assert_eq!((head.code, head.reason.as_str()), (200, "Connection established"));
        assert_eq!(&whole[head.length..], b"PRI");
        for (text, code, reason) in [
            (&b"HTTP/1.0 407 Proxy Authentication Required\n\n"[..], 407, "Proxy Authentication Required"),
            (b"HTTP/1.1 502\r\n\r\n", 502, ""),
            (b"HTTP/1.1 503 \x1b[31mred\xff\r\n\r\n", 503, "[31mred\u{fffd}"),
        ] {
            let head = parse_head(text).unwrap().unwrap();
            assert_eq!((head.code, head.reason.as_str(), head.length), (code, reason, text.len()));
        }
    }

    #[test]
    fn what_cannot_become_a_head_is_refused_at_once() {
        for text in [&b"SSH-2.0-x"[..], b"\x16\x03", b"HTTP/2", b"X"] {
            assert_eq!(parse_head(text), Err(HeadError::NotHttp), "{text:?}");
        }
        for text in [
            &b"HTTP/1.1\r\n"[..],
            b"HTTP/1.1 20 x\r\n",
            b"HTTP/1.x 200\r\n",
            b"HTTP/1.1  200\r\n",
            b"HTTP/1.1 099 a\n",
        ] {
            assert_eq!(parse_head(text), Err(HeadError::NoStatus), "{text:?}");
        }
        let mut long = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        long.resize(HEAD_MOST - 1, b'x');
        assert_eq!(parse_head(&long), Ok(None));
        long.push(b'x');
        assert_eq!(parse_head(&long), Err(HeadError::TooLong));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, tail in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_head(&bytes);
            let _ = parse_head(&[b"HTTP/1.1 200 ".as_slice(), &tail].concat());
        }

        #[test]
        fn a_head_reads_the_same_however_it_is_cut_and_whatever_follows(
            code in 100_u16..1000, reason in "[a-zA-Z ]{0,30}", fields in "([A-Z]{1,9}: [a-z]{0,40}\r\n){0,8}",
            behind in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let text = format!("HTTP/1.1 {code} {reason}\r\n{fields}\r\n");
            for end in 0..text.len() {
                prop_assert_eq!(parse_head(&text.as_bytes()[..end]), Ok(None));
            }
            let head = parse_head(&[text.as_bytes(), &behind].concat()).unwrap().unwrap();
            prop_assert_eq!((head.code, head.length), (code, text.len()));
            prop_assert_eq!(head.reason, reason.trim());
        }
    }
}
