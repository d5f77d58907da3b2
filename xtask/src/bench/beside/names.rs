//! A name server that does one thing wrong per name.

use anyhow::{Context, Result};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Its host part in the site's block of addresses.
pub const HOST: u8 = 53;

/// A name that takes [`SLOW`].
pub const SLOW_NAME: &str = "slow.test";
/// A name that the server fails about.
pub const FAILING_NAME: &str = "servfail.test";
/// A name that is none.
pub const NO_NAME: &str = "nxdomain.test";
/// Where the slow name is.
pub const SLOW_HOST: u8 = 3;

/// How long the slow name takes.
pub const SLOW: Duration = Duration::from_millis(300);

const NO_ERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// The running server; it ends when dropped.
pub struct Names {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Names {
    /// Answers at port 53 of this address.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(address: Ipv4Addr) -> Result<Self> {
        let socket = UdpSocket::bind((address, 53)).with_context(|| format!("listen at {address}:53"))?;
        socket.set_read_timeout(Some(Duration::from_millis(50))).context("limit a wait for questions")?;
        let [a, b, c, _] = address.octets();
        let slow = Ipv4Addr::new(a, b, c, SLOW_HOST);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut question = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                let Some((answer, delay)) = answer(&question[..length], slow) else { continue };
                let Ok(socket) = socket.try_clone() else { continue };
                // A thread each, so that A and AAAA of a slow name wait together.
                std::thread::spawn(move || {
                    std::thread::sleep(delay);
                    // Who asked may have gone.
                    let _ = socket.send_to(&answer, from);
                });
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed.
            let _ = thread.join();
        }
    }
}

/// The answer to a question and how long it takes. **None**: this is no question. **Source**: RFC 1035, section 4.
fn answer(question: &[u8], slow: Ipv4Addr) -> Option<(Vec<u8>, Duration)> {
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        name += std::str::from_utf8(question.get(at..at + length)?).ok()?;
        name.push('.');
        at += length;
    }
    let asked = question.get(12..at + 4)?;
    let is_address = question.get(at..at + 2)? == [0, 1];
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let (code, delay) = match name.as_str() {
        SLOW_NAME => (NO_ERROR, SLOW),
        FAILING_NAME => (SERVFAIL, Duration::ZERO),
        _ => (NXDOMAIN, Duration::ZERO),
    };
    let found = code == NO_ERROR && is_address;
    let mut bytes = question.get(..2)?.to_vec();
    bytes.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    bytes.extend(asked);
    if found {
        // The name again, an A record of the internet, kept for no time.
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        bytes.extend(slow.octets());
    }
    Some((bytes, delay))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(labels: &[&str], kind: u8) -> Vec<u8> {
        let mut bytes = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in labels {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, kind, 0, 1]);
        bytes
    }

    #[test]
    fn each_name_has_its_fault() {
        let slow = Ipv4Addr::new(127, 251, 1, 3);
        let (bytes, delay) = answer(&question(&["slow", "test"], 1), slow).unwrap();
        assert_eq!((&bytes[..2], bytes[3] & 15, delay), (&[7, 9][..], NO_ERROR, SLOW));
        assert!(bytes.ends_with(&slow.octets()));
        let (bytes, _) = answer(&question(&["slow", "test"], 28), slow).unwrap();
        assert_eq!((bytes[3] & 15, bytes[7]), (NO_ERROR, 0), "no AAAA");
        assert_eq!(answer(&question(&["servfail", "test"], 1), slow).unwrap().0[3] & 15, SERVFAIL);
        assert_eq!(answer(&question(&["nxdomain", "test"], 1), slow).unwrap().0[3] & 15, NXDOMAIN);
        assert!(answer(&[0; 5], slow).is_none());
    }
}
