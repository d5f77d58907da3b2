//! A stream whose reads tell when their bytes came to this host: the kernel's stamp, and not the moment
//! at which this thread got a CPU to look.
//!
//! **Source**: `SO_TIMESTAMPNS`, Documentation/networking/timestamping.rst of the kernel: with each read
//! comes the time at which the last segment of it was taken off the device (or the loopback), on the
//! wall clock. Kernels from 4.13 on tell it for TCP. While any socket of the host asks, the kernel
//! reads its clock once per packet that arrives.

use super::socket::Socket;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, Shutdown, recvmsg, setsockopt, shutdown};
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a control message that holds a stamp: a header of 16, and two words.
const CONTROL: usize = 64;

/// The stream. Others may hold the socket too, to ask the kernel about it.
#[derive(Debug)]
pub(super) struct Stamped {
    stream: Arc<Socket>,
    stamp: Option<SystemTime>,
}

impl Stamped {
    /// Asks for stamps. A kernel that has none for such a socket leaves them out.
    pub(super) fn new(stream: Arc<Socket>) -> Self {
        // Without them the moment of the read counts, as it does where none comes along.
        let _ = setsockopt(&stream, ReceiveTimestampns, &true);
        Self { stream, stamp: None }
    }

    /// When the bytes of the last read came. **None**: the kernel did not say.
    pub(super) fn stamp(&self) -> Option<SystemTime> {
        self.stamp
    }

    /// One read without waiting: how many bytes, and when they came.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<SystemTime>)> {
        let mut control = [0; CONTROL];
        let mut parts = [IoSliceMut::new(buffer)];
        let message =
            recvmsg::<()>(self.stream.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
        let stamp = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(stamp) => UNIX_EPOCH.checked_add(Duration::from(stamp)),
            _ => None,
        });
        Ok((message.bytes, stamp))
    }
}

impl AsyncRead for Stamped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let unfilled = buf.initialize_unfilled();
            let room = unfilled.len();
            let mut read = None;
            let tried = self.stream.try_reading(|| {
                let (length, _) = *read.insert(self.receive(unfilled)?);
                // What leaves room has emptied the socket: what comes next is told anew, and there is no need
                // to ask the kernel a second time.
                if (1..room).contains(&length) { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (tried, read) {
                (_, Some((length, stamp))) => {
                    buf.advance(length);
                    if length > 0 {
                        self.stamp = stamp;
                    }
                    return Poll::Ready(Ok(()));
                }
                // The readiness was of before.
                (Err(error), None)
                    if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {}
                (Err(error), None) => return Poll::Ready(Err(error)),
                (Ok(()), None) => unreachable!("it ends well only with something read"),
            }
        }
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write_vectored(bufs) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// A socket has no buffer of ours.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(self.stream.as_raw_fd(), Shutdown::Write).map_err(io::Error::from))
    }
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    pub(super) wall: SystemTime,
    pub(super) steady: Instant,
}

impl Clocks {
    /// Now.
    pub(super) fn read() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }
}

/// How far the wall clock may have moved against the steady one without having been set. A clock that is
/// slewed gains or loses half a millisecond a second.
const SLEWED: Duration = Duration::from_millis(1);
/// The same, as a part of the time between.
const SLEWED_PART: u32 = 1_000;

