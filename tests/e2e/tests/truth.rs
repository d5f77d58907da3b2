//! A known delay, injected at one place, comes back at that place and nowhere else.
//!
//! Each lab is measured without a fault first; a fault's effect is the difference to that. The
//! bounds are the same with and without other traffic through the same hops.

use insight_e2e::path::{Path, Regions};
use insight_lab::skip::{SkipReason, skip};
use insight_lab::{Fault, Forwarder, haproxy_available, nginx_available};

/// Windows of one second that a figure is the median of.
const WINDOWS: u32 = 5;
/// How far a segment may move that the fault does not touch, in seconds.
const QUIET: f64 = 0.004;

/// A fault, the segment it must appear in, and what that segment must rise by, in seconds.
const CASES: [(&str, &str, std::ops::RangeInclusive<f64>); 3] = [
    ("wan-delay=40ms", "link:mediary-a>mediary-b", 0.036..=0.046),
    ("gateway-slow=30ms", "hop:gateway-b", 0.026..=0.036),
    ("service-slow=30ms", "service", 0.026..=0.036),
];

/// Injects every fault into one lab. `background`: requests per second of other traffic.
fn injected_truth_comes_back(forwarder: Forwarder, background: f64) {
    let mut regions = Regions::start(forwarder, background);
    let before = regions.measure(WINDOWS);
    println!("{forwarder}, background {background}/s, without fault: {before:#?}");
    assert!(
        before.segment("unexplained").abs() < (before.end_to_end * 0.1).max(0.001),
        "too much is unexplained: {before:#?}"
    );
    for (fault, place, rise) in CASES {
        let fault: Fault = fault.parse().expect("a fault of the lab");
        regions.lab.inject(&fault).expect("inject the fault");
        let with = regions.measure(WINDOWS);
        regions.lab.clear(&fault).expect("clear the fault");
        judge(&fault, place, &rise, &before, &with);
    }
    regions.lab.stop().expect("stop the lab and leave nothing");
}

fn judge(fault: &Fault, place: &str, rise: &std::ops::RangeInclusive<f64>, before: &Path, with: &Path) {
    let moved = with.segment(place) - before.segment(place);
    let others = with.segments.iter().filter(|(name, _)| *name != place);
    let widest = others.map(|(name, seconds)| (seconds - before.segment(name)).abs()).fold(0.0, f64::max);
    println!("{fault}: {place} {:+.2} ms, the others at most {:.2} ms", moved * 1e3, widest * 1e3);
    assert!(
        rise.contains(&moved),
        "{fault}: {place} moved by {moved} s, not {rise:?}: {before:#?} {with:#?}"
    );
    for (name, seconds) in &with.segments {
        let moved = seconds - before.segment(name);
        assert!(
            name == place || moved.abs() <= QUIET,
            "{fault}: {name} moved by {moved} s: {before:#?} {with:#?}"
        );
    }
    let total = with.cross_region - before.cross_region;
    let widest = rise.start() - QUIET..=rise.end() + QUIET;
    assert!(
        widest.contains(&total),
        "{fault}: cross_region_latency_ms moved by {total} s: {before:#?} {with:#?}"
    );
}

#[test]
fn embedded_forwarders_give_injected_delays_back() {
    injected_truth_comes_back(Forwarder::Embedded, 0.0);
}

#[test]
fn embedded_forwarders_give_injected_delays_back_beside_other_traffic() {
    injected_truth_comes_back(Forwarder::Embedded, 50.0);
}

#[test]
fn nginx_and_haproxy_give_injected_delays_back() {
    if real_forwarders("nginx_and_haproxy_give_injected_delays_back") {
        injected_truth_comes_back(Forwarder::Nginx, 0.0);
    }
}

#[test]
fn nginx_and_haproxy_give_injected_delays_back_beside_other_traffic() {
    if real_forwarders("nginx_and_haproxy_give_injected_delays_back_beside_other_traffic") {
        injected_truth_comes_back(Forwarder::Nginx, 50.0);
    }
}

#[test]
fn haproxy_everywhere_gives_injected_delays_back_beside_other_traffic() {
    if real_forwarders("haproxy_everywhere_gives_injected_delays_back_beside_other_traffic") {
        injected_truth_comes_back(Forwarder::Haproxy, 50.0);
    }
}

/// Whether nginx and HAProxy are here; says so if not.
fn real_forwarders(test: &str) -> bool {
    let here = nginx_available().is_some() && haproxy_available().is_some();
    if !here {
        skip(
            test,
            SkipReason::Missing("nginx and haproxy are not installed: run `cargo xtask setup` as root"),
        );
    }
    here
}

#[test]
fn a_dead_mediary_is_refused_then_leaves_no_latency_then_heals() {
    let mut regions = Regions::start(Forwarder::Embedded, 0.0);
    let fault = Fault::MediaryADown;
    let labels = [("probe", insight_e2e::path::PROBE)];
    let refused = |scrape: &insight_e2e::exposition::Exposition| {
        scrape.sum("insight_probe_failures_total", &[labels[0], ("class", "refused")])
    };
    assert_eq!(refused(&regions.scrape()), None, "no failure before the fault");
    regions.lab.inject(&fault).expect("inject the fault");
    regions.wait_for("refused probes, and no latency of a path that is down", |scrape| {
        let gone = scrape.value("cross_region_latency_ms", &[("source", "eu"), ("target", "sg")]).is_none()
            && scrape.samples(insight_e2e::path::LEDGER, &labels).count() == 0;
        (gone && refused(scrape)? > 3.0).then_some(())
    });
    let during = regions.scrape();
    let ratio = during.value("insight_probe_success_ratio", &[labels[0], ("connection", "fresh")]);
    assert_eq!(ratio, Some(0.0));
    regions.lab.clear(&fault).expect("clear the fault");
    regions.wait_for("the path measured again", |scrape| {
        Path::of(scrape).filter(|path| path.cross_region < 1.0)
    });
    regions.lab.stop().expect("stop the lab and leave nothing");
}
