//! A peer that does not read, until it does.

use crate::support::Bench;
use insight_common::kernel::layout::Distribution;
use insight_common::kernel::loss::Measurement;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Writes until nothing fits any more. Gives when that was.
fn fill(stream: &mut TcpStream) -> Instant {
    let part = vec![7; 1 << 16];
    loop {
        match stream.write(&part) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Instant::now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_full_buffer_blocks_for_as_long_as_the_peer_does_not_read() {
    let name = "a_full_buffer_blocks_for_as_long_as_the_peer_does_not_read";
    let Some(bench) = Bench::start(name, &[Measurement::SendBlocked], |_| {}) else { return };
    let (mut near, mut far) = bench.connect();
    // What fits blocks nobody.
    near.write_all(&[7; 1_000]).unwrap();
    far.read_exact(&mut [0; 1_000]).unwrap();
    assert_eq!(bench.count(Distribution::SendBlockedConnected), 0);

    near.set_nonblocking(true).unwrap();
    let start = Instant::now();
    let full = fill(&mut near);
    std::thread::sleep(Duration::from_millis(100));
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while far.read(&mut buffer).unwrap() > 0 {}
    });
    let mut waited = [PollFd::new(near.as_fd(), PollFlags::POLLOUT)];
    assert_eq!(poll(&mut waited, PollTimeout::from(10_000_u16)), Ok(1));
    let writable = Instant::now();
    near.write_all(&[7; 1_000]).unwrap();
    let blocked = bench.wait_for(Distribution::SendBlockedConnected, 1);
    let (least, most) = (writable - full, start.elapsed());
    assert!(least >= Duration::from_millis(100), "{least:?}");
    let took = Duration::from_nanos(blocked.sum_ns);
    assert!(
        blocked.count == 1 && took >= least.mul_f64(0.95) && took <= most,
        "{took:?}, {least:?} to {most:?}"
    );
    assert_eq!(bench.count(Distribution::SendBlockedAccepted), 0);
    assert_eq!(bench.snapshot().lost, Default::default());
    drop(near);
    reader.join().unwrap();
}
