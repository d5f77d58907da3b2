//! A TUN device of another network namespace, held by this process.

use crate::namespaces::inside;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `struct ifreq` as `TUNSETIFF` reads it: name, flags, and the rest of 40 bytes.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// One end of the link: IP packets that the namespace sends come out, written ones go in.
pub(super) struct Tun {
    fd: AsyncFd<OwnedFd>,
}

impl Tun {
    /// Attaches to the existing device `name` in the namespace at `netns`. Must be called inside
    /// a tokio runtime.
    pub fn attach(netns: &Path, name: &str) -> Result<Tun> {
        let what = || format!("tun-relay: attach {name} in {}", netns.display());
        let fd = inside(netns, || open(name)).and_then(|opened| Ok(opened?)).with_context(what)?;
        #[expect(
            deprecated,
            reason = "its successor is `unsafe` because a type may answer with a descriptor that it does not \
                      own; an `OwnedFd` owns its one"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE).with_context(what)?;
        Ok(Tun { fd })
    }

    /// Waits for a packet and reads it; its length comes back. Cancelling loses no packet.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.fd.readable().await?;
            let read = ready.try_io(|fd| Ok(nix::unistd::read(fd.get_ref(), buffer)?));
            if let Ok(read) = read {
                return read;
            }
        }
    }

    /// Puts one packet into the namespace. `false`: the device is down or has no room.
    pub fn write(&self, packet: &[u8]) -> bool {
        loop {
            match nix::unistd::write(self.fd.get_ref(), packet) {
                Err(Errno::EINTR) => {}
                written => return written.is_ok(),
            }
        }
    }
}

/// Opens the device of the calling thread's namespace: raw IP packets, no header before them.
fn open(name: &str) -> io::Result<OwnedFd> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut request = InterfaceRequest {
        name: [0; libc::IFNAMSIZ],
        flags: (libc::IFF_TUN | libc::IFF_NO_PI) as _,
        rest: [0; 22],
    };
    if name.len() >= request.name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("device name {name:?} is too long")));
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    #[expect(unsafe_code, reason = "no safe wrapper of the TUNSETIFF request exists among our dependencies")]
    // SAFETY: the descriptor is open, and TUNSETIFF reads and writes one `struct ifreq` of 40
    // bytes, which is the size of `InterfaceRequest`; it outlives the call.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    Errno::result(answer)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_size_that_the_kernel_copies() {
        assert_eq!(size_of::<InterfaceRequest>(), size_of::<libc::ifreq>());
    }
}
