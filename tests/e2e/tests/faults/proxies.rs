//! 502, 503 and 504 as nginx and HAProxy write them.

use crate::case::{Case, Ends, assert_one_shot, assert_says, at, bad, ends};
use crate::servers::{haproxy, nginx};
use insight_e2e::agent::Site;
use insight_e2e::equipment::{Program, has};
use insight_e2e::exposition::Sample;
use insight_e2e::peers::grpc::{Deed, Peer};
use insight_e2e::peers::raw::RawPeer;
use insight_e2e::peers::tcp::{Closing, Silent};

/// All of them are the same to a client that looks at statuses; the text tells them apart.
const PROXY: Ends = ends("proxy", "response", "UNAVAILABLE");

#[test]
fn nginx_about_its_upstream_is_a_proxy() {
    if !has("nginx_about_its_upstream_is_a_proxy", &[Program::Nginx]) {
        return;
    }
    let site = Site::new();
    let [dead, limited, slow, silent, alive] = [3, 4, 5, 10, 11].map(|host| at(&site, host));
    let nobody = at(&site, 12);
    let (_silent, _alive) = (Silent::start(silent), Peer::healthy(alive));
    let blocks = format!(
        "limit_req_zone all zone=all:32k rate=1r/m;\n\
         server {{ listen {dead} http2; location / {{ grpc_pass grpc://{nobody}; }} }}\n\
         server {{ listen {limited} http2; location / {{ limit_req zone=all; grpc_pass grpc://{alive}; }} }}\n\
         server {{ listen {slow} http2; location / {{ grpc_read_timeout 150ms; grpc_pass grpc://{silent}; }} }}"
    );
    let _nginx = nginx(&site, &[dead, limited, slow], &blocks);
    // The one request of this minute.
    assert_eq!(crate::case::one_shot(&site, &limited.to_string(), &[])["samples"][0]["outcome"], "ok");
    let faults = [("dead", dead, "HTTP 502"), ("limited", limited, "HTTP 503"), ("slow", slow, "HTTP 504")];
    let mut case = Case::start(&site, |config| {
        faults.iter().fold(config, |config, (name, address, _)| bad(config, name, &address.to_string(), ""))
    });
    for (name, _, status) in faults {
        assert_says(
            &case.assert_fails(name, PROXY),
            &[status, "server: \"nginx/", "answered for its upstream"],
        );
    }
    case.assert_good_goes_on();
    for (_, address, _) in faults {
        assert_one_shot(&site, &address.to_string(), &[], PROXY);
    }
}

#[test]
fn haproxy_about_its_upstream_is_a_proxy() {
    if !has("haproxy_about_its_upstream_is_a_proxy", &[Program::Haproxy]) {
        return;
    }
    let site = Site::new();
    let [dead, closes, slow, queued, garbage, stuck] = [3, 4, 5, 6, 7, 8].map(|host| at(&site, host));
    let [silent, closing, noise, hanging] = [10, 11, 13, 14].map(|host| at(&site, host));
    let nobody = at(&site, 12);
    let (_silent, _closing) = (Silent::start(silent), Closing::start(closing));
    let _hanging = Peer::start(hanging, |_| Deed::Hang);
    // A double: an upstream that does not speak HTTP.
    let _noise = RawPeer::start(noise, |talk| {
        talk.write(b"\x01\x02\r\n\r\n")?;
        talk.hang()
    });
    let pair = |name: &str, listen, upstream: String| {
        format!(
            "frontend {name}\n  bind {listen} proto h2\n  default_backend {name}_up\n\
             backend {name}_up\n  server one {upstream}\n"
        )
    };
    let blocks = [
        pair("dead", dead, format!("{nobody} proto h2")),
        pair("garbage", garbage, noise.to_string()),
        pair("closes", closes, format!("{closing} proto h2")),
        pair("stuck", stuck, format!("{silent} proto h2")),
        pair("slow", slow, format!("{hanging} proto h2")),
        // Its one place is taken by a request that nobody answers; the others wait in the queue.
        pair("queued", queued, format!("{hanging} proto h2 maxconn 1")),
    ];
    let _haproxy = haproxy(&site, &[dead, closes, slow, queued, garbage, stuck], &blocks.concat());
    let faults = [
        ("dead", dead, "HTTP 503"),
        ("garbage", garbage, "HTTP 502"),
        ("slow", slow, "HTTP 504"),
        ("queued", queued, "HTTP 503"),
    ];
    let mut case = Case::start(&site, |config| {
        let config = bad(config, "closes", &closes.to_string(), "");
        let config = bad(config, "stuck", &stuck.to_string(), "");
        faults.iter().fold(config, |config, (name, address, _)| bad(config, name, &address.to_string(), ""))
    });
    // About an upstream with which it has not come to speak HTTP/2, HAProxy says 502 or 504, or resets the
    // stream with REFUSED_STREAM and leaves it to the client to ask again.
    let either = |sample: &Sample| {
        sample.has(&[("class", "proxy"), ("phase", "response")])
            || sample.has(&[("class", "reset"), ("phase", "wait")])
    };
    for name in ["closes", "stuck"] {
        let of = [("probe", name)];
        case.agent.wait_for("failures", |seen| {
            seen.sum("insight_probe_failures_total", &of).filter(|count| *count >= 6.0)
        });
        let seen = case.agent.scrape();
        let failures: Vec<_> = seen.samples("insight_probe_failures_total", &of).collect();
        assert!(failures.iter().all(|failure| either(failure)), "{failures:?}");
    }
    for (name, _, status) in faults {
        case.assert_fails(name, PROXY);
        // In the queue's case every few requests get the place, and 504.
        insight_e2e::wait::wait_until(&format!("{name} to be {status}"), insight_e2e::wait::PATIENCE, || {
            let last = case.agent.probe_status(name)["last_failure"]["detail"].to_string();
            if last.contains(status) { Ok(()) } else { Err(last) }
        });
    }
    case.assert_good_goes_on();
    for (_, address, _) in faults {
        assert_one_shot(&site, &address.to_string(), &[], PROXY);
    }
}
