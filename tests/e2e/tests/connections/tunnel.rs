//! Tunnels through a real proxy, tinyproxy.

use crate::servers::{Authority, NAME, nginx};
use crate::{answered, at, failed, mean};
use insight_e2e::agent::{Config, Site};
use insight_e2e::equipment::{Program, has};
use insight_e2e::peers::grpc::{Peer, Reply};
use insight_e2e::process::Process;
use insight_e2e::wait::{PATIENCE, wait_until};
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

const DELAY: Duration = Duration::from_millis(100);

/// tinyproxy with a password, which gives tunnels to these ports alone.
fn tinyproxy(site: &Site, listen: SocketAddr, ports: &[u16]) -> Process {
    let ports: String = ports.iter().map(|port| format!("ConnectPort {port}\n")).collect();
    let config = site.write(
        "tinyproxy.conf",
        &format!(
            "Port {}\nListen {}\nTimeout 60\nMaxClients 100\nAllow 127.0.0.0/8\nBasicAuth me s3cret\n\
             LogLevel Warning\n{ports}",
            listen.port(),
            listen.ip()
        ),
    );
    let mut command = Command::new(Program::Tinyproxy.path());
    command.arg("-d").arg("-c").arg(config);
    let mut proxy = Process::start("tinyproxy", command, &site.path("tinyproxy.log"));
    wait_until("tinyproxy to listen", PATIENCE, || {
        assert!(proxy.ended().is_none(), "tinyproxy ended: {}", proxy.log());
        TcpStream::connect(listen).map(drop).map_err(|error| error.to_string())
    });
    proxy
}

fn route(name: &str, address: SocketAddr, lines: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\naddress = \"{address}\"\n{lines}\n[[probe]]\nname = \"{name}\"\ntarget = \"sg\"\n\
         mode = \"black-box\"\nroute = \"{name}\"\ninterval = \"100ms\"\ndeadline = \"2s\"\ndrain = \"1s\"\n"
    )
}

#[test]
fn a_tunnel_leads_to_the_next_hop_and_each_refusal_names_the_proxy() {
    let name = "a_tunnel_leads_to_the_next_hop_and_each_refusal_names_the_proxy";
    if !has(name, &[Program::Tinyproxy, Program::Nginx]) {
        return;
    }
    let site = Site::new();
    let ours = Authority::new(&site, "ca");
    ours.certify(&site, "server", (2019, 2099));
    site.write("proxy.auth", "me:s3cret\n");
    site.write("wrong.auth", "me:another\n");
    let [proxy, service, front, nobody, dead] = [3, 4, 5, 6, 7].map(|host| at(&site, host));
    let forbidden = site.loopback.at(4, service.port() + 1);
    let _service = Peer::start(service, |_| Reply::serving().after(DELAY).into());
    let file = |name: &str| site.path(name).display().to_string();
    let blocks = format!(
        "server {{ listen {front} ssl http2; ssl_certificate {}; ssl_certificate_key {}; \
         location / {{ grpc_pass grpc://{service}; }} }}",
        file("server.pem"),
        file("server.key"),
    );
    let _nginx = nginx(&site, &[front], &blocks);
    let _proxy = tinyproxy(&site, proxy, &[service.port()]);
    let with = |proxy: SocketAddr, auth: &str| format!("proxy = \"http://{proxy}\"\n{auth}");
    let known = "proxy_auth_file = \"proxy.auth\"";
    let tls = format!("{known}\ntls = {{ ca_file = \"ca.pem\", server_name = \"{NAME}\" }}");
    let config = Config::new()
        .tables(&route("plain", service, &with(proxy, known)))
        // Its target is an IP address, and the certificate has a name.
        .tables(&route("tls", front, &with(proxy, &tls)))
        .tables(&route("anonymous", service, &with(proxy, "")))
        .tables(&route("wrong", service, &with(proxy, "proxy_auth_file = \"wrong.auth\"")))
        .tables(&route("forbidden", forbidden, &with(proxy, known)))
        .tables(&route("unreached", nobody, &with(proxy, known)))
        .tables(&route("dead", service, &with(dead, known)));
    let agent = site.start(&config);
    let refused = ["anonymous", "wrong", "forbidden", "unreached"];
    let seen = agent.wait_for("five samples of each", |seen| {
        let kinds = ["reused", "fresh"];
        let good = ["plain", "tls"];
        let answers = good.iter().all(|probe| kinds.iter().all(|kind| answered(seen, probe, kind) >= 5.0));
        let pinged = good.iter().all(|probe| {
            seen.value("insight_probe_ruler_seconds", &[("probe", probe), ("ruler", "ping")]).is_some()
        });
        let failures = refused.iter().all(|probe| failed(seen, probe, "proxy", "tunnel") >= 5.0);
        let dead = failed(seen, "dead", "refused", "connect") >= 5.0;
        (answers && pinged && failures && dead).then(|| seen.clone())
    });
    for probe in ["plain", "tls"] {
        let phase = |connection, phase| {
            let of = [("probe", probe), ("connection", connection), ("phase", phase)];
            mean(&seen, "insight_probe_phase_seconds", &of)
        };
        assert!(phase("fresh", "tunnel").is_some() && phase("reused", "tunnel").is_none());
        assert_eq!(phase("fresh", "tls").is_some(), probe == "tls");
        for connection in ["fresh", "reused"] {
            let wait = phase(connection, "wait").unwrap();
            assert!(wait >= DELAY.as_secs_f64() && wait < DELAY.as_secs_f64() + 0.1, "{probe}: {wait}");
        }
        let rulers: Vec<_> = seen
            .samples("insight_probe_ruler_seconds", &[("probe", probe)])
            .map(|sample| sample.labels["ruler"].clone())
            .collect();
        assert_eq!(rulers, ["ping"], "{probe}: what the kernel says is of the way to the proxy");
        assert_eq!(seen.sum("insight_probe_failures_total", &[("probe", probe)]), None);
    }
    let detail = |probe| agent.probe_status(probe)["last_failure"]["detail"].as_str().unwrap().to_owned();
    for probe in refused {
        let of = [("probe", probe)];
        let all = seen.sum("insight_probe_failures_total", &of);
        assert_eq!(all, Some(failed(&seen, probe, "proxy", "tunnel")), "{probe}: always so");
        let text = detail(probe);
        assert!(text.contains(&format!("the proxy http://{proxy} of route \"{probe}\"")), "{text}");
    }
    assert!(detail("anonymous").contains("HTTP 407") && detail("anonymous").contains("set proxy_auth_file"));
    assert!(detail("wrong").contains("check the user and password"), "{}", detail("wrong"));
    assert!(detail("dead").contains(&format!("the proxy http://{dead}")), "{}", detail("dead"));
    for page in [agent.metrics_text(), agent.status().to_string(), agent.log()] {
        assert!(!page.contains("s3cret") && !page.contains("bWU6czNjcmV0"), "the password is shown");
    }
}

