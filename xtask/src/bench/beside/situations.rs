//! The situations, each made by a server of its own.

use super::names::{FAILING_NAME, NO_NAME, SLOW, SLOW_HOST, SLOW_NAME};
use super::{Truth, tls};
use anyhow::{Context, Result};
use insight_e2e::agent::Site;
use insight_e2e::peers::grpc::{Peer, Reply};
use insight_e2e::peers::raw::{RawPeer, kind};
use insight_e2e::peers::tcp::{BlackHole, Silent};
use insight_e2e::process::Process;
use std::any::Any;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How both tools reach a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Without TLS.
    Plain,
    /// With TLS, an authority's file, and the name that the certificate shall carry.
    Tls(&'static str, &'static str),
}

/// One row's target.
pub struct Situation {
    pub name: &'static str,
    pub target: String,
    pub transport: Transport,
    pub truth: Truth,
    /// What serves it, until it is dropped.
    _server: Vec<Box<dyn Any>>,
}

const PORT: u16 = 15_051;
const INTERNAL_ERROR: u32 = 2;

/// All of them, running.
///
/// # Errors
/// A server cannot be started.
pub fn all(site: &Site, agent: &Path) -> Result<Vec<Situation>> {
    let at = |host: u8| site.loopback.at(host, PORT);
    let plain = |name, target: String, truth, server: Box<dyn Any>| Situation {
        name,
        target,
        transport: Transport::Plain,
        truth,
        _server: vec![server],
    };
    let reply = |name, host, truth, reply: fn() -> Reply| {
        plain(name, at(host).to_string(), truth, Box::new(Peer::start(at(host), move |_| reply().into())))
    };
    let good = |ms| Truth::Good(Duration::from_millis(ms));
    let mut all = vec![
        reply("healthy", 10, good(0), Reply::serving),
        reply("healthy after 10 ms", 11, good(10), || Reply::serving().after(Duration::from_millis(10))),
        reply("healthy after 100 ms", 12, good(100), || Reply::serving().after(Duration::from_millis(100))),
        plain(
            "name resolves after 300 ms",
            format!("{SLOW_NAME}:{PORT}"),
            Truth::SlowName(SLOW),
            Box::new(Peer::healthy(at(SLOW_HOST))),
        ),
        plain("name: SERVFAIL", format!("{FAILING_NAME}:{PORT}"), Truth::Bad(&["dns"]), Box::new(())),
        plain("name: NXDOMAIN", format!("{NO_NAME}:{PORT}"), Truth::Bad(&["dns"]), Box::new(())),
        plain("nobody listens", at(13).to_string(), Truth::Bad(&["refused"]), Box::new(())),
        plain(
            "SYNs are dropped",
            at(14).to_string(),
            Truth::Bad(&["connect_timeout"]),
            Box::new(BlackHole::start(site.loopback.at_v4(14, PORT))),
        ),
        plain(
            "accepts, never speaks",
            at(15).to_string(),
            Truth::Bad(&["no_settings"]),
            Box::new(Silent::start(at(15))),
        ),
        reply("NOT_SERVING", 16, Truth::Bad(&["not_serving"]), || Reply::of(&[0x08, 0x02])),
        reply("UNAVAILABLE in trailers only", 17, Truth::Bad(&["status"]), || {
            Reply::grpc_status(14, "overloaded")
        }),
        reply("UNIMPLEMENTED", 18, Truth::Bad(&["misrouted", "status"]), || {
            Reply::grpc_status(12, "unknown service")
        }),
    ];
    let raw = |name, host, truth, peer| plain(name, at(host).to_string(), truth, Box::new(peer));
    let reset = RawPeer::start(at(20), |talk| {
        talk.greet(&[])?;
        let stream = talk.request()?;
        talk.good_headers(stream)?;
        Err(talk.reset())
    });
    all.push(raw("TCP RST in mid-response", 20, Truth::Bad(&["reset"]), reset));
    let stream_reset = RawPeer::start(at(21), |talk| {
        talk.greet(&[])?;
        loop {
            let stream = talk.request()?;
            talk.good_headers(stream)?;
            talk.send(kind::RST_STREAM, 0, stream, &INTERNAL_ERROR.to_be_bytes())?;
        }
    });
    all.push(raw("RST_STREAM in mid-response", 21, Truth::Bad(&["reset"]), stream_reset));
    let goaway = RawPeer::start(at(22), |talk| {
        talk.greet(&[])?;
        talk.goaway(0, INTERNAL_ERROR, b"go away")?;
        talk.keep_alive()
    });
    all.push(raw("GOAWAY at once", 22, Truth::Bad(&["goaway"]), goaway));
    all.extend(proxies(site)?);
    all.extend(certificates(site, agent)?);
    Ok(all)
}

