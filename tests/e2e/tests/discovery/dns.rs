//! Real name servers: dnsmasq, whose names come and go with a file; and unbound, which can also fail.

use super::{PORT, config, good, of_d, status, wait_for_probes, wait_for_up};
use insight_e2e::agent::Site;
use insight_e2e::equipment::{Program, has};
use insight_e2e::peers::grpc::Peer;
use insight_e2e::process::Process;
use insight_e2e::wait::{PATIENCE, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

const DNS_PORT: u16 = 5353;
const NAME: &str = "peers.lab.example";

/// A DNS question for A of [`NAME`], as bytes: is anybody there to answer?
fn answers(server: SocketAddr) -> Result<(), String> {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in NAME.split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket.send_to(&question, server).map_err(|error| error.to_string())?;
    socket.recv(&mut [0; 512]).map(|_| ()).map_err(|error| error.to_string())
}

struct NameServer {
    process: Process,
    address: SocketAddr,
}

impl NameServer {
    fn start(name: &str, site: &Site, command: Command) -> Self {
        let mut server = Self {
            process: Process::start(name, command, &site.path(&format!("{name}.log"))),
            address: site.loopback.at(53, DNS_PORT),
        };
        wait_until(name, PATIENCE, || {
            assert!(server.process.ended().is_none(), "{}", server.process.log());
            answers(server.address)
        });
        server
    }

    fn dnsmasq(site: &Site, hosts: &[IpAddr], ttl: u32, more: &[String]) -> Self {
        write_hosts(site, hosts);
        let mut command = Command::new(Program::Dnsmasq.path());
        command
            .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces", "--no-daemon"])
            .args([
                "--user=root",
                "--pid-file=",
                "--conf-file=/dev/null",
                "--log-queries",
                "--log-facility=-",
            ])
            .arg(format!("--listen-address={}", site.loopback.ip(53)))
            .arg(format!("--port={DNS_PORT}"))
            .arg(format!("--addn-hosts={}", site.path("hosts").display()))
            .arg(format!("--local-ttl={ttl}"))
            .arg("--local=/lab.example/")
            .args(more);
        Self::start("dnsmasq", site, command)
    }

    fn unbound(site: &Site, zone: &str) -> Self {
        write_zone(site, zone);
        let mut command = Command::new(Program::Unbound.path());
        command.args(["-d", "-p", "-c"]).arg(site.path("unbound.conf"));
        Self::start("unbound", site, command)
    }

    fn reread(&self) {
        kill(Pid::from_raw(self.process.pid() as i32), Signal::SIGHUP).unwrap();
    }
}

fn write_hosts(site: &Site, hosts: &[IpAddr]) {
    let lines: String = hosts.iter().map(|ip| format!("{ip} {NAME}\n")).collect();
    site.write("hosts", &lines);
}

fn write_zone(site: &Site, zone: &str) {
    let listen = site.loopback.at(53, DNS_PORT);
    let folder = site.path("");
    let text = format!(
        "server:\n  interface: {}@{}\n  access-control: 127.0.0.0/8 allow\n  do-daemonize: no\n  chroot: \"\"\n  \
         username: \"\"\n  directory: \"{}\"\n  pidfile: \"\"\n  use-syslog: no\n  do-not-query-localhost: no\n  \
         module-config: \"iterator\"\n  num-threads: 1\n{zone}",
        listen.ip(),
        listen.port(),
        folder.display()
    );
    site.write("unbound.conf", &text);
}

fn dns(site: &Site, lines: &str) -> String {
    let server = site.loopback.at(53, DNS_PORT);
    format!("[discovery.dns]\nnames = [\"{NAME}.\"]\nserver = \"{server}\"\ntimeout = \"1s\"\n{lines}\n")
}

#[test]
fn addresses_that_are_added_and_removed_in_dnsmasq_are_followed_at_their_ttl() {
    if !has("addresses_that_are_added_and_removed_in_dnsmasq_are_followed_at_their_ttl", &[Program::Dnsmasq])
    {
        return;
    }
    let site = Site::new();
    let ip = |host| IpAddr::from(site.loopback.ip(host));
    let name = |host| format!("p-{}", ip(host));
    let (first, _second) =
        (Peer::healthy(site.loopback.at(2, PORT)), Peer::healthy(site.loopback.at(3, PORT)));
    let server = NameServer::dnsmasq(&site, &[ip(2)], 2, &[]);
    let source = dns(&site, &format!("port = {PORT}\nmin_ttl = \"100ms\"\ntype = \"A\""));
    let agent = site.start(&config(&source, "name = \"p-{host}\""));
    wait_for_probes(&agent, &[&name(2)]);
    write_hosts(&site, &[ip(3), ip(2)]);
    server.reread();
    wait_for_probes(&agent, &[&name(2), &name(3)]);
    write_hosts(&site, &[ip(2)]);
    server.reread();
    wait_for_probes(&agent, &[&name(2)]);
    assert_eq!(first.connections(), 1, "a probe whose endpoint stays keeps its connection");

    // The TTL of 2 s is kept, and not the least of 100 ms.
    let asked = || server.process.log().matches(&format!("query[A] {NAME}")).count();
    let (start, before) = (Instant::now(), asked());
    wait_until("three more questions", PATIENCE, || {
        let more = asked() - before;
        if more >= 3 { Ok(()) } else { Err(format!("{more} in {:?}", start.elapsed())) }
    });
    let took = start.elapsed();
    assert!(took > Duration::from_millis(3_900), "three questions in {took:?}");

    // NXDOMAIN: nobody is there.
    write_hosts(&site, &[]);
    server.reread();
    wait_for_probes(&agent, &[]);
    assert_eq!(of_d(&agent, "insight_discovery_endpoints"), Some(0.0));
    assert_eq!(of_d(&agent, "insight_discovery_up"), Some(1.0));
}

#[test]
fn services_bring_their_ports() {
    if !has("services_bring_their_ports", &[Program::Dnsmasq]) {
        return;
    }
    let site = Site::new();
    let _peer = Peer::healthy(site.loopback.at(2, 9443));
    let (service, target) = ("_grpc._tcp.lab.example", "node-a.lab.example");
    let more = [
        format!("--srv-host={service},{target},9443,10,60"),
        format!("--srv-host={service},node-b.lab.example,9444,20,60"),
    ];
    let _server = NameServer::dnsmasq(&site, &[], 1, &more);
    let source = dns(&site, "type = \"SRV\"").replace(NAME, service);
    // The names are known to that server alone: the address is put together here.
    let ip = site.loopback.ip(2);
    let template = format!(
        "name = \"{{host}}\"\naddress = \"{ip}:{{port}}\"\nauthority = \"{{host}}\"\nwhere = [\"meta.dns.priority = 10\"]"
    );
    let agent = site.start(&config(&source, &template));
    wait_for_probes(&agent, &[target]);
    assert_eq!(of_d(&agent, "insight_discovery_endpoints"), Some(2.0));
}

#[test]
fn a_name_server_that_fails_refuses_or_is_silent_keeps_the_roster_and_disturbs_nobody() {
    let test = "a_name_server_that_fails_refuses_or_is_silent_keeps_the_roster_and_disturbs_nobody";
    if !has(test, &[Program::Unbound]) {
        return;
    }
    let site = Site::new();
    let found = Peer::healthy(site.loopback.at(2, PORT));
    let written = Peer::healthy(site.loopback.at(4, PORT));
    let (ip, dead) = (site.loopback.ip(2), site.loopback.ip(99));
    let name = format!("p-{ip}");
    let here = format!("  local-zone: \"lab.example.\" static\n  local-data: \"{NAME}. 1 IN A {ip}\"\n");
    let server = NameServer::unbound(&site, &here);
    let source = dns(&site, &format!("port = {PORT}\nmin_ttl = \"200ms\"\ntype = \"A\""));
    site.write("other.json", &format!("[{{\"targets\":[\"{}\"]}}]", site.loopback.at(4, PORT)));
    let config = config(&source, "name = \"p-{host}\"")
        .probe("written", "near", &site.loopback.at(4, PORT).to_string(), "")
        .tables("[[discovery]]\nname = \"other\"\nfile = { paths = [\"other.json\"] }\n");
    let agent = site.start(&config);
    wait_for_probes(&agent, &[&name, "written"]);

    let fails = format!("forward-zone:\n  name: \"lab.example.\"\n  forward-addr: {dead}@1\n");
    let denies = "  local-zone: \"lab.example.\" always_refuse\n".to_owned();
    let silent = "  local-zone: \"lab.example.\" always_deny\n".to_owned();
    for (zone, class) in [(fails, "refused"), (denies, "denied"), (silent, "timeout")] {
        write_zone(&site, &zone);
        server.reread();
        let labels = [("discovery", "d"), ("class", class)];
        let before = good(&agent.scrape());
        agent.wait_for(class, |seen| {
            (seen.value("insight_discovery_failures_total", &labels)? > 0.0).then_some(())
        });
        assert_eq!(of_d(&agent, "insight_discovery_up"), Some(0.0));
        let told = status(&agent);
        let detail = told["failure"]["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("for A of {NAME}.: ")), "{detail}");
        assert_eq!((told["endpoints"].as_u64(), told["probes"].as_u64()), (Some(1), Some(1)), "{told}");
        // Everyone goes on: that probe, another one, and another source.
        wait_until("more good samples", PATIENCE, || {
            let now = good(&agent.scrape());
            let more = |name: &str| now[name] > before[name] + 5.0;
            if more(&name) && more("written") { Ok(()) } else { Err(format!("{before:?} {now:?}")) }
        });
        let other = [("discovery", "other")];
        assert_eq!(agent.scrape().value("insight_discovery_up", &other), Some(1.0));
    }
    let age = status(&agent)["age_seconds"].as_f64().unwrap();
    assert!(age > 1.0, "{age}");
    write_zone(&site, &here);
    server.reread();
    wait_for_up(&agent, 1.0);
    assert_eq!((found.connections(), written.connections()), (1, 1));

    write_zone(&site, "  local-zone: \"lab.example.\" always_nodata\n");
    server.reread();
    wait_for_probes(&agent, &["written"]);
}
