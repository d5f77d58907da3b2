//! What an exchange over loopback takes without any prober: a bare socket, asked from sleep as the prober is,
//! and timed as it times, from before the write to the kernel's stamp on what came back.
//!
//! A CPU that has slept is slow at first, and how slow is the machine's: what the prober's error has beyond this
//! is its own.

use crate::bench::statistics::percentile;
use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::unistd::Pid;
use serde::Serialize;
use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// As long as a probe's request, and its answer.
const REQUEST: [u8; 150] = [1; 150];
const ANSWER: usize = 120;

/// Bytes of a control message that holds a stamp: a header of 16, and two words.
const CONTROL: usize = 64;

/// What is left when the server's own time is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Floor {
    pub p50_seconds: f64,
    pub p99_seconds: f64,
}

/// Makes so many exchanges, and sleeps before each. The server spins on the first CPU.
///
/// # Errors
/// Loopback gives no connection or no stamps.
pub fn measure(samples: u32, interval: Duration) -> Result<Floor> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on 127.0.0.1")?;
    let address = listener.local_addr().context("read the address of a listener")?;
    let server = thread::spawn(move || serve(&listener));
    let client = TcpStream::connect(address).context("connect to a server of our own")?;
    client.set_nodelay(true).context("set a socket up")?;
    setsockopt(&client, ReceiveTimestampns, &true).context("ask for the kernel's stamps")?;
    let exchanges = (0..samples).map(|_| {
        thread::sleep(interval);
        exchange(&client)
    });
    let exchanges: Result<Vec<_>> = exchanges.collect();
    drop(client);
    server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    // The wall clock may have been set in between.
    let mut beyond: Vec<u64> =
        exchanges?.into_iter().flatten().filter_map(|time| u64::try_from(time.as_nanos()).ok()).collect();
    let mut share = |share| percentile(&mut beyond, share).context("no exchange was timed");
    let (middle, end) = (share(0.5)?, share(0.99)?);
    Ok(Floor { p50_seconds: middle as f64 / 1e9, p99_seconds: end as f64 / 1e9 })
}

/// Answers each read with how long it took. It never sleeps.
fn serve(listener: &TcpListener) -> Result<()> {
    let mut first = CpuSet::new();
    first.set(0).and_then(|()| sched_setaffinity(Pid::from_raw(0), &first)).context("stay on CPU 0")?;
    let (mut stream, _) = listener.accept().context("accept a connection of our own")?;
    stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).context("set a socket up")?;
    let mut buffer = [0; REQUEST.len()];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                let received = Instant::now();
                let mut answer = [0; ANSWER];
                answer[..8].copy_from_slice(&(received.elapsed().as_nanos() as u64).to_le_bytes());
                stream.write_all(&answer).context("answer")?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Err(error).context("read a request"),
        }
    }
}

/// From before the write to the stamp, without the server's time. **None**: the clock went back.
fn exchange(mut client: &TcpStream) -> Result<Option<Duration>> {
    let (mut answer, mut control) = ([0; ANSWER], [0; CONTROL]);
    let start = SystemTime::now();
    client.write_all(&REQUEST).context("write a request")?;
    let mut parts = [IoSliceMut::new(&mut answer)];
    let message = recvmsg::<()>(client.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_WAITALL)
        .context("read an answer")?;
    let stamp = message.cmsgs().context("read a stamp")?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(stamp) => UNIX_EPOCH.checked_add(Duration::from(stamp)),
        _ => None,
    });
    ensure!(message.bytes == ANSWER, "an answer of {} bytes, and {ANSWER} were sent", message.bytes);
    let took = stamp.context("the kernel does not stamp what comes over loopback")?.duration_since(start);
    let (nanoseconds, _) = answer.split_first_chunk().context("an answer without a time")?;
    let server = Duration::from_nanos(u64::from_le_bytes(*nanoseconds));
    Ok(took.ok().and_then(|took| took.checked_sub(server)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_exchange_takes_something_and_less_than_a_tenth_of_a_second() {
        let floor = measure(20, Duration::from_millis(1)).unwrap();
        assert!(floor.p50_seconds > 0.0 && floor.p50_seconds < 0.1, "{floor:?}");
        assert!(floor.p50_seconds <= floor.p99_seconds, "{floor:?}");
    }
}
