//! The real servers, started and stopped by a test, and the certificates that they show.

use insight_e2e::agent::Site;
use insight_e2e::equipment::Program;
use insight_e2e::process::Process;
use insight_e2e::wait::{PATIENCE, wait_until};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

/// The name in every certificate.
pub const NAME: &str = "service.test";

/// nginx with these `server` and other blocks, which listen at `listen`.
///
/// One process, so that killing it leaves no worker behind.
pub fn nginx(site: &Site, listen: &[SocketAddr], blocks: &str) -> Process {
    let folder = site.path("nginx");
    std::fs::create_dir_all(&folder).unwrap();
    let run = folder.display();
    let config = site.write(
        "nginx.conf",
        &format!(
            "daemon off;\nmaster_process off;\npid {run}/pid;\nerror_log stderr warn;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n\
             access_log off;\n\
             client_body_temp_path {run}/body;\nproxy_temp_path {run}/proxy;\n\
             fastcgi_temp_path {run}/fastcgi;\nuwsgi_temp_path {run}/uwsgi;\nscgi_temp_path {run}/scgi;\n\
             {blocks}\n}}\n"
        ),
    );
    let mut command = Command::new(Program::Nginx.path());
    command.arg("-c").arg(config).arg("-p").arg(&folder).args(["-e", "stderr"]);
    let mut nginx = Process::start("nginx", command, &site.path("nginx.log"));
    wait_for_listeners("nginx", &mut nginx, listen);
    nginx
}

/// HAProxy with these frontends and backends.
pub fn haproxy(site: &Site, listen: &[SocketAddr], blocks: &str) -> Process {
    let config = site.write(
        "haproxy.cfg",
        &format!(
            "global\n  maxconn 256\n  nbthread 1\n\
             defaults\n  mode http\n  retries 0\n  timeout client 30s\n  timeout connect 300ms\n\
             \x20 timeout server 250ms\n  timeout queue 100ms\n{blocks}"
        ),
    );
    let mut command = Command::new(Program::Haproxy.path());
    command.arg("-db").arg("-f").arg(config);
    let mut haproxy = Process::start("haproxy", command, &site.path("haproxy.log"));
    wait_for_listeners("HAProxy", &mut haproxy, listen);
    haproxy
}

/// Envoy with these listeners and clusters, as its bootstrap has them.
pub fn envoy(site: &Site, listen: &[SocketAddr], listeners: &[Value], clusters: &[Value]) -> Process {
    let bootstrap = json!({ "static_resources": { "listeners": listeners, "clusters": clusters } });
    let config = site.write("envoy.json", &bootstrap.to_string());
    let mut command = Command::new(Program::Envoy.path());
    command.arg("-c").arg(config).args([
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ]);
    let mut envoy = Process::start("Envoy", command, &site.path("envoy.log"));
    wait_for_listeners("Envoy", &mut envoy, listen);
    envoy
}

/// dnsmasq that knows these names and no other server.
pub fn dnsmasq(site: &Site, listen: Ipv4Addr, names: &[(&str, Ipv4Addr)]) -> Process {
    let mut command = Command::new(Program::Dnsmasq.path());
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--pid-file=",
    ]);
    command.args(["--bind-interfaces", "--user=root", "--log-facility=-", "--local-ttl=0"]);
    command.arg(format!("--listen-address={listen}"));
    for (name, address) in names {
        command.arg(format!("--host-record={name},{address}"));
    }
    let mut dnsmasq = Process::start("dnsmasq", command, &site.path("dnsmasq.log"));
    wait_for_listeners("dnsmasq", &mut dnsmasq, &[(listen, 53).into()]);
    dnsmasq
}

/// unbound with these lines of its `server:` clause, and further clauses.
pub fn unbound(site: &Site, listen: Ipv4Addr, lines: &str, clauses: &str) -> Process {
    let config = site.write(
        "unbound.conf",
        &format!(
            "server:\n  interface: {listen}\n  access-control: 127.0.0.0/8 allow\n  do-daemonize: no\n\
             \x20 username: \"\"\n  chroot: \"\"\n  directory: \"\"\n  pidfile: \"\"\n  use-syslog: no\n\
             \x20 num-threads: 1\n  do-not-query-localhost: no\n  module-config: \"iterator\"\n{lines}\n{clauses}"
        ),
    );
    let mut command = Command::new(Program::Unbound.path());
    command.arg("-d").arg("-c").arg(config);
    let mut unbound = Process::start("unbound", command, &site.path("unbound.log"));
    wait_for_listeners("unbound", &mut unbound, &[(listen, 53).into()]);
    unbound
}

fn wait_for_listeners(name: &str, process: &mut Process, listen: &[SocketAddr]) {
    for address in listen {
        wait_until(&format!("{name} to listen at {address}"), PATIENCE, || {
            assert!(process.ended().is_none(), "{name} ended: {}", process.log());
            let connected = TcpStream::connect_timeout(address, Duration::from_secs(1));
            connected.map(drop).map_err(|error| error.to_string())
        });
    }
}

// ---- certificates ---------------------------------------------------------------------------

/// An authority, whose certificate is `NAME.pem` of the site's folder.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    /// Of this file name, without its ending.
    pub fn new(site: &Site, file: &str) -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, file);
        let key = rcgen::KeyPair::generate().unwrap();
        site.write(&format!("{file}.pem"), &parameters.self_signed(&key).unwrap().pem());
        Self { issuer: rcgen::Issuer::new(parameters, key) }
    }

    /// Writes `FILE.pem` and `FILE.key`, of [`NAME`], valid from one year to another.
    pub fn certify(&self, site: &Site, file: &str, years: (i32, i32)) {
        let mut parameters = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        site.write(&format!("{file}.pem"), &certificate.pem());
        site.write(&format!("{file}.key"), &key.serialize_pem());
    }
}
