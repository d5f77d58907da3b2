//! The forms that several keys share: names, regions, addresses, methods.

use super::errors::Complaint;
use crate::model::dial::{UNIX, UNIX_AUTHORITY};
use std::net::SocketAddr;

/// Longest name: names become label values and parts of segment names; 64 fits host names.
const NAME_MOST: usize = 64;
/// Longest region name: it stands in every series, twice.
const REGION_MOST: usize = 32;

/// Longest path of a UNIX socket: `sun_path` of the kernel's `sockaddr_un`, with the byte that ends it.
const UNIX_PATH_MOST: usize = 107;

/// Host and port of the next hop, or a UNIX socket where one may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an IP address, IPv6 without its brackets; or [`UNIX`] with a path or `@NAME`.
    pub host: String,
    /// Above 0; 0 of a UNIX socket.
    pub port: u16,
}

impl HostPort {
    /// Whether it is a UNIX socket.
    pub fn is_unix(&self) -> bool {
        self.host.starts_with(UNIX)
    }

    /// What a request to it has as `:authority` unless another one is set.
    pub fn authority(&self) -> String {
        if self.is_unix() { UNIX_AUTHORITY.into() } else { self.to_string() }
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_unix() {
            f.write_str(&self.host)
        } else if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl std::str::FromStr for HostPort {
    type Err = String;

    /// **Errors**: what is wrong and what to do, as one text.
    fn from_str(text: &str) -> Result<Self, String> {
        endpoint(text).map_err(|complaint| format!("{}; {}", complaint.what, complaint.advice))
    }
}

/// Whether a character may stand in a name that becomes a label value.
pub(super) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// The name of an agent, route, probe or hop.
pub(super) fn name(text: &str) -> Result<String, Complaint> {
    if (1..=NAME_MOST).contains(&text.len()) && text.chars().all(is_name_char) {
        return Ok(text.into());
    }
    Err(Complaint::new(
        "not a usable name",
        format!("use 1 to {NAME_MOST} letters, digits, points, underscores and hyphens"),
    ))
}

/// A region.
pub(super) fn region(text: &str) -> Result<String, Complaint> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=REGION_MOST).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.into());
    }
    Err(Complaint::new(
        "not a usable region name",
        format!("use 1 to {REGION_MOST} lower-case letters, digits and hyphens, such as \"eu-west-1\""),
    ))
}

/// A service name: what a template puts into metadata, so what metadata may carry.
pub(super) fn service(text: &str) -> Result<String, Complaint> {
    if text.len() <= 255 && text.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(text.into());
    }
    Err(Complaint::new(
        "not a usable service name",
        "use at most 255 visible ASCII characters without spaces",
    ))
}

/// Where a listener binds.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Complaint> {
    text.parse().map_err(|_| {
        let port = text.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok());
        let port = port.unwrap_or("19747");
        Complaint::new(
            "not an IP address with a port",
            format!("write \"127.0.0.1:{port}\" for this host only, or \"[::]:{port}\" for every address"),
        )
    })
}

/// Where a probe's connection goes: over a network, or to a UNIX socket.
pub(super) fn endpoint(text: &str) -> Result<HostPort, Complaint> {
    let Some(place) = text.strip_prefix(UNIX) else { return address(text) };
    let name = place.strip_prefix('@');
    let advice = "write \"unix:/run/service.sock\", or \"unix:@name\" for a name of the abstract namespace";
    if name.is_none() && !place.starts_with('/') {
        return Err(Complaint::new("the path of a UNIX socket begins with a slash", advice));
    }
    if name == Some("") || place == "/" {
        return Err(Complaint::new("no UNIX socket is named", advice));
    }
    // `@` stands for the byte 0 that such a name begins with.
    if place.len() > UNIX_PATH_MOST {
        let what = format!("a UNIX socket's path of more than {UNIX_PATH_MOST} bytes is no address");
        return Err(Complaint::new(what, "use a shorter path, by a symbolic link if need be"));
    }
    if place.chars().any(char::is_control) {
        return Err(Complaint::new("a control character stands in the path of a UNIX socket", advice));
    }
    Ok(HostPort { host: text.into(), port: 0 })
}

/// Where a connection over a network goes.
pub(super) fn address(text: &str) -> Result<HostPort, Complaint> {
    let advice = "write \"host:port\", such as \"mediary-a.example:50051\" or \"[2001:db8::1]:50051\"";
    if text.contains('@') {
        return Err(Complaint::new("an address has no user in front of an @", advice));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        return Err(Complaint::new(
            format!("an address has no scheme (\"{scheme}://\")"),
            format!("write \"{rest}\", and set tls for an encrypted connection"),
        ));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(Complaint::new("the port is missing", advice));
    };
    let port = port
        .parse::<u16>()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| Complaint::new("the port is not a number from 1 to 65535", advice))?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
        Some(_) => return Err(Complaint::new("no IPv6 address stands between the brackets", advice)),
        None if host.contains(':') => {
            return Err(Complaint::new(
                "an IPv6 address needs brackets",
                format!("write \"[{host}]:{port}\""),
            ));
        }
        None => host,
    };
    let is_name = !host.is_empty() && host.len() <= 253 && host.chars().all(is_name_char);
    if !is_name && !host.contains(':') {
        return Err(Complaint::new("the host is neither a name nor an IP address", advice));
    }
    Ok(HostPort { host: host.into(), port })
}

