//! What stands on the path, as configuration: h2load ─► forwarder ─► origin.
//!
//! The origin is HAProxy, which answers each request itself with a gRPC message: of what is at hand
//! it is the fastest by far, so that it limits the throughput last. Alone behind h2load on one core
//! it answered 138,000 requests/s, the lab's service 89,000, where a forwarder in between passes
//! 35,000 to 52,000. nginx as origin is out: it may answer before it has read the message, and an
//! nginx in front of it then reports some of those answers as 502.

use super::ready::Set;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Forwarder {
    /// nginx with one worker and `grpc_pass`.
    Nginx,
    /// HAProxy with one thread and HTTP/2 on both sides.
    Haproxy,
}

impl Forwarder {
    /// Its name: on the command line, as a package, in `/proc/PID/comm`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// The program.
    ///
    /// # Errors
    /// It is not installed.
    pub fn program(self) -> Result<PathBuf> {
        let found = match self {
            Self::Nginx => insight_lab::nginx_available(),
            Self::Haproxy => insight_lab::haproxy_available(),
        };
        let name = self.as_str();
        found.with_context(|| format!("{name} is not installed: run `cargo xtask setup` as root"))
    }

    /// What it says about its version, in one line.
    pub fn version(self, program: &Path) -> String {
        let output = Command::new(program).arg("-v").output();
        // nginx writes it to stderr, HAProxy to stdout.
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let words = text.lines().next().unwrap_or_default().split_whitespace();
        words
            .take_while(|word| !word.contains("://"))
            .collect::<Vec<_>>()
            .join(" ")
            .trim_end_matches(" -")
            .into()
    }

    /// How many processes do its work once it is ready.
    pub const fn processes(self) -> usize {
        match self {
            Self::Nginx => 2, // a master and a worker
            Self::Haproxy => 1,
        }
    }

    /// Its arguments, with the configuration at `config`.
    pub fn arguments(self, folder: &Path, config: &Path) -> Vec<PathBuf> {
        match self {
            Self::Nginx => vec!["-p".into(), folder.into(), "-c".into(), config.into()],
            Self::Haproxy => vec!["-db".into(), "-f".into(), config.into()],
        }
    }

    /// Its configuration between two addresses.
    pub fn configuration(self, addresses: &Addresses, upstream: Upstream) -> String {
        let (template, reuse) = match (self, upstream) {
            (Self::Nginx, Upstream::Kept) => (NGINX, NGINX_KEPT),
            (Self::Nginx, Upstream::PerRequest) => (NGINX, ""),
            (Self::Haproxy, Upstream::Kept) => (HAPROXY, "    http-reuse always\n"),
            (Self::Haproxy, Upstream::PerRequest) => (HAPROXY, "    http-reuse never\n"),
        };
        let template = template.replace("{{reuse}}\n", reuse);
        let (listen, origin) = (addresses.forwarder.to_string(), addresses.origin.to_string());
        template.replace("{{listen}}", &listen).replace("{{origin}}", &origin)
    }
}

impl fmt::Display for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a forwarder connects to its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// Connections are kept and shared by requests.
    Kept,
    /// Each request has one of its own.
    PerRequest,
}

