//! GET over HTTP/1.1 on a connection that is kept.

use crate::demo::poll;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// An agent that takes longer on loopback, also beside compilers, does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer that is read: a hundred times a page of 10,000 series.
const LARGEST_BYTES: usize = 256 << 20;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// From the request's first byte to the answer's last one.
    pub took: Duration,
    /// Decoded from chunks, if it came in any; still compressed, if it is.
    pub body: Vec<u8>,
    /// `Content-Encoding`. **None**: as it is.
    pub encoding: Option<String>,
}

/// An open connection.
pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
}

impl Connection {
    /// Opens one.
    ///
    /// # Errors
    /// Nobody accepts there.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let open = || -> Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = open().with_context(|| format!("connect to {address}"))?;
        Ok(Self { address, stream })
    }

    /// Asks for `path`, with `headers` (each with its line end) beside the host's.
    ///
    /// # Errors
    /// The answer does not come whole, is larger than any expected, or has another code than 200.
    pub fn get(&mut self, path: &str, headers: &str) -> Result<Answer> {
        let what = format!("get http://{}{path}", self.address);
        self.ask(path, headers).context(what)
    }

    fn ask(&mut self, path: &str, headers: &str) -> Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address);
        let mut answer = Vec::with_capacity(1 << 20);
        let began = Instant::now();
        self.stream.write_all(request.as_bytes())?;
        let mut part = vec![0; 1 << 18];
        let mut end = None;
        while !is_whole(&answer, &mut end)? {
            match self.stream.read(&mut part)? {
                0 => bail!("the connection ended after {} bytes of the answer", answer.len()),
                length => answer.extend_from_slice(&part[..length]),
            }
            if answer.len() > LARGEST_BYTES {
                bail!("the answer is larger than {LARGEST_BYTES} bytes");
            }
        }
        let took = began.elapsed();
        let body = poll::parse_answer(&answer)?;
        let head = end.map_or_else(String::new, |(head, _)| text_of(&answer[..head]));
        Ok(Answer { took, body, encoding: header(&head, "content-encoding").map(str::to_owned) })
    }
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy)]
enum Body {
    /// After so many bytes.
    Length(usize),
    /// With a chunk of no length.
    Chunks,
}

/// Whether all of an answer is there. `end` keeps where its head ends and how its body does, so
/// that the head is looked at once.
fn is_whole(answer: &[u8], end: &mut Option<(usize, Body)>) -> Result<bool> {
    if end.is_none() {
        let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
        let head = text_of(&answer[..at]);
        let body = match (header(&head, "content-length"), header(&head, "transfer-encoding")) {
            (Some(length), _) => {
                Body::Length(length.parse().with_context(|| format!("content-length {length:?}"))?)
            }
            (None, Some(_)) => Body::Chunks,
            (None, None) => bail!("the answer says neither content-length nor transfer-encoding"),
        };
        *end = Some((at + 4, body));
    }
    Ok(match *end {
        Some((head, Body::Length(length))) => answer.len() >= head + length,
        Some((head, Body::Chunks)) => {
            answer[head..].ends_with(b"\r\n0\r\n\r\n") || &answer[head..] == b"0\r\n\r\n"
        }
        None => false,
    })
}

fn text_of(head: &[u8]) -> String {
    String::from_utf8_lossy(head).into_owned()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::net::TcpListener;

    fn whole(answer: &str) -> bool {
        is_whole(answer.as_bytes(), &mut None).unwrap()
    }

    #[test]
    fn an_answer_is_whole_by_length_or_by_its_last_chunk() {
        assert!(!whole("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"));
        assert!(!whole("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"));
        assert!(whole("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!whole(&format!("{chunked}1\r\na\r\n0\r\n")));
        assert!(whole(&format!("{chunked}1\r\na\r\n0\r\n\r\n")));
        assert!(whole(&format!("{chunked}0\r\n\r\n")));
        assert!(is_whole(b"HTTP/1.1 200 OK\r\n\r\n", &mut None).is_err());
    }

    #[test]
    fn one_connection_carries_several_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
            for body in ["first", "second"] {
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                }
                let length = body.len();
                let encoding = "Content-Encoding: identity";
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{encoding}\r\n\r\n{body}");
                (&stream).write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut connection = Connection::open(address).unwrap();
        for expected in ["first", "second"] {
            let answer = connection.get("/metrics", "").unwrap();
            assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
            assert_eq!(answer.encoding.as_deref(), Some("identity"));
            assert!(answer.took > Duration::ZERO);
        }
        server.join().unwrap();
        assert!(connection.get("/metrics", "").unwrap_err().to_string().contains("/metrics"));
    }
}
