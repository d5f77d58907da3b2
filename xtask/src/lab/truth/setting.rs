//! The configurations of a row.

use super::rows::{BURN, Proxy, Row};
use crate::bench::setting::Addresses;
use std::path::Path;

/// nginx: two workers; `burn` is a regular expression that takes its time.
const NGINX: &str = "\
daemon off;
user root root;
pid nginx.pid;
error_log stderr warn;
worker_processes 2;
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
    listen {{listen}} {{protocol}} backlog=1024;
{{certificate}}
    keepalive_requests 100000000;
    keepalive_time 24h;
    keepalive_timeout 1h;
    if ($http_x_burn ~ \"^(a+)+$\") { return 500; }
    location / { grpc_pass grpc://origin; }
  }
}
";

const NGINX_KEPT: &str = "    keepalive 256;
    keepalive_requests 100000000;
    keepalive_time 24h;
    keepalive_timeout 1h;
";

const NGINX_CERTIFICATE: &str = "    ssl_certificate certificate.pem;
    ssl_certificate_key key.pem;
";

const HAPROXY: &str = "\
global
    nbthread 2
    maxconn 4000
    lua-load-per-thread spin.lua
    tune.lua.forced-yield 100000000
defaults
    mode http
    timeout connect 3s
    timeout client 1h
    timeout http-request 15s
    timeout server 15s
    http-reuse always
frontend downstream
    bind {{listen}} proto h2
    http-request lua.spin if { req.hdr(x-burn) -m found }
    default_backend origin
backend origin
    server origin {{origin}} proto h2
";

/// Splices what looks like a stream, and every answer: what looks like one depends on the machine.
const HAPROXY_TCP: &str = "\
global
    nbthread 2
    maxconn 4000
    stats socket unix@./haproxy.sock level admin
defaults
    mode tcp
    timeout connect 3s
    timeout client 1h
    timeout server 1h
    option splice-auto
    option splice-response
frontend downstream
    bind {{listen}}
    default_backend origin
backend origin
    server origin {{origin}}
";

/// Computes, and never sleeps: read and write stay in one turn. Counted in rounds, for the clock of a
/// process runs twice as fast with two threads.
const SPIN: &str = "\
core.register_action(\"spin\", { \"http-req\" }, function()
  local count = 0
  while count < {{turns}} do count = count + 1 end
end, 0)
";

/// Rounds of an empty loop in a millisecond, about.
const TURNS_PER_MS: u128 = 60_000;

/// Letters that make a backtracking regular expression take about [`BURN`].
pub const BURN_HEADER: &str = "x-burn: aaaaaaaaaaaaaaaaa!";

/// The files of a row, by name; the first is the proxy's configuration.
pub fn files(row: Row, addresses: &Addresses) -> Vec<(&'static str, String)> {
    let (listen, origin) = (addresses.forwarder.to_string(), addresses.origin.to_string());
    let filled = |text: &str| text.replace("{{listen}}", &listen).replace("{{origin}}", &origin);
    let nginx = |protocol: &str, reuse: &str, certificate: &str| {
        let text = NGINX.replace("{{protocol}}", protocol);
        filled(&text.replace("{{reuse}}\n", reuse).replace("{{certificate}}\n", certificate))
    };
    let spin = SPIN.replace("{{turns}}", &(BURN.as_millis() * TURNS_PER_MS).to_string());
    match row.proxy() {
        Proxy::Nginx => vec![("proxy.cfg", nginx("http2", NGINX_KEPT, ""))],
        Proxy::NginxPerRequest => vec![("proxy.cfg", nginx("http2", "", ""))],
        Proxy::NginxTls => vec![("proxy.cfg", nginx("ssl http2", NGINX_KEPT, NGINX_CERTIFICATE))],
        Proxy::Haproxy => vec![("proxy.cfg", filled(HAPROXY)), ("spin.lua", spin)],
        Proxy::HaproxyTcp => vec![("proxy.cfg", filled(HAPROXY_TCP))],
        Proxy::WorkStealing => Vec::new(),
    }
}

/// The agent's configuration: everything that can be measured, of the sockets of one namespace; a
/// group on either side. `process` is the proxy's name.
pub fn agent(row: Row, addresses: &Addresses, process: &str, scope: &Path) -> String {
    let Addresses { metrics, admin, grpc, callers, origin, .. } = addresses;
    // As the configuration asks for where connections are TLS.
    let skipped = if row.proxy() == Proxy::NginxTls { 2 } else { 1 };
    format!(
        "[agent]\nregion = \"lab\"\nname = \"truth\"\nlog = \"warn\"\n[metrics]\nlisten = \"{metrics}\"\n[admin]\n\
         listen = \"{admin}\"\n[grpc]\nlisten = \"{grpc}\"\n[[forwarder]]\nname = \"proxy\"\nprocess = \
         \"{process}\"\n[host]\nenabled = false\n[kernel]\nenabled = true\nmeasurements = [\"all\", \"-qdisc_wait\"]\n\
         skip_exchanges = {skipped}\nscope_namespaces = [\"{}\"]\n[[kernel.peer]]\nname = \"callers\"\nnetworks = \
         [\"{callers}\"]\n[[kernel.peer]]\nname = \"origin\"\nnetworks = [\"{}\"]\n",
        scope.display(),
        origin.ip(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_keeps_a_placeholder_and_the_agents_is_toml() {
        let addresses = Addresses::free().unwrap();
        for row in Row::ALL {
            for (name, text) in files(row, &addresses) {
                assert!(!text.contains("{{"), "{}, {name}: {text}", row.title());
            }
            let table: toml::Table =
                agent(row, &addresses, "tf-1", Path::new("/run/netns/a")).parse().unwrap();
            assert_eq!(table["forwarder"][0]["process"].as_str(), Some("tf-1"));
            assert_eq!(table["kernel"]["peer"].as_array().unwrap().len(), 2);
        }
    }
}
