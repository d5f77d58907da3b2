//! A thousand endpoints at once, and a few that change among them.

use super::{PORT, config, good, status};
use insight_e2e::agent::Site;
use insight_e2e::peers::grpc::Peer;
use insight_e2e::wait::{PATIENCE, wait_until};
use std::fs;

const MOST: usize = 1_000;

fn write(site: &Site, names: impl Iterator<Item = usize>) {
    let address = site.loopback.at(2, PORT);
    let endpoints: Vec<_> =
        names.map(|index| serde_json::json!({ "name": format!("e{index}"), "address": address })).collect();
    let new = site.write("new", &serde_json::json!({ "endpoint": endpoints }).to_string());
    fs::rename(new, site.path("a.json")).unwrap();
}

#[test]
fn a_thousand_endpoints_are_probed_and_a_change_among_them_touches_only_what_changes() {
    let site = Site::new();
    let peer = Peer::healthy(site.loopback.at(2, PORT));
    write(&site, 0..MOST + 10);
    let source = "file = { paths = [\"a.json\"] }";
    let config = config(source, "name = \"{name}\"\nping = false").edited("\"50ms\"", "\"500ms\"");
    let agent = site.start(&config);
    let wait_for = |what: &str, count: usize| {
        wait_until(what, PATIENCE, || {
            let now = good(&agent.scrape());
            let all = now.len() == count && now.values().all(|count| *count > 0.0);
            if all { Ok(now) } else { Err(format!("{} of {count}", now.len())) }
        })
    };
    let before = wait_for("a thousand probes", MOST);
    let told = status(&agent);
    assert_eq!((&told["probes"], &told["endpoints"]), (&MOST.into(), &(MOST + 10).into()), "{told}");
    assert_eq!(told["dropped"][0]["reason"], "too_many");
    assert_eq!(told["dropped"][0]["count"], 10);
    let opened = peer.connections();
    // The last ten names in order go, so those that were beyond the most find room.
    let mut names: Vec<_> = (0..MOST + 10).collect();
    names.sort_by_key(|index| format!("e{index}"));
    write(&site, names[10..].iter().copied());
    wait_until("another roster", PATIENCE, || {
        let now = status(&agent);
        if now["endpoints"] == MOST { Ok(()) } else { Err(now.to_string()) }
    });
    let after = wait_for("ten others", MOST);
    let stayed: Vec<_> = before.keys().filter(|name| after.contains_key(*name)).collect();
    assert_eq!(stayed.len(), MOST - 10);
    assert!(stayed.iter().all(|name| after[*name] >= before[*name]), "they go on counting");
    let more = peer.connections() - opened;
    assert!((10..=12).contains(&more), "{more} connections for ten new probes");
    assert_eq!(status(&agent)["dropped"].as_array().unwrap().len(), 0);
}