/// An HTTP proxy that gives tunnels.
pub(super) fn proxy(text: &str) -> Result<HostPort, Complaint> {
    let advice = "write \"http://host:port\", such as \"http://proxy.example:3128\"";
    let Some(rest) = text.strip_prefix("http://") else {
        return Err(Complaint::new("not the URL of an HTTP proxy", advice));
    };
    if rest.contains('@') {
        return Err(Complaint::new(
            "a user and a password do not belong into the URL",
            "write \"user:password\" into a file of its own, and name it with proxy_auth_file",
        ));
    }
    address(rest.strip_suffix('/').unwrap_or(rest))
        .map_err(|complaint| Complaint::new(complaint.what, advice))
}

/// The HTTP/2 `:authority`.
pub(super) fn authority(text: &str) -> Result<String, Complaint> {
    // RFC 9113 section 8.3.1: no userinfo in an authority.
    match text.parse::<http::uri::Authority>() {
        Ok(_) if !text.contains('@') => Ok(text.into()),
        _ => Err(Complaint::new(
            "not an HTTP/2 authority",
            "write a host name, with \":port\" if the forwarder wants one",
        )),
    }
}

/// The name in a TLS certificate.
pub(super) fn server_name(text: &str) -> Result<String, Complaint> {
    match rustls::pki_types::ServerName::try_from(text) {
        Ok(_) => Ok(text.into()),
        Err(_) => Err(Complaint::new(
            "not a name that a certificate can carry",
            "write a DNS name or an IP address, without a port",
        )),
    }
}

/// A gRPC method.
pub(super) fn method(text: &str) -> Result<String, Complaint> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let is_part = |part: &str| !part.is_empty() && part.chars().all(fits);
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        ["", service, method] if is_part(service) && is_part(method) => Ok(text.into()),
        [service, method] if is_part(service) && is_part(method) => {
            Err(Complaint::new("a method starts with a slash", format!("write \"/{text}\"")))
        }
        _ => Err(Complaint::new("not a gRPC method", "write \"/package.Service/Method\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_split_into_host_and_port() {
        for (text, host, port) in [
            ("mediary-a.example:50051", "mediary-a.example", 50051),
            ("10.0.0.1:443", "10.0.0.1", 443),
            ("[::1]:443", "::1", 443),
        ] {
            let read = address(text).unwrap();
            assert_eq!((read.host.as_str(), read.port), (host, port));
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn an_ipv6_address_without_brackets_is_answered_with_them() {
        assert_eq!(address("2001:db8::1:443").unwrap_err().advice, "write \"[2001:db8::1]:443\"");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "host", "host:", ":443", "host:0", "host:65536", "[]:1", "[host]:1", "a b:1", "http://a:1"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_unix_socket_is_a_path_or_a_name_and_has_no_port() {
        for text in ["unix:/run/service.sock", "unix:@service", "unix:/run/with space:and colon"] {
            let read = endpoint(text).unwrap();
            assert_eq!((read.to_string().as_str(), read.port, read.is_unix()), (text, 0, true));
            assert_eq!(read.authority(), "localhost");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for text in ["unix:", "unix:/", "unix:@", "unix:run/service.sock", "unix:/a\nb", long.as_str()] {
            assert!(endpoint(text).is_err(), "{text}");
        }
        assert_eq!(endpoint("host:1").unwrap().authority(), "host:1");
        assert!(address("unix:/run/service.sock").is_err(), "other places are reached over a network");
    }

    #[test]
    fn a_proxy_is_a_plain_http_url_without_path_and_password() {
        let read = proxy("http://proxy.example:3128").unwrap();
        assert_eq!((read.host.as_str(), read.port), ("proxy.example", 3128));
        assert_eq!(proxy("http://[::1]:3128/").unwrap().host, "::1");
        for text in [
            "proxy:3128",
            "https://proxy:3128",
            "socks5://proxy:1",
            "http://proxy",
            "http://p:1/x",
            "http://",
        ] {
            assert!(proxy(text).is_err(), "{text}");
        }
        let refused = proxy("http://me:s3cret@proxy:3128").unwrap_err();
        assert!(refused.advice.contains("proxy_auth_file"), "{}", refused.advice);
    }

    #[test]
    fn a_method_has_two_parts_and_a_leading_slash() {
        assert!(method("/pkg.Service/Method").is_ok());
        assert_eq!(method("pkg.Service/Method").unwrap_err().advice, "write \"/pkg.Service/Method\"");
        for text in ["", "/", "//", "/a", "/a/", "/a/b/c", "/a/b c", "/a/b?x"] {
            assert!(method(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_become_labels_and_segments_so_their_letters_are_few() {
        for text in ["", "a>b", "a b", "a:b", "é", &"x".repeat(65)] {
            assert!(name(text).is_err(), "{text}");
        }
        assert!(name(&"x".repeat(64)).is_ok());
        for text in ["", "EU", "eu_1", &"x".repeat(33)] {
            assert!(region(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let _ = (endpoint(&text), proxy(&text), address(&text), authority(&text), method(&text), listen(&text), server_name(&text));
        }

        #[test]
        fn an_address_that_reads_is_written_as_it_was(text in "[a-z0-9.-]{1,20}:[1-9][0-9]{0,3}") {
            prop_assert_eq!(address(&text).unwrap().to_string(), text);
        }
    }
}
