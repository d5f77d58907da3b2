//! How the connections of a route reach their next hop: over which addresses, and through which proxy.

use std::net::IpAddr;
use std::path::PathBuf;

/// What the address of a UNIX socket starts with, where a host name would stand.
pub const UNIX: &str = "unix:";

/// The authority and the certificate's name of a UNIX socket, which has no host.
pub const UNIX_AUTHORITY: &str = "localhost";

/// Everything of it. The default is straight to the next hop, over whatever addresses it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dial {
    /// Which of the addresses are used: of the proxy, if there is one, else of the next hop.
    pub ip: IpVersion,
    /// **None**: straight to the next hop.
    pub proxy: Option<ProxyPlan>,
}

/// Which addresses of a name are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// All of them, in the resolver's order, until one answers.
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl IpVersion {
    /// Whether this address is one of them.
    pub fn admits(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }

    /// As messages name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "IP",
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// An HTTP proxy that is asked for a tunnel with CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyPlan {
    /// Name or IP.
    pub host: String,
    /// Above 0.
    pub port: u16,
    /// File with `user:password` for basic authentication. **None**: none is presented.
    pub auth_file: Option<PathBuf>,
}

impl ProxyPlan {
    /// `http://host:port`, IPv6 in brackets.
    pub fn url(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_admits_its_own_addresses_and_any_admits_both() {
        let (v4, v6): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        for (version, expected) in
            [(IpVersion::Any, [true, true]), (IpVersion::V4, [true, false]), (IpVersion::V6, [false, true])]
        {
            assert_eq!([version.admits(v4), version.admits(v6)], expected, "{version:?}");
        }
    }

    #[test]
    fn a_proxy_is_named_as_it_was_written() {
        let of = |host: &str| ProxyPlan { host: host.into(), port: 3128, auth_file: None }.url();
        assert_eq!(of("proxy.example"), "http://proxy.example:3128");
        assert_eq!(of("::1"), "http://[::1]:3128");
    }
}