#[test]
fn a_one_shot_goes_through_the_proxy_too() {
    let name = "a_one_shot_goes_through_the_proxy_too";
    if !has(name, &[Program::Tinyproxy]) {
        return;
    }
    let site = Site::new();
    site.write("proxy.auth", "me:s3cret\n");
    site.write("wrong.auth", "me:another\n");
    let [proxy, service] = [3, 4].map(|host| at(&site, host));
    let _service = Peer::start(service, |_| Reply::serving().after(DELAY).into());
    let _proxy = tinyproxy(&site, proxy, &[service.port()]);
    let (address, url) = (service.to_string(), format!("http://{proxy}"));
    let through = |more: &[&str]| {
        let base = ["probe", &address, "--mode", "black-box", "--count", "2", "--proxy", &url];
        site.execute(&[&base[..], more].concat())
    };
    let good = through(&["--proxy-auth-file", "proxy.auth", "--output", "json"]);
    assert_eq!(good.code, 0, "{good:?}");
    // The file was written as any program of this user writes it.
    assert!(
        good.stderr.contains("warning: --proxy-auth-file: every user of this host may read it"),
        "{good:?}"
    );
    let report: Value = serde_json::from_str(&good.stdout).unwrap();
    assert_eq!(report["proxy"], url.as_str());
    let [fresh, reused] = [0, 1].map(|sample| &report["samples"][sample]);
    assert!(fresh["phases"]["tunnel_seconds"].is_f64() && reused["phases"]["tunnel_seconds"].is_null());
    let waits = [fresh, reused].map(|sample| sample["phases"]["wait_seconds"].as_f64().unwrap());
    // A loaded host makes one of them longer, and none shorter.
    let least = waits[0].min(waits[1]);
    assert!(least >= DELAY.as_secs_f64() && least < DELAY.as_secs_f64() + 0.1, "{waits:?}");
    for sample in [fresh, reused] {
        assert!(sample["rulers"]["handshake_seconds"].is_null(), "it was with the proxy: {sample}");
    }
    let text = through(&["--proxy-auth-file", "proxy.auth"]);
    assert!(text.stdout.starts_with(&format!("{address} through {url}  black-box")), "{text:?}");
    assert!(text.stdout.contains("\n  tunnel "), "{text:?}");

    for (more, part) in [
        (&[][..], "set proxy_auth_file"),
        (&["--proxy-auth-file", "wrong.auth"], "check the user and password"),
    ] {
        let refused = through(more);
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(
            refused.stdout.contains("(proxy, in phase tunnel)") && refused.stdout.contains(part),
            "{refused:?}"
        );
    }
}