/// nginx about an upstream that is not there, and about itself.
fn proxies(site: &Site) -> Result<Vec<Situation>> {
    let [dead, busy, nobody] = [30, 31, 32].map(|host| site.loopback.at(host, PORT));
    let folder = site.path("nginx");
    std::fs::create_dir_all(&folder).context("make nginx's folder")?;
    let run = folder.display();
    let config = site.write(
        "nginx.conf",
        &format!(
            "daemon off;\nmaster_process off;\npid {run}/pid;\nerror_log stderr warn;\nevents {{ }}\nhttp {{\n\
             access_log off;\nclient_body_temp_path {run}/body;\nproxy_temp_path {run}/proxy;\n\
             fastcgi_temp_path {run}/fastcgi;\nuwsgi_temp_path {run}/uwsgi;\nscgi_temp_path {run}/scgi;\n\
             server {{ listen {dead} http2; location / {{ grpc_pass grpc://{nobody}; }} }}\n\
             server {{ listen {busy} http2; location / {{ return 503; }} }}\n}}\n"
        ),
    );
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(config).arg("-p").arg(&folder).args(["-e", "stderr"]);
    let nginx = Process::start("nginx", command, &site.path("nginx.log"));
    listens(dead)?;
    let row = |name, target: SocketAddr, server: Box<dyn Any>| Situation {
        name,
        target: target.to_string(),
        transport: Transport::Plain,
        truth: Truth::Bad(&["proxy"]),
        _server: vec![server],
    };
    // Rows are dropped in order: the one that is asked last keeps the process.
    Ok(vec![row("nginx: 502", dead, Box::new(())), row("nginx: 503", busy, Box::new(nginx))])
}

/// Agents as receivers with TLS, one with a good and one with an expired certificate.
fn certificates(site: &Site, agent: &Path) -> Result<Vec<Situation>> {
    let mut rows = Vec::new();
    let start = |host: u8, file: &str| -> Result<(SocketAddr, Box<dyn Any>)> {
        let [metrics, admin, grpc] = [1, 2, 3].map(|port| site.loopback.at(host, PORT + port));
        let config = site.write(
            &format!("{file}.toml"),
            &format!(
                "[agent]\nregion = \"eu\"\n[metrics]\nlisten = \"{metrics}\"\n[admin]\nlisten = \"{admin}\"\n\
                 [grpc]\nlisten = \"{grpc}\"\ntls = {{ cert_file = \"{file}.pem\", key_file = \"{file}.key\" }}\n\
                 [kernel]\nenabled = false\n[host]\nenabled = false\n"
            ),
        );
        let mut command = Command::new(agent);
        command.arg("run").arg("--config").arg(config);
        let process = Process::start("insight-agent", command, &site.path(&format!("{file}.log")));
        listens(grpc)?;
        Ok((grpc, Box::new(process)))
    };
    let (good, server) = start(40, "good")?;
    let (expired, expired_server) = start(41, "expired")?;
    let mut row = |name, target: SocketAddr, ca, server_name, truth, server| {
        let transport = Transport::Tls(ca, server_name);
        rows.push(Situation { name, target: target.to_string(), transport, truth, _server: server });
    };
    let bad = Truth::Bad(&["tls"]);
    row("healthy with TLS", good, "ca.pem", tls::NAME, Truth::Good(Duration::ZERO), vec![]);
    row("certificate expired", expired, "ca.pem", tls::NAME, bad, vec![expired_server]);
    row("certificate of another name", good, "ca.pem", "other.test", bad, vec![]);
    row("unknown authority", good, "other.pem", tls::NAME, bad, vec![server]);
    Ok(rows)
}

fn listens(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("wait for a server at {address}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
