//! One HTTP/1.1 request at a time, on the standard library alone.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for a connection, and for any one read.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and headers as they came.
    pub head: String,
    /// The body, its chunks joined.
    pub body: String,
}

/// GETs `path` with further header lines (`("name", "value")`), on a connection of its own.
///
/// # Errors
/// The connection failed, or what came is no HTTP/1.1 answer.
pub fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
    ask("GET", address, path, headers)
}

/// The same as a POST without a body.
///
/// # Errors
/// As [`get`].
pub fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
    ask("POST", address, path, &[headers, &[("content-length", "0")]].concat())
}

fn ask(method: &str, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    stream.write_all((request + "\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes)
        .ok_or_else(|| io::Error::other(format!("no HTTP/1.1 answer to {method} {path} from {address}")))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if chunked { joined(body)? } else { body.to_vec() };
    Some(Answer { status, head, body: String::from_utf8_lossy(&body).into_owned() })
}

/// The content of a chunked body. **None**: it ends early.
fn joined(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        rest = &rest[line + 2..];
        if length == 0 {
            return Some(content);
        }
        content.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_a_cut_answer_is_none() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        let answer = parse(text.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "abcd"));
        assert!(parse(&text.as_bytes()[..text.len() - 8]).is_none());
    }

    #[test]
    fn a_plain_body_is_taken_as_it_is() {
        let answer = parse(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (401, "no"));
    }
}