/// One worker. Its limits on requests per connection would close connections in the middle.
const NGINX: &str = "\
daemon off;
user root root;
pid nginx.pid;
error_log stderr warn;
worker_processes 1;
events { worker_connections 2048; }
http {
  access_log off;
  client_body_temp_path nginx-body;
  proxy_temp_path nginx-proxy;
  fastcgi_temp_path nginx-fastcgi;
  uwsgi_temp_path nginx-uwsgi;
  scgi_temp_path nginx-scgi;
  upstream origin {
    server {{origin}};
{{reuse}}
  }
  server {
    listen {{listen}} http2 backlog=1024;
    keepalive_requests 100000000;
    keepalive_time 24h;
    keepalive_timeout 1h;
    location / { grpc_pass grpc://origin; }
  }
}
";

/// Upstream connections that are kept, without limits that would close them in the middle.
const NGINX_KEPT: &str = "    keepalive 64;
    keepalive_requests 100000000;
    keepalive_time 24h;
    keepalive_timeout 1h;
";

const HAPROXY: &str = "\
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 3s
    timeout client 1h
    timeout http-request 15s
    timeout server 15s
{{reuse}}
frontend downstream
    bind {{listen}} proto h2
    default_backend origin
backend origin
    server origin {{origin}} proto h2
";

/// Reads the whole message before it answers, as a gRPC service does.
const ORIGIN: &str = "\
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 3s
    timeout client 1h
    timeout http-request 15s
    timeout server 15s
frontend origin
    bind {{origin}} proto h2
    http-request wait-for-body time 15s
    http-request return status 200 content-type application/grpc file {{message}} hdr grpc-status 0
";

/// The origin's configuration; `message` is the file that it answers with.
pub fn origin(addresses: &Addresses, message: &Path) -> String {
    let origin = addresses.origin.to_string();
    ORIGIN.replace("{{origin}}", &origin).replace("{{message}}", &message.display().to_string())
}

/// The agent's configuration: a set of measurements, the forwarder, a group on either side; `scope`
/// is the file of the network namespace whose sockets count. The host is not read: what is measured
/// is the cost of the kernel half.
pub fn agent(
    forwarder: Forwarder,
    addresses: &Addresses,
    set: Set,
    sample_one_in: u32,
    scope: Option<&Path>,
) -> String {
    let Addresses { metrics, admin, grpc, callers, origin, .. } = addresses;
    let scope =
        scope.map_or(String::new(), |netns| format!("scope_namespaces = [\"{}\"]\n", netns.display()));
    AGENT
        .replace("{{metrics}}", &metrics.to_string())
        .replace("{{admin}}", &admin.to_string())
        .replace("{{grpc}}", &grpc.to_string())
        .replace("{{forwarder}}", forwarder.as_str())
        .replace("{{set}}", set.word())
        .replace("{{sampling}}", &sample_one_in.to_string())
        .replace("{{scope}}\n", &scope)
        .replace("{{callers}}", &callers.to_string())
        .replace("{{origin}}", &origin.ip().to_string())
        .replace("{{port}}", &origin.port().to_string())
}

const AGENT: &str = r#"[agent]
region = "bench"
name = "bench"
log = "warn"
[metrics]
listen = "{{metrics}}"
[admin]
listen = "{{admin}}"
[grpc]
listen = "{{grpc}}"
[[forwarder]]
name = "{{forwarder}}"
process = "{{forwarder}}"
[host]
enabled = false
[kernel]
enabled = true
measurements = ["{{set}}"]
sample_one_in = {{sampling}}
{{scope}}
[[kernel.peer]]
name = "callers"
networks = ["{{callers}}"]
[[kernel.peer]]
name = "origin"
networks = ["{{origin}}"]
ports = ["{{port}}"]
"#;

/// Where everything of a half listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The forwarder.
    pub forwarder: SocketAddr,
    /// Where connections to it come from.
    pub callers: Ipv4Addr,
    /// Its upstream. Another address than the callers', so that each side has a peer group.
    pub origin: SocketAddr,
    /// The agent's metrics.
    pub metrics: SocketAddr,
    /// The agent's API.
    pub admin: SocketAddr,
    /// The agent's receiver, which nobody calls here.
    pub grpc: SocketAddr,
}

impl Addresses {
    /// Ports that are free now: all are held at once, then let go.
    ///
    /// # Errors
    /// Loopback has none, or is not there.
    pub fn free() -> Result<Self> {
        let hold = |last: u8| {
            let ip = Ipv4Addr::new(127, 0, 0, last);
            TcpListener::bind((ip, 0)).with_context(|| format!("find a free port on {ip}"))
        };
        let held = [hold(2)?, hold(3)?, hold(4)?, hold(4)?, hold(4)?];
        let mut addresses = held.iter().map(TcpListener::local_addr);
        let mut next = || match addresses.next() {
            Some(address) => address.context("read the address of a listener"),
            None => bail!("fewer listeners than addresses"),
        };
        Ok(Self {
            forwarder: next()?,
            callers: Ipv4Addr::LOCALHOST,
            origin: next()?,
            metrics: next()?,
            admin: next()?,
            grpc: next()?,
        })
    }

