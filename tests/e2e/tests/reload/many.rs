//! A thousand probes and fifty new files.

use super::{reload, reloaded};
use insight_e2e::agent::{Agent, Config, Site};
use insight_e2e::exposition::Exposition;
use insight_e2e::peers::grpc::Peer;
use insight_e2e::wait::{PATIENCE, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Probes that every file has, in the same words.
const STABLE: usize = 994;
/// Their targets.
const TARGETS: usize = 100;
/// Probes that each file has anew, and the next one has not.
const PASSING: usize = 4;
const RELOADS: usize = 50;
const INTERVAL: Duration = Duration::from_millis(500);
const PORT: u16 = 8443;

/// The file of a turn: 1,000 probes. Two of them change their deadline each time.
fn file(turn: usize, address: &str) -> Config {
    let lines = |deadline: usize| format!("interval = \"500ms\"\ndeadline = \"{deadline}s\"\nping = false");
    let mut config = Config::new();
    // In another order each time, which is no change.
    for index in 0..STABLE {
        let name = format!("stable-{}", (index + turn * 7) % STABLE);
        let target = format!("target-{}", (index + turn * 7) % STABLE % TARGETS);
        config = config.probe(&name, &target, address, &lines(5));
    }
    for index in 0..2 {
        config = config.probe(&format!("changing-{index}"), "changed", address, &lines(5 + turn % 2));
    }
    for index in 0..PASSING {
        config = config.probe(&format!("passing-{turn}-{index}"), "passed", address, &lines(5));
    }
    config
}

/// Good samples by probe.
fn good(seen: &Exposition, start: &str) -> BTreeMap<String, f64> {
    let samples = seen.samples("insight_probe_results_total", &[("status", "OK")]);
    let named = samples.filter(|sample| sample.labels["probe"].starts_with(start));
    named.map(|sample| (sample.labels["probe"].clone(), sample.value)).collect()
}

fn sum_of(seen: &Exposition, family: &str, start: &str) -> f64 {
    let samples = seen.samples(family, &[]);
    samples.filter(|sample| sample.labels["probe"].starts_with(start)).map(|sample| sample.value).sum()
}

/// What a process holds: resident KiB, files, threads.
fn held(agent: &Agent) -> (u64, usize, usize) {
    let pid = agent.process.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let rss = rss.trim().trim_end_matches(" kB").parse().unwrap();
    let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
    (rss, count("fd"), count("task"))
}

#[test]
fn fifty_reloads_of_a_thousand_probes_touch_only_what_changes_and_leave_nothing() {
    let site = Site::new();
    let address = site.loopback.at(2, PORT);
    let peer = Peer::healthy(address);
    let address = address.to_string();
    let agent = site.start(&file(0, &address));
    agent.wait_for("every probe", |seen| {
        let good = good(seen, "stable-");
        (good.len() == STABLE && good.values().all(|count| *count >= 1.0)).then_some(())
    });
    // Without a reload.
    let (start, before) = (Instant::now(), agent.scrape());
    std::thread::sleep(Duration::from_secs(5));
    let (calm, calm_seen) = (start.elapsed(), agent.scrape());
    let skipped = |seen: &Exposition| sum_of(seen, "insight_probe_skipped_total", "stable-");
    let calm_skips = (skipped(&calm_seen) - skipped(&before)) / calm.as_secs_f64();

    let (start, before) = (Instant::now(), agent.scrape());
    let opened_before = peer.connections();
    // Files in rest; memory and threads when the first files have been read.
    let at_rest = held(&agent).1;
    let mut early = held(&agent);
    for turn in 1..=RELOADS {
        site.write("insight.toml", &file(turn, &address).render(&site));
        let summary = reloaded(&site);
        assert_eq!(summary["kept"], STABLE, "{summary}");
        let lengths = ["started", "replaced", "stopped"].map(|key| summary[key].as_array().unwrap().len());
        assert_eq!(lengths, [PASSING, 2, PASSING], "{summary}");
        assert_eq!(summary["restart_required"].as_array().unwrap().len(), 0, "{summary}");
        // A reload takes some milliseconds: new probes shall have begun before the next one takes them away.
        std::thread::sleep(INTERVAL);
        if turn == 10 {
            early = held(&agent);
        }
        if turn % 10 == 0 {
            // At once, and not after a window.
            let page = agent.metrics_text();
            let last = format!("passing-{}-", turn - 1);
            assert!(!page.contains(&last), "{}", page.lines().find(|line| line.contains(&last)).unwrap());
        }
    }
    let (took, after) = (start.elapsed(), agent.scrape());
    let due = took.as_secs_f64() / INTERVAL.as_secs_f64();
    let (first, last) = (good(&before, "stable-"), good(&after, "stable-"));
    assert_eq!(last.len(), STABLE);
    for (name, count) in &last {
        let more = count - first[name];
        // Schedules are open loop: what is missing is under way.
        assert!(more >= due * 0.9 - 4.0, "{name}: {more} good samples in {took:?}, {due} were due");
    }
    let skips = (skipped(&after) - skipped(&before)) / took.as_secs_f64();
    assert!(skips <= calm_skips * 1.5 + 0.5, "{skips}/s skipped, {calm_skips}/s without reloads");
    assert_eq!(sum_of(&after, "insight_probe_connections_total", "stable-"), STABLE as f64);
    // A probe that the next file no longer had may have ended before it connected.
    let opened = (peer.connections() - opened_before) as usize;
    assert!(opened <= RELOADS * (PASSING + 2), "connections of unchanged probes were reopened: {opened}");
    assert!(opened > RELOADS * (PASSING + 2) / 2, "those of new probes are seen: {opened}");
    let changing = good(&after, "changing-");
    for (name, count) in good(&before, "changing-") {
        assert!(changing[&name] > count, "{name} goes on counting");
    }

    // What is retired is gone everywhere, and its connections are closed.
    assert_eq!(after.samples("insight_probe_skipped_total", &[]).count(), STABLE + 2 + PASSING);
    // So many share the histograms of their paths.
    assert_eq!(after.samples("insight_probe_schedule_lag_seconds_count", &[]).count(), TARGETS + 2);
    let gone = format!("passing-{}-", RELOADS - 1);
    assert!(!agent.status().to_string().contains(&gone));
    let (rss, files, threads) = wait_until("closed connections", PATIENCE, || {
        let now = held(&agent);
        (now.1 <= at_rest + 4).then_some(now).ok_or_else(|| format!("{now:?}, {at_rest} files before"))
    });
    println!("{took:?} for {RELOADS} reloads; after ten {early:?}, now {:?}", (rss, files, threads));
    assert!(rss < early.0 + 40 * 1024, "{rss} KiB, {} after ten reloads", early.0);
    assert!(threads <= early.2 + 4, "{threads} threads, {} after ten reloads", early.2);

    // A bad file changes nothing.
    let bad = file(RELOADS + 1, &address).render(&site) + "[[probe]]\nname = \"bad\"\ntarget = 7\n";
    site.write("insight.toml", &bad);
    let answer = reload(&site);
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(answer.body.contains("insight.toml:") && answer.body.contains("target"), "{}", answer.body);
    let seen = agent.scrape();
    assert_eq!(seen.value("insight_config_last_reload_successful", &[]), Some(0.0));
    assert_eq!(good(&seen, "passing-").len(), PASSING);
    assert!(good(&seen, &format!("passing-{RELOADS}-")).len() == PASSING, "those of the last good file");
    assert_eq!(sum_of(&seen, "insight_probe_connections_total", "stable-"), STABLE as f64);
}