/// When something with a stamp of the wall clock was, on the steady one. **None**: the wall clock was set
/// since `before`, or the stamp lies after `now`.
pub(super) fn on_steady_clock(stamp: SystemTime, before: Clocks, now: Clocks) -> Option<Instant> {
    let steady = now.steady.saturating_duration_since(before.steady);
    let wall = now.wall.duration_since(before.wall).ok()?;
    if steady.abs_diff(wall) > SLEWED + steady / SLEWED_PART {
        return None;
    }
    now.steady.checked_sub(now.wall.duration_since(stamp).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    fn at(steady: Instant, ms: u64, wall_ms: u64) -> Clocks {
        let wall = UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_millis(wall_ms);
        Clocks { wall, steady: steady + Duration::from_millis(ms) }
    }

    #[test]
    fn a_stamp_is_as_long_ago_on_one_clock_as_on_the_other() {
        let start = Instant::now();
        let (before, now) = (at(start, 0, 0), at(start, 200, 200));
        let stamp = now.wall - Duration::from_millis(150);
        assert_eq!(on_steady_clock(stamp, before, now), Some(start + Duration::from_millis(50)));
    }

    #[test]
    fn a_clock_that_was_set_meanwhile_is_not_asked_and_one_that_is_slewed_is() {
        let start = Instant::now();
        let before = at(start, 0, 10_000);
        for (wall_ms, is_used) in
            [(10_100, true), (10_101, true), (10_103, false), (10_090, false), (0, false)]
        {
            let now = at(start, 100, wall_ms);
            let found = on_steady_clock(now.wall - Duration::from_micros(10), before, now);
            assert_eq!(found.is_some(), is_used, "{wall_ms}");
        }
        let now = at(start, 100, 10_100);
        assert_eq!(on_steady_clock(now.wall + Duration::from_micros(1), before, now), None, "of the future");
    }

    proptest! {
        #[test]
        fn no_clocks_make_it_panic_or_give_a_time_after_now(
            steady in 0_u64..1 << 40, wall in 0_u64..1 << 40, ago in 0_u64..1 << 40,
        ) {
            let start = Instant::now();
            let (before, now) = (at(start, 0, 1 << 20), at(start, steady, wall));
            let stamp = now.wall - Duration::from_millis(ago);
            prop_assert!(on_steady_clock(stamp, before, now).is_none_or(|found| found <= now.steady));
        }
    }

    #[tokio::test]
    async fn bytes_are_as_old_as_they_are_however_late_they_are_read() {
        const LATE: Duration = Duration::from_millis(60);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (near, mut far) = (near.unwrap(), far.unwrap().0);
        let mut stamped = Stamped::new(Arc::new(Socket::Tcp(near)));
        // The kernel begins to stamp some time after it is asked to.
        let mut stamps = 0;
        for _ in 0..20 {
            let before = Clocks::read();
            far.write_all(b"abc").await.unwrap();
            let written = Instant::now();
            std::thread::sleep(LATE);
            stamped.read_exact(&mut [0; 3]).await.unwrap();
            let now = Clocks::read();
            let stamp = stamped.stamp().and_then(|stamp| on_steady_clock(stamp, before, now));
            if let Some(arrived) = stamp {
                // The two clocks are read one after the other.
                let slack = Duration::from_millis(5);
                assert!(arrived <= written + slack, "{:?} after it was written", arrived - written);
                stamps += 1;
            }
            if stamps == 3 {
                break;
            }
        }
        assert_eq!(stamps, 3, "this kernel stamps");

        stamped.write_all(b"back").await.unwrap();
        far.read_exact(&mut [0; 4]).await.unwrap();
        stamped.shutdown().await.unwrap();
        assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);
        drop(far);
        assert_eq!(stamped.read(&mut [0; 1]).await.unwrap(), 0, "the end is no read");
    }

    #[tokio::test]
    async fn reads_that_leave_room_and_reads_that_do_not_lose_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (near, mut far) = (near.unwrap(), far.unwrap().0);
        let mut stamped = Stamped::new(Arc::new(Socket::Tcp(near)));
        let sent: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let writing = tokio::spawn({
            let sent = sent.clone();
            async move {
                for part in sent.chunks(777) {
                    far.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut read = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            match stamped.read(&mut buffer).await.unwrap() {
                0 => break,
                length => read.extend_from_slice(&buffer[..length]),
            }
        }
        writing.await.unwrap();
        assert!(read == sent, "{} of {} bytes", read.len(), sent.len());
    }
}
