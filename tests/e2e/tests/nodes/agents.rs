//! Agents come and go, and readers ask at their own pace.

use crate::reports::{Reader, runtime};
use insight_agent::model::report::{NoWindow, NodeWindow, Polled};
use insight_e2e::nodes::Nodes;
use insight_e2e::path::scrape;
use insight_lab::Forwarder;
use std::time::Duration;
use tokio::time::{Instant, interval_at};

#[test]
fn a_hop_without_its_agent_is_named_and_covered_and_heals() {
    let test = "a_hop_without_its_agent_is_named_and_covered_and_heals";
    let Some(mut nodes) = Nodes::start(test, Forwarder::Nginx, |options| options.hop_headers = false) else {
        return;
    };
    nodes.wait_for_the_whole();
    nodes.lab.kill("agent@mediary-b");
    let merged = nodes.wait_for("one entry around the silent hop", |ledger| {
        ledger.entries.iter().find(|(_, entry)| entry.merged == ["mediary-b"]).cloned()
    });
    let (name, entry) = &merged;
    assert_eq!((name.as_str(), entry.source.as_deref()), ("link:mediary-a>gateway-b", Some("exchange")));
    // The WAN's 20 ms, a hop and a link of a machine under test.
    assert!(entry.seconds.is_some_and(|seconds| (0.018..0.030).contains(&seconds)), "{merged:#?}");
    let status = nodes.status();
    let state = |node: &str, name: &str| {
        let all = status["measurements"].as_array().unwrap();
        let found = all.iter().find(|m| m["node"] == node && m["name"] == name);
        found.map(|m| m["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(state("mediary-b", "report").as_deref(), Some("failed"), "{status:#}");
    assert_eq!(state("gateway-b", "report").as_deref(), Some("active"), "{status:#}");
    nodes.lab.restart("agent@mediary-b").unwrap();
    nodes.wait_for_the_whole();
    let ledger = nodes.ledger().unwrap();
    let hop = ledger.entry("hop:mediary-b").unwrap();
    assert_eq!((hop.source.as_deref(), hop.node.as_deref()), (Some("kernel"), Some("mediary-b")));
    nodes.lab.stop().unwrap();
}

#[test]
fn where_hops_write_headers_a_missing_agent_changes_only_the_source() {
    let test = "where_hops_write_headers_a_missing_agent_changes_only_the_source";
    let Some(mut nodes) = Nodes::start(test, Forwarder::Nginx, |_| {}) else { return };
    nodes.wait_for_the_whole();
    let source = |nodes: &Nodes, wanted: &str| {
        nodes.wait_for(wanted, |ledger| {
            let hop = ledger.entry("hop:mediary-a")?;
            (hop.seconds.is_some() && hop.source.as_deref() == Some(wanted)).then(|| hop.clone())
        })
    };
    assert_eq!(source(&nodes, "kernel").population.as_deref(), Some("all"));
    nodes.lab.kill("agent@mediary-a");
    assert_eq!(source(&nodes, "hop_header").population.as_deref(), Some("probe"));
    nodes.lab.restart("agent@mediary-a").unwrap();
    source(&nodes, "kernel");
    let lost = scrape(nodes.lab.eu().metrics)
        .sum("insight_lost_total", &[("measurement", "report"), ("loss", "restarted")]);
    assert_eq!(lost, Some(1.0), "a restart costs one window");
    nodes.lab.stop().unwrap();
}

#[test]
fn when_the_path_is_down_the_far_half_is_unknown_and_has_an_age() {
    let test = "when_the_path_is_down_the_far_half_is_unknown_and_has_an_age";
    let Some(mut nodes) = Nodes::start(test, Forwarder::Nginx, |_| {}) else { return };
    nodes.wait_for_the_whole();
    nodes.lab.kill("wan");
    nodes.wait_for("the far half unknown, with its age", |ledger| {
        let far = ["hop:mediary-b", "hop:gateway-b", "link:mediary-b>gateway-b"];
        let unknown = far.iter().all(|name| {
            ledger.entry(name).is_some_and(|entry| entry.seconds.is_none() && entry.age > Some(3.0))
        });
        (unknown && ledger.end_to_end.is_none()).then_some(())
    });
    nodes.lab.restart("wan").unwrap();
    nodes.wait_for_the_whole();
    nodes.lab.stop().unwrap();
}

/// Every series' events per second over a time, as a reader at this pace sees them.
async fn rate(reader: &mut Reader, cadence: Duration, polls: u32) -> f64 {
    let mut ticks = interval_at(Instant::now() + Duration::from_millis(300), cadence);
    let (mut events, mut length, mut last) = (0, Duration::ZERO, None::<Polled>);
    for _ in 0..=polls {
        ticks.tick().await;
        let polled = reader.poll().await.unwrap();
        if let Some(last) = &last {
            match NodeWindow::between(last, &polled) {
                Ok(window) => {
                    let turnarounds = window.series.iter().filter(|(key, _)| key.measurement == "turnaround");
                    events += turnarounds.map(|(_, series)| series.count).sum::<u64>();
                    length += window.length;
                }
                // The figures are read twice a second: two polls can see the same ones.
                Err(NoWindow::NotLater) => continue,
                Err(other) => panic!("{other:?}"),
            }
        }
        last = Some(polled);
    }
    events as f64 / length.as_secs_f64()
}

#[test]
fn readers_at_1_s_and_at_7_s_see_the_same_rates_and_a_restart_costs_one_window() {
    let test = "readers_at_1_s_and_at_7_s_see_the_same_rates_and_a_restart_costs_one_window";
    let Some(mut nodes) = Nodes::start(test, Forwarder::Nginx, |_| {}) else { return };
    nodes.wait_for_the_whole();
    let rates = runtime().block_on(async {
        let (mut quick, mut slow) =
            (Reader::new(&nodes.lab, "mediary-a"), Reader::new(&nodes.lab, "mediary-a"));
        tokio::join!(rate(&mut quick, Duration::from_secs(1), 14), rate(&mut slow, Duration::from_secs(7), 2))
    });
    println!("turnarounds per second at 1 s and 7 s: {rates:?}");
    assert!(rates.0 > 20.0 && (rates.0 / rates.1 - 1.0).abs() < 0.1, "{rates:?}");

    let poll =
        |nodes: &Nodes| runtime().block_on(async { Reader::new(&nodes.lab, "mediary-a").poll().await });
    let before = poll(&nodes).unwrap();
    nodes.lab.kill("agent@mediary-a");
    nodes.lab.restart("agent@mediary-a").unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let first = poll(&nodes).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let second = poll(&nodes).unwrap();
    assert_eq!(NodeWindow::between(&before, &first), Err(NoWindow::Restarted));
    assert!(NodeWindow::between(&first, &second).is_ok());
    nodes.lab.stop().unwrap();
}
