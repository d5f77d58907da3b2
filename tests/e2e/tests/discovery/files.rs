//! Files with targets that appear, change, break and go.

use super::{PORT, config, good, of_d, status, wait_for_probes, wait_for_up};
use insight_e2e::agent::Site;
use insight_e2e::http;
use insight_e2e::peers::grpc::Peer;
use insight_e2e::wait::{PATIENCE, wait_until};
use std::fs;
use std::net::SocketAddr;

/// Writes targets as Prometheus reads them, whole or not at all.
fn write(site: &Site, name: &str, targets: &[(&str, SocketAddr)]) {
    let groups: Vec<_> = targets
        .iter()
        .map(|(name, address)| serde_json::json!({ "targets": [address], "labels": { "name": name } }))
        .collect();
    let new = site.write("new", &serde_json::to_string(&groups).unwrap());
    fs::rename(new, site.path(name)).unwrap();
}

const FILES: &str = "file = { paths = [\"targets/*.json\"] }";

#[test]
fn targets_appear_change_break_and_go_while_those_that_stay_keep_their_connections() {
    let site = Site::new();
    fs::create_dir(site.path("targets")).unwrap();
    let at = |host| site.loopback.at(host, PORT);
    let (first, _second, written) = (Peer::healthy(at(2)), Peer::healthy(at(3)), Peer::healthy(at(4)));
    let config = config(FILES, "name = \"{meta.name}\"\nwhere = [\"meta.name\", \"name !~ *:1\"]");
    let config = config.probe("written", "near", &at(4).to_string(), "");
    let agent = site.start(&config);
    // Ready without any target.
    wait_for_probes(&agent, &["written"]);
    assert_eq!(status(&agent)["probes"], 0);
    write(&site, "targets/a.json", &[("a", at(2)), ("b", at(3)), ("filtered", site.loopback.at(9, 1))]);
    wait_for_probes(&agent, &["a", "b", "written"]);
    assert_eq!(of_d(&agent, "insight_discovery_endpoints"), Some(3.0));
    assert_eq!(status(&agent)["probes"], 2);

    // Another file, the same endpoint: nothing that is the same is touched.
    let before = good(&agent.scrape());
    write(&site, "targets/b.json", &[("c", at(3))]);
    write(&site, "targets/a.json", &[("a", at(2))]);
    wait_for_probes(&agent, &["a", "c", "written"]);
    let after = good(&agent.scrape());
    assert!(["a", "written"].iter().all(|name| after[*name] > before[*name]), "{before:?} {after:?}");
    assert_eq!((first.connections(), written.connections()), (1, 1), "connections of what is the same");

    // A bad file keeps what it had, and is named with its line; an age shows.
    site.write("targets/b.json", "[\n{\"targets\": [\"no address\"]}]");
    wait_for_up(&agent, 0.0);
    let told = status(&agent);
    let detail = told["failure"]["detail"].as_str().unwrap();
    assert!(detail.contains("targets/b.json:2: \"no address\" is no address"), "{detail}");
    assert_eq!(
        agent.scrape().value("insight_discovery_failures_total", &[("class", "malformed")]),
        Some(1.0)
    );
    wait_until("an age", PATIENCE, || {
        let age = status(&agent)["age_seconds"].as_f64().unwrap();
        if age > 1.0 { Ok(()) } else { Err(age.to_string()) }
    });
    wait_for_probes(&agent, &["a", "c", "written"]);

    // A reload in between keeps the rosters.
    let answer = http::post(site.admin(), "/-/reload", &[]).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&answer.body).unwrap()["kept"],
        3,
        "{}",
        answer.body
    );

    fs::remove_file(site.path("targets/b.json")).unwrap();
    wait_for_probes(&agent, &["a", "written"]);
    wait_for_up(&agent, 1.0);
    let page = agent.metrics_text();
    assert!(!page.contains("probe=\"c\""), "the series of what is gone are gone");
    fs::remove_file(site.path("targets/a.json")).unwrap();
    wait_for_probes(&agent, &["written"]);
    assert_eq!(of_d(&agent, "insight_discovery_endpoints"), Some(0.0));
    assert_eq!(written.connections(), 1);
}

#[test]
fn what_an_endpoint_lacks_or_breaks_is_told_and_touches_no_other() {
    let site = Site::new();
    fs::create_dir(site.path("targets")).unwrap();
    let _peer = Peer::healthy(site.loopback.at(2, PORT));
    let address = site.loopback.at(2, PORT);
    let endpoint = |name: &str, region: &str| {
        format!("[[endpoint]]\nname = \"{name}\"\naddress = \"{address}\"\nmeta = {{ {region} }}\n")
    };
    let content = endpoint("good", "region = \"far\"")
        + &endpoint("no-region", "")
        + &endpoint("strange", "region = \"Far East\"")
        + &endpoint("twin-x", "region = \"far\"")
        + &endpoint("twin:x", "region = \"far\"");
    site.write("targets/a.toml", &content);
    let source = "file = { paths = [\"targets/a.toml\"] }";
    let agent = site
        .start(&config(source, "name = \"{name}\"").edited("target = \"far\"", "target = \"{meta.region}\""));
    wait_for_probes(&agent, &["good", "twin-x"]);
    let told = status(&agent);
    let dropped = |reason: &str| {
        let all = told["dropped"].as_array().unwrap();
        all.iter()
            .find(|drop| drop["reason"] == reason)
            .unwrap_or_else(|| panic!("no {reason}: {told}"))
            .clone()
    };
    assert!(dropped("missing_meta")["example"].as_str().unwrap().contains("no-region"), "{told}");
    let strange = dropped("invalid_value")["example"].as_str().unwrap().to_owned();
    assert!(strange.contains("probe.target = \"Far East\": not a usable region name"), "{strange}");
    let seen = agent.scrape();
    let counted =
        |reason| seen.value("insight_discovery_dropped_total", &[("discovery", "d"), ("reason", reason)]);
    assert_eq!((counted("missing_meta"), counted("invalid_value")), (Some(1.0), Some(1.0)));
    // A colon is no letter of a name, so both would be called the same.
    assert_eq!(counted("name_taken"), Some(1.0));
    assert!(dropped("name_taken")["example"].as_str().unwrap().contains("endpoint \"twin:x\""), "{told}");
}
