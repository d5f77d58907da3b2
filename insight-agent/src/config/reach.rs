//! Over which addresses, and through which proxy, a connection goes: what cannot be, in the same words for the
//! keys of a file and for the options of a command line.

use super::errors::Complaint;
use super::files;
use super::settings::Ip;
use super::values::{self, HostPort};
use crate::model::dial::{IpVersion, ProxyPlan};
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Longest content of a file with a password that is looked at: a mistaken path may be a log of gigabytes.
const CREDENTIALS_READ_BYTES: u64 = 4096;

/// What a command line says of it, with its options' names.
#[derive(Debug)]
pub struct Options<'a> {
    /// `--ip`.
    pub ip: Ip,
    /// `--proxy`.
    pub proxy: Option<&'a str>,
    /// `--proxy-auth-file`; only with a proxy.
    pub auth_file: Option<&'a Path>,
    /// Of `--mode link`: whether there are PINGs. **None**: another mode.
    pub link_pings: Option<bool>,
    /// Whether what is found makes series.
    pub makes_series: bool,
}

impl Options<'_> {
    /// The proxy of a connection to `next_hop`, held against the rules of the configuration.
    ///
    /// # Errors
    /// The first rule that is broken: which option, what is wrong and what to do. What may be a password is not
    /// repeated.
    pub fn proxy(&self, next_hop: &HostPort) -> Result<Option<ProxyPlan>, String> {
        let proxy = self.proxy.map(|url| values::proxy(url).map_err(|c| told("--proxy", &c))).transpose()?;
        if proxy.is_some() {
            refuse("--proxy", proxy_to(next_hop))?;
            refuse("--proxy-auth-file", self.auth_file.and_then(credentials))?;
        }
        let proxy = proxy.map(|HostPort { host, port }| {
            let auth_file = self.auth_file.map(PathBuf::from);
            ProxyPlan { host, port, auth_file }
        });
        if let Some(pings) = self.link_pings {
            refuse("--mode link", next_hop.is_unix().then(link_over_unix))?;
            refuse("--no-ping", (proxy.is_some() && !pings).then(|| proxied_handshakes("--no-ping")))?;
            refuse("--ip both", (self.ip == Ip::Both && self.makes_series).then(one_link_twice))?;
        }
        refuse("--ip", version(self.ip, next_hop, proxy.as_ref()))?;
        Ok(proxy)
    }

    /// What is allowed but risky.
    pub fn warning(&self) -> Option<String> {
        self.auth_file.and_then(files::open_to_all).map(|complaint| told("--proxy-auth-file", &complaint))
    }
}

fn refuse(option: &str, complaint: Option<Complaint>) -> Result<(), String> {
    complaint.map_or(Ok(()), |complaint| Err(told(option, &complaint)))
}

/// What advice says with a file's keys, and what it says with options.
const ADVICE: [(&str, &str); 5] = [
    ("proxy_auth_file", "--proxy-auth-file"),
    ("remove ip", "remove --ip"),
    ("remove proxy", "remove --proxy"),
    (NO_LINK, "use --mode black-box or --mode white-box"),
    (TWO_LINKS, "probe once with --ip 4 and once with --ip 6"),
];
const NO_LINK: &str = "use mode = \"black-box\" or \"white-box\"";
const TWO_LINKS: &str = "write two link probes with ip = \"4\" and ip = \"6\", each with its own to";

/// One text, in which a file's keys are called by the names of the options.
fn told(option: &str, complaint: &Complaint) -> String {
    let advice = complaint.advice.clone();
    let advice = ADVICE.iter().fold(advice, |advice, (key, option)| advice.replace(key, option));
    format!("{option}: {}; {advice}", complaint.what)
}

/// Both versions of one link.
pub(super) fn one_link_twice() -> Complaint {
    Complaint::new("both would share the series of one link", TWO_LINKS)
}

/// A link without PINGs behind a proxy. `key`: what has switched them off.
pub(super) fn proxied_handshakes(key: &str) -> Complaint {
    Complaint::new(
        "handshakes end at the route's proxy, and only PINGs reach the next hop",
        format!("remove {key}, or measure the link without a proxy"),
    )
}

/// A link to a UNIX socket.
pub(super) fn link_over_unix() -> Complaint {
    Complaint::new("a link probe measures a network, and its address is a UNIX socket of this host", NO_LINK)
}

/// A proxy in front of this next hop.
pub(super) fn proxy_to(next_hop: &HostPort) -> Option<Complaint> {
    let what = "a proxy leads to no UNIX socket of this host";
    next_hop.is_unix().then(|| Complaint::new(what, "remove proxy"))
}

