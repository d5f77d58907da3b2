//! The helper of `bench agent`: opens connections on loopback and holds them, both ends of each.
//!
//! A process of its own, so that thousands of open files are not those of the bench, and are gone
//! with one process.

use super::setting;
use anyhow::{Context, Result};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

/// Files beside the connections: standard streams, listeners, spares.
const SPARE_FILES: u64 = 256;

/// What it says when all are open.
pub const HELD: &str = "held";

/// Flags of the helper.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many
    #[arg(long)]
    connections: u32,
}

/// Opens the connections, says so on stdout, and holds them until a signal ends this process.
///
/// # Errors
/// The limit of open files cannot be raised, or a connection cannot be opened.
pub fn run(args: &Args) -> Result<()> {
    raise_limit(2 * u64::from(args.connections) + SPARE_FILES)?;
    let mut held = Vec::new();
    for at in 0..setting::GROUPS {
        let share = setting::share(args.connections, at);
        held.extend(open(setting::address(at), share).with_context(|| {
            format!("hold {share} connections on {}, after {} others", setting::address(at), held.len() / 2)
        })?);
    }
    println!("{HELD} {}", held.len() / 2);
    loop {
        std::thread::park();
    }
}

/// Root may raise the hard limit as well, up to `fs.nr_open`.
fn raise_limit(files: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("read the limit of open files")?;
    if soft >= files {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, files, hard.max(files))
        .with_context(|| format!("raise the limit of open files from {soft} to {files} (fs.nr_open?)"))
}

/// `count` connections from `address` to itself: whichever end is asked, its peer is in the group
/// of this address. Gives both ends of each.
fn open(address: Ipv4Addr, count: u32) -> Result<Vec<OwnedFd>> {
    let listener = TcpListener::bind((address, 0)).context("listen")?;
    let port = listener.local_addr().context("read the listener's address")?.port();
    let target = SockaddrIn::from(SocketAddrV4::new(address, port));
    let mut held = Vec::new();
    for _ in 0..count {
        let end = tcp()?;
        // Chooses the port when it connects, by both addresses: no port is used up for others.
        setsockopt(&end, sockopt::IpBindAddressNoPort, &true).context("bind without a port")?;
        let any_port = SockaddrIn::from(SocketAddrV4::new(address, 0));
        bind(end.as_raw_fd(), &any_port).context("bind")?;
        // Ends without a trace: thousands of ports in TIME_WAIT would be missing for a minute.
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&end, sockopt::Linger, &linger).context("let go at once when closed")?;
        connect(end.as_raw_fd(), &target).context("connect")?;
        let (accepted, _) = listener.accept().context("accept")?;
        held.extend([end, accepted.into()]);
    }
    Ok(held)
}

fn tcp() -> Result<OwnedFd> {
    socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).context("make a socket")
}
