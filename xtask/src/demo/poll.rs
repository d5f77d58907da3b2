//! Asks the agent's admin API for its status, again and again, away from the thread that draws.

use super::status::Status;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Twice per window of the lab's agents (1 s), so that no window is missed.
const EVERY: Duration = Duration::from_millis(500);

/// An agent that takes longer on loopback does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The largest answer that is read: a status of a few hundred probes stays below 1 MB.
const LARGEST_BYTES: u64 = 16 << 20;

/// Starts the thread. It ends with the first answer after the receiver is gone.
///
/// # Errors
/// The thread cannot be created.
pub fn start(admin: SocketAddr) -> Result<Receiver<Result<Status>>> {
    let (sender, answers) = mpsc::channel();
    std::thread::Builder::new()
        .name("poll".into())
        .spawn(move || {
            let mut due = Instant::now();
            while sender.send(read_status(admin)).is_ok() {
                // After an answer that took long: on with the next beat, not with a burst.
                due = (due + EVERY).max(Instant::now());
                std::thread::sleep(due - Instant::now());
            }
        })
        .context("start the thread that polls the agent")?;
    Ok(answers)
}

/// One status, now.
///
/// # Errors
/// The agent does not answer in time, answers with another code than 200, or with no status.
pub fn read_status(admin: SocketAddr) -> Result<Status> {
    let body = get(admin, "/api/v1/status")?;
    serde_json::from_slice(&body).with_context(|| format!("read http://{admin}/api/v1/status as a status"))
}

/// The body of a GET over plain HTTP/1.1.
///
/// # Errors
/// As [`read_status`].
pub fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    let attempt = || -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(LARGEST_BYTES).read_to_end(&mut answer)?;
        parse_answer(&answer)
    };
    attempt().with_context(|| format!("get http://{address}{path}"))
}

/// The body in a whole answer.
///
/// # Errors
/// It is cut short, or has another code than 200.
pub fn parse_answer(answer: &[u8]) -> Result<Vec<u8>> {
    let end = find(answer, b"\r\n\r\n").context("the answer has no end of its headers")?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let mut lines = head.lines();
    let code = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    if code != "200" {
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
        bail!("status code {code:?} instead of 200: {}", shown.trim());
    }
    let header = |name: &str| {
        lines.clone().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    if header("transfer-encoding").is_some_and(|(_, value)| value.trim().eq_ignore_ascii_case("chunked")) {
        return parse_chunks(body);
    }
    if let Some((_, length)) = header("content-length") {
        let length: usize = length.trim().parse().with_context(|| format!("content-length {length:?}"))?;
        let whole = body.get(..length);
        return whole
            .map(<[u8]>::to_vec)
            .with_context(|| format!("{} of {length} bytes arrived", body.len()));
    }
    Ok(body.to_vec())
}

fn parse_chunks(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n").context("a chunk has no length")?;
        let line = String::from_utf8_lossy(&rest[..end]);
        let length = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(length, 16).with_context(|| format!("chunk length {length:?}"))?;
        if length == 0 {
            return Ok(body);
        }
        rest = &rest[end + 2..];
        body.extend_from_slice(rest.get(..length).context("the last chunk is cut short")?);
        rest = rest.get(length + 2..).context("a chunk has no end")?;
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_by_length_by_chunks_and_to_the_end() {
        let by_length = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}rest";
        assert_eq!(parse_answer(by_length).unwrap(), b"{}");
        let by_chunks =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\nA\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(parse_answer(by_chunks).unwrap(), b"{0123456789");
        assert_eq!(parse_answer(b"HTTP/1.0 200 OK\r\n\r\nall").unwrap(), b"all");
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        let error = parse_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").unwrap_err();
        assert!(error.to_string().contains("2 of 9 bytes"), "{error}");
        assert!(parse_answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab").is_err());
    }

    #[test]
    fn another_code_is_an_error_that_shows_code_and_text() {
        let error =
            parse_answer(b"HTTP/1.1 503 Service Unavailable\r\n\r\nstarting").unwrap_err().to_string();
        assert!(error.contains("503") && error.contains("starting"), "{error}");
    }
}