/// A version of IP that the address does not have to which the connection goes.
pub(super) fn version(ip: Ip, next_hop: &HostPort, proxy: Option<&ProxyPlan>) -> Option<Complaint> {
    if next_hop.is_unix() {
        let is_wrong = ip != Ip::One(IpVersion::Any);
        return is_wrong.then(|| Complaint::new("a UNIX socket has no IP address", "remove ip"));
    }
    // An address that is written out is of one version.
    let literal: IpAddr = proxy.map_or(&next_hop.host, |proxy| &proxy.host).parse().ok()?;
    let of = if literal.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 };
    let is_wrong = match ip {
        Ip::One(version) => !version.admits(literal.is_ipv6()),
        Ip::Both => true,
    };
    let what = || format!("the connection goes to {literal}, which is {} and nothing else", of.as_str());
    is_wrong.then(|| Complaint::new(what(), "write a name that has such addresses, or remove ip"))
}

/// A file that holds no `user:password`. Its content is never repeated. **None**: it does, or it cannot be read,
/// which is told elsewhere.
pub(super) fn credentials(path: &Path) -> Option<Complaint> {
    let mut content = Vec::new();
    let file = File::open(path).ok()?;
    file.take(CREDENTIALS_READ_BYTES).read_to_end(&mut content).ok()?;
    let text = String::from_utf8_lossy(&content);
    let is_pair = text.trim().split_once(':').is_some_and(|(user, _)| !user.is_empty());
    let fits = is_pair && !text.trim().chars().any(char::is_control);
    let what = "the file holds no user:password";
    (!fits).then(|| Complaint::new(what, "write one line with user:password into it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(ip: Ip, proxy: Option<&str>) -> Options<'_> {
        Options { ip, proxy, auth_file: None, link_pings: None, makes_series: false }
    }

    #[test]
    fn options_are_refused_in_the_words_of_the_configuration_and_with_their_own_names() {
        let name: HostPort = "mediary-a:443".parse().unwrap();
        let literal: HostPort = "[::1]:443".parse().unwrap();
        let unix: HostPort = "unix:/run/orders.sock".parse().unwrap();
        let v4 = Ip::One(IpVersion::V4);
        let any = Ip::One(IpVersion::Any);
        let link = |pings, proxy, ip| Options { link_pings: Some(pings), ..options(ip, proxy) };
        let url = Some("http://proxy:3128");
        for (options, next_hop, text) in [
            (
                options(v4, None),
                &literal,
                "--ip: the connection goes to ::1, which is IPv6 and nothing else; write a name that has such addresses, or remove --ip",
            ),
            (options(Ip::Both, None), &literal, "--ip: the connection goes to ::1,"),
            (
                options(Ip::Both, Some("http://127.0.0.1:3128")),
                &name,
                "--ip: the connection goes to 127.0.0.1,",
            ),
            (options(v4, None), &unix, "--ip: a UNIX socket has no IP address; remove --ip"),
            (
                options(any, url),
                &unix,
                "--proxy: a proxy leads to no UNIX socket of this host; remove --proxy",
            ),
            (
                options(any, Some("proxy:3128")),
                &name,
                "--proxy: not the URL of an HTTP proxy; write \"http://host:port\"",
            ),
            (link(false, url, any), &name, "--no-ping: handshakes end at the route's proxy"),
            (link(true, None, any), &unix, "--mode link: a link probe measures a network"),
            (
                Options { makes_series: true, ..link(true, None, Ip::Both) },
                &name,
                "--ip both: both would share the series of one link; probe once with --ip 4",
            ),
        ] {
            let refused = options.proxy(next_hop).unwrap_err();
            assert!(refused.starts_with(text), "{refused}");
        }
        // The proxy's version counts, and not the next hop's.
        assert!(options(v4, Some("http://127.0.0.1:3128")).proxy(&literal).is_ok());
        assert!(link(true, None, Ip::Both).proxy(&name).is_ok(), "nothing shares a series on a terminal");
    }

    #[test]
    fn a_password_in_the_url_is_refused_without_being_repeated() {
        let any = options(Ip::One(IpVersion::Any), Some("http://me:s3cret@proxy:3128"));
        let refused = any.proxy(&"a:1".parse().unwrap()).unwrap_err();
        assert!(
            refused.contains("name it with --proxy-auth-file") && !refused.contains("s3cret"),
            "{refused}"
        );
    }
}
