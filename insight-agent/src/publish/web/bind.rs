//! Opening a listener, and saying what to do when that fails.

use nix::sys::socket::{setsockopt, sockopt::Ipv6V6Only};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel accepts ahead of us. Scrapers are few; the kernel caps it anyway
/// (`net.core.somaxconn`).
const BACKLOG: u32 = 1024;

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("[{name}] listen = \"{addr}\": {problem}")]
pub struct BindError {
    /// The listener: the configuration's section.
    pub name: String,
    /// The configured address.
    pub addr: SocketAddr,
    /// What went wrong and what to do.
    pub problem: String,
}

/// Opens the listener of the configuration's section `name`. `[::]` takes IPv4 too, whatever the
/// host's default (`net.ipv6.bindv6only`), and falls back to `0.0.0.0`, with a warning, on a host
/// without IPv6. Must be called within a Tokio runtime.
///
/// **Errors**: the address is taken, not of this host, or needs a privilege.
pub fn bind(name: &str, addr: SocketAddr) -> Result<TcpListener, BindError> {
    let listener = listen(addr).or_else(|error| match without_ipv6(addr, &error) {
        Some(fallback) => {
            tracing::warn!(listener = name, %addr, %fallback, "this host has no IPv6; listening on IPv4 only");
            listen(fallback)
        }
        None => Err(error),
    });
    listener.map_err(|e| BindError { name: name.to_owned(), addr, problem: advice(&e) })
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        setsockopt(&socket, Ipv6V6Only, &false)?;
    }
    // Without it a restart fails while connections of the last process are in TIME_WAIT. On Linux
    // it does not let two processes listen on one port.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// The IPv4 address to listen on instead, if the failure says that this host has no IPv6.
fn without_ipv6(addr: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let no_ipv6 = error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
        || error.kind() == ErrorKind::AddrNotAvailable;
    (addr.is_ipv6() && addr.ip().is_unspecified() && no_ipv6)
        .then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port())))
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "address already in use: another insight-agent or exporter runs there; \
                                 stop it or choose another port"
            .to_owned(),
        ErrorKind::AddrNotAvailable => "this host has no such address; use one that it has, or \"[::]\" \
                                        for all of them"
            .to_owned(),
        ErrorKind::PermissionDenied => "permission denied: choose a port above 1023, or grant \
                                        CAP_NET_BIND_SERVICE"
            .to_owned(),
        _ => format!("{error}: use an address of this host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn taken_port_names_section_address_and_remedy() {
        let first = bind("metrics", "127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = first.local_addr().unwrap();
        let error = bind("metrics", addr).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "[metrics] listen = \"{addr}\": address already in use: another insight-agent or exporter \
                 runs there; stop it or choose another port"
            )
        );
    }

    #[tokio::test]
    async fn foreign_address_is_named() {
        // 192.0.2.0/24 is reserved for documentation, so no host has it.
        let error = bind("admin", "192.0.2.1:0".parse().unwrap()).unwrap_err().to_string();
        assert!(
            error.starts_with("[admin] listen = \"192.0.2.1:0\": this host has no such address"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn unspecified_ipv6_listener_takes_ipv4_connections() {
        let listener = bind("metrics", "[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = tokio::net::TcpStream::connect(("127.0.0.1", port));
        let (accepted, client) = tokio::join!(listener.accept(), client);
        assert_eq!(accepted.unwrap().1.port(), client.unwrap().local_addr().unwrap().port());
    }

    #[test]
    fn only_the_unspecified_ipv6_address_falls_back() {
        let absent = io::Error::from_raw_os_error(nix::errno::Errno::EAFNOSUPPORT as i32);
        let fallback = |addr: &str| without_ipv6(addr.parse().unwrap(), &absent);
        assert_eq!(fallback("[::]:19747"), Some("0.0.0.0:19747".parse().unwrap()));
        assert_eq!(fallback("[::1]:19747"), None, "loopback was asked for, all addresses would be more");
        assert_eq!(fallback("0.0.0.0:19747"), None);
        let taken = io::Error::from(ErrorKind::AddrInUse);
        assert_eq!(without_ipv6("[::]:19747".parse().unwrap(), &taken), None);
    }
}