    /// In network namespaces of their own, where every port is free. The agent is asked from
    /// within that of the node.
    pub fn apart(node: Ipv4Addr, callers: Ipv4Addr, origin: Ipv4Addr) -> Self {
        let agent = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            forwarder: (node, 5051).into(),
            callers,
            origin: (origin, 5052).into(),
            metrics: agent(5053),
            admin: agent(5054),
            grpc: agent(5055),
        }
    }
}

/// Who runs on which CPU.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Placement {
    /// The forwarder's. Empty: anywhere.
    pub forwarder: Vec<usize>,
    /// The load generator's and the origin's. Empty: anywhere.
    pub others: Vec<usize>,
}

impl Placement {
    /// The forwarder alone on the last CPU, load and origin on the others; one CPU holds all. The
    /// agent is not confined: nothing confines it in production.
    pub fn of(cpus: &[usize]) -> Self {
        match cpus {
            [others @ .., last] if !others.is_empty() => {
                Self { forwarder: vec![*last], others: others.to_vec() }
            }
            _ => Self { forwarder: Vec::new(), others: Vec::new() },
        }
    }

    /// Of the CPUs that this process may use.
    ///
    /// # Errors
    /// `/proc/self/status` does not list them.
    pub fn here() -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let cpus = list.and_then(parse_list).context("read Cpus_allowed_list in /proc/self/status")?;
        Ok(Self::of(&cpus))
    }
}

/// The numbers in a list such as `0-2,5`. **None**: it is not one.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        numbers.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forwarder_is_alone_on_the_last_cpu() {
        assert_eq!(parse_list("\t0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_list("all"), None);
        assert_eq!(Placement::of(&[0, 1, 2]), Placement { forwarder: vec![2], others: vec![0, 1] });
        assert_eq!(Placement::of(&[3]), Placement { forwarder: vec![], others: vec![] });
    }

    #[test]
    fn no_configuration_keeps_a_placeholder_and_no_address_is_used_twice() {
        let addresses = Addresses::free().unwrap();
        for forwarder in [Forwarder::Nginx, Forwarder::Haproxy] {
            for upstream in [Upstream::Kept, Upstream::PerRequest] {
                let text = forwarder.configuration(&addresses, upstream);
                assert!(!text.contains("{{"), "{text}");
                assert!(text.contains(&addresses.origin.to_string()), "{text}");
                let keeps = text.contains("keepalive 64") || text.contains("http-reuse always");
                assert_eq!(keeps, upstream == Upstream::Kept, "{text}");
            }
        }
        assert!(!origin(&addresses, Path::new("/m")).contains("{{"));
        let Addresses { forwarder, origin, metrics, admin, grpc, .. } = addresses;
        let mut all = vec![forwarder, origin, metrics, admin, grpc];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn the_agents_configuration_is_toml_with_both_groups() {
        let text = agent(Forwarder::Haproxy, &Addresses::free().unwrap(), Set::Default, 1, None);
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["forwarder"][0]["process"].as_str(), Some("haproxy"));
        assert_eq!(table["kernel"]["peer"].as_array().unwrap().len(), 2);
        assert_eq!(table["kernel"].get("scope_namespaces"), None);
        assert!(!text.contains("{{"), "{text}");
    }

    #[test]
    fn the_agents_configuration_has_the_set_and_the_scope() {
        let [node, callers, origin] = [1, 2, 3].map(|last| Ipv4Addr::new(198, 18, 0, last));
        let addresses = Addresses::apart(node, callers, origin);
        let text = agent(Forwarder::Nginx, &addresses, Set::All, 8, Some(Path::new("/run/netns/a")));
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["kernel"]["measurements"][0].as_str(), Some("all"));
        assert_eq!(table["kernel"]["sample_one_in"].as_integer(), Some(8));
        assert_eq!(table["kernel"]["scope_namespaces"][0].as_str(), Some("/run/netns/a"));
        assert_eq!(table["kernel"]["peer"][0]["networks"][0].as_str(), Some("198.18.0.2"));
        assert_eq!(table["kernel"]["peer"][1]["ports"][0].as_str(), Some("5052"));
    }
}
