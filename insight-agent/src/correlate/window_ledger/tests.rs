//! Tests of the ledger that the nodes' reports make.

use super::*;
use crate::correlate::fixtures::{ms, plan};
use crate::model::region::{NodeEvent, PollFailure};
use crate::model::report::{Distribution, NodeReport, Polled, SeriesKey};
use crate::model::window::SegmentWindow;

/// Reports of the hops `a` and `b` of the fixtures' path `me → a → b → service`, from eu and sg.
struct Reports {
    began: Instant,
    polls: u64,
    nodes: NodeWindows,
    /// What each node counts from one poll to the next.
    per_poll: BTreeMap<(&'static str, &'static str), Vec<Counted>>,
    /// Cumulative.
    so_far: BTreeMap<&'static str, BTreeMap<SeriesKey, Distribution>>,
    epochs: BTreeMap<&'static str, u64>,
}

/// A series, events, and how long each took in µs.
type Counted = (SeriesKey, u64, u64);

const A: (&str, &str) = ("eu", "a");
const B: (&str, &str) = ("sg", "b");

fn key(measurement: &str, labels: &[(&str, &str)]) -> SeriesKey {
    SeriesKey::new(measurement, labels)
}

impl Reports {
    /// Both hops measure everything: residence 1 ms each way, receive waits 0.5 ms, links 20 ms.
    fn complete() -> Self {
        let mut reports = Self {
            began: Instant::now(),
            polls: 0,
            nodes: NodeWindows::default(),
            per_poll: BTreeMap::new(),
            so_far: BTreeMap::new(),
            epochs: BTreeMap::new(),
        };
        for (node, before, behind) in [(A, "me", "b"), (B, "a", "service")] {
            let hop = [
                (key("receive_wait", &[("peer", before), ("role", "accepted")]), 10, 500),
                (key("receive_wait", &[("peer", behind), ("role", "connected")]), 10, 500),
                (key("residence", &[("direction", "up"), ("peer", behind)]), 10, 1000),
                (key("residence", &[("direction", "down"), ("peer", behind)]), 10, 1000),
                (key("pairs", &[("direction", "up"), ("outcome", "paired")]), 10, 0),
                (key("pairs", &[("direction", "down"), ("outcome", "paired")]), 10, 0),
                (key("response", &[("peer", behind)]), 10, 31_000),
                (key("turnaround", &[("peer", before)]), 10, 8000),
                (key("socket_rtt", &[("peer", behind), ("role", "connected")]), 4, 20_000),
            ];
            reports.per_poll.insert(node, hop.to_vec());
        }
        reports
    }

    fn change(&mut self, node: (&'static str, &'static str), series: SeriesKey, count: u64, us: u64) {
        let all = self.per_poll.get_mut(&node).unwrap();
        all.retain(|(key, ..)| *key != series);
        all.push((series, count, us));
    }

    fn at(&self) -> Instant {
        self.began + ms(self.polls * 1000)
    }

    /// Everybody of `nodes` is polled, a second after the last time.
    fn poll(&mut self, nodes: &[(&'static str, &'static str)]) {
        self.polls += 1;
        for (region, node) in nodes {
            let so_far = self.so_far.entry(node).or_default();
            for (key, count, us) in &self.per_poll[&(*region, *node)] {
                let distribution = so_far.entry(key.clone()).or_default();
                for _ in 0..*count {
                    distribution.record(us * 1000, self.polls as u32);
                }
            }
            let report = NodeReport {
                node: (*node).to_owned(),
                region: (*region).to_owned(),
                epoch: self.epochs.get(node).copied().unwrap_or(7),
                uptime: ms(self.polls * 1000 + 500),
                series: so_far.clone(),
                measurements: vec![],
                series_left_out: 0,
            };
            let polled = Box::new(Polled { report, asked: self.at(), answered: self.at() });
            let (region, node) = ((*region).to_owned(), (*node).to_owned());
            self.nodes.take(NodeEvent::Polled { region, node, polled });
        }
    }

    fn ledger(&self, prober: &ProberMeans) -> LedgerWindow {
        window_ledger(&plan("p"), prober, &self.nodes, self.at(), ms(3000)).unwrap()
    }
}

fn mean(milliseconds: f64) -> Mean {
    Mean { seconds: milliseconds / 1e3, bound: 0.0, count: 10 }
}

/// A request of 62 ms, of which the service took 10.
fn prober() -> ProberMeans {
    ProberMeans {
        count: 10,
        end_to_end: Some(0.062),
        first_link: Some(mean(2.0)),
        service: Some(mean(10.0)),
        transfer: Some(mean(1.0)),
        ..ProberMeans::default()
    }
}

fn entry<'a>(ledger: &'a LedgerWindow, name: &str) -> &'a SegmentWindow {
    ledger.segments.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name}: {ledger:#?}"))
}

fn milliseconds(ledger: &LedgerWindow, name: &str) -> Option<f64> {
    entry(ledger, name).mean.map(|seconds| (seconds * 1e6).round() / 1e3)
}

fn names(ledger: &LedgerWindow) -> Vec<&str> {
    ledger.segments.iter().map(|segment| segment.name.as_str()).collect()
}

#[test]
fn every_entry_stands_on_its_own_and_the_rest_is_unexplained() {
    let mut reports = Reports::complete();
    (0..3).for_each(|_| reports.poll(&[A, B]));
    let ledger = reports.ledger(&prober());
    let expected = ["link:me>a", "hop:a", "link:a>b", "hop:b", "link:b>service", "service", "transfer"];
    assert_eq!(names(&ledger), expected);
    let figures = expected.map(|name| milliseconds(&ledger, name).unwrap());
    assert_eq!(figures, [2.0, 3.0, 20.0, 3.0, 20.0, 10.0, 1.0]);
    assert!((ledger.unexplained.unwrap() - 0.003).abs() < 1e-9, "{ledger:#?}");
    let of = |name| (entry(&ledger, name).evidence.unwrap(), entry(&ledger, name).population.unwrap());
    assert_eq!(of("hop:a"), (Evidence::Kernel, Population::All));
    assert_eq!(of("link:a>b"), (Evidence::RttFloor, Population::All));
    assert_eq!(of("link:me>a"), (Evidence::Handshake, Population::Probe));
    assert_eq!(entry(&ledger, "link:a>b").node.as_deref(), Some("a"));
    assert_eq!((ledger.kind, ledger.residual, ledger.refused), (LedgerKind::Window, None, vec![]));
}

#[test]
fn without_a_node_on_the_path_there_is_no_second_ledger() {
    let nodes = NodeWindows::default();
    assert_eq!(window_ledger(&plan("p"), &prober(), &nodes, Instant::now(), ms(3000)), None);
}

#[test]
fn unpaired_residence_is_refused_and_the_hops_header_speaks_instead() {
    let mut reports = Reports::complete();
    reports.change(A, key("pairs", &[("direction", "up"), ("outcome", "no_read")]), 10, 0);
    (0..3).for_each(|_| reports.poll(&[A, B]));
    let ledger = reports.ledger(&prober());
    assert_eq!(ledger.refused, [Loss::Unpaired], "half is not more than half");
    // Nothing else knows the hop; the stretch around it was measured as a whole.
    assert_eq!(entry(&ledger, "link:me>a").mean, Some(0.002));
    assert_eq!(entry(&ledger, "hop:a").mean, None);
    let with_header = ProberMeans { hops: BTreeMap::from([("hop:a".to_owned(), mean(33.0))]), ..prober() };
    let ledger = reports.ledger(&with_header);
    let hop = entry(&ledger, "hop:a");
    assert_eq!((hop.evidence, hop.population), (Some(Evidence::HopHeader), Some(Population::Probe)));
    assert_eq!((hop.mean, hop.node.as_deref()), (Some(0.033), None));
}

/// Hop `a` with two forwarders: what it counts is `path`'s, and `beside` forwards something else, works longer
/// and hands everything between threads.
fn with_another_forwarder(reports: &mut Reports) {
    let of = |name: &str, key: &SeriesKey| {
        let mut labels: Vec<_> = key.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        labels.push(("forwarder", name));
        SeriesKey::new(&key.measurement, &labels)
    };
    let series = reports.per_poll.get_mut(&A).unwrap();
    *series = series.iter().map(|(key, count, us)| (of("path", key), *count, *us)).collect();
    for (measurement, labels, count, us) in [
        ("receive_wait", &[("peer", "elsewhere"), ("role", "accepted")][..], 90, 70_000),
        ("receive_wait", &[("peer", "b"), ("role", "connected")], 90, 70_000),
        ("residence", &[("direction", "up"), ("peer", "b")], 90, 70_000),
        ("residence", &[("direction", "down"), ("peer", "b")], 90, 70_000),
        ("pairs", &[("direction", "up"), ("outcome", "no_read")], 900, 0),
        ("pairs", &[("direction", "down"), ("outcome", "no_read")], 900, 0),
    ] {
        series.push((of("beside", &key(measurement, labels)), count, us));
    }
    // Sockets of nobody's.
    series.push((of("other", &key("socket_rtt", &[("peer", "b"), ("role", "connected")])), 9, 19_000));
}

#[test]
fn a_forwarder_beside_that_is_not_on_the_path_changes_no_hop_figure_and_refuses_none() {
    let mut reports = Reports::complete();
    with_another_forwarder(&mut reports);
    (0..3).for_each(|_| reports.poll(&[A, B]));
    let ledger = reports.ledger(&prober());
    assert!(ledger.refused.is_empty(), "{:?}", ledger.refused);
    let hop = entry(&ledger, "hop:a");
    assert_eq!(hop.evidence, Some(Evidence::Kernel));
    assert!((hop.mean.unwrap() - 0.003).abs() < 1e-9, "{:?}", hop.mean);
    let link = entry(&ledger, "link:a>b").mean.unwrap();
    assert!((link - 0.019).abs() < 1e-9, "the smallest of everybody's round trips: {link}");
}

#[test]
fn two_forwarders_on_one_path_are_weighed_by_what_they_forward() {
    let mut reports = Reports::complete();
    with_another_forwarder(&mut reports);
    let beside = |measurement, labels: &[_]| key(measurement, &[labels, &[("forwarder", "beside")]].concat());
    // Now it accepts from the same neighbour, and pairs.
    reports.change(A, beside("receive_wait", &[("peer", "me"), ("role", "accepted")]), 30, 500);
    reports.change(A, beside("receive_wait", &[("peer", "b"), ("role", "connected")]), 30, 500);
    for direction in ["up", "down"] {
        reports.change(A, beside("residence", &[("direction", direction), ("peer", "b")]), 30, 5000);
        reports.change(A, beside("pairs", &[("direction", direction), ("outcome", "no_read")]), 0, 0);
        reports.change(A, beside("pairs", &[("direction", direction), ("outcome", "paired")]), 30, 0);
    }
    (0..3).for_each(|_| reports.poll(&[A, B]));
    let ledger = reports.ledger(&prober());
    // 0.5 + 4 + 0.5 + 4: three of four are of the slower one.
    let hop = entry(&ledger, "hop:a").mean.unwrap();
    assert!((hop - 0.009).abs() < 1e-9, "{hop}");
}

#[test]
fn a_silent_hop_is_covered_by_one_entry_that_names_it_and_heals() {
    let mut reports = Reports::complete();
    let me = ("eu", "me");
    let responses = vec![(key("response", &[("peer", "a")]), 10, 50_000)];
    reports.per_poll.insert(me, responses);
    (0..3).for_each(|_| reports.poll(&[me, A, B]));
    assert_eq!(reports.ledger(&prober()).segments.len(), 7);
    (0..4).for_each(|_| reports.poll(&[me, B]));
    let ledger = reports.ledger(&prober());
    assert_eq!(names(&ledger), ["link:me>b", "hop:b", "link:b>service", "service", "transfer"]);
    let merged = entry(&ledger, "link:me>b");
    assert_eq!(
        (merged.merged.as_slice(), merged.evidence),
        (&["a".to_owned()][..], Some(Evidence::Exchange))
    );
    assert_eq!(milliseconds(&ledger, "link:me>b"), Some(42.0));
    // Restarted: one poll without a window, and then it is whole again.
    reports.epochs.insert("a", 8);
    reports.so_far.remove("a");
    reports.poll(&[me, A, B]);
    assert_eq!(reports.ledger(&prober()).segments.len(), 5);
    reports.poll(&[me, A, B]);
    assert_eq!(milliseconds(&reports.ledger(&prober()), "hop:a"), Some(3.0));
}

#[test]
fn overlapping_exchanges_are_refused_and_counted() {
    let mut reports = Reports::complete();
    let me = ("eu", "me");
    reports.per_poll.insert(
        me,
        vec![
            (key("response", &[("peer", "a")]), 85, 50_000),
            (key("lost", &[("loss", "overlapped"), ("measurement", "response")]), 15, 0),
        ],
    );
    (0..3).for_each(|_| reports.poll(&[me, A, B]));
    (0..4).for_each(|_| reports.poll(&[me, B]));
    let ledger = reports.ledger(&prober());
    assert_eq!(ledger.refused, [Loss::Overlapped]);
    let (hop, link) = (entry(&ledger, "hop:a"), entry(&ledger, "link:me>a"));
    assert_eq!((hop.mean, hop.age, hop.count), (None, Some(ms(4000)), 0));
    assert_eq!(link.mean, Some(0.002), "what is known stays");
}

#[test]
fn when_the_other_region_is_silent_its_half_is_none_with_its_age() {
    let mut reports = Reports::complete();
    (0..3).for_each(|_| reports.poll(&[A, B]));
    let failure = PollFailure { status: "UNAVAILABLE".into(), detail: "no route".into() };
    reports.nodes.take(NodeEvent::RegionFailed { region: "sg".into(), failure });
    (0..5).for_each(|_| reports.poll(&[A]));
    let ledger = reports.ledger(&ProberMeans::default());
    assert_eq!((ledger.end_to_end, ledger.unexplained), (None, None));
    assert_eq!(milliseconds(&ledger, "hop:a"), Some(3.0));
    for name in ["hop:b", "link:b>service", "service"] {
        let entry = entry(&ledger, name);
        assert_eq!((entry.mean, entry.evidence, entry.age), (None, None, Some(ms(5000))), "{name}");
    }
    let states = reports.nodes.states("me", reports.at(), ms(3000));
    let of = |node: &str, name: &str| {
        states.iter().find(|s| s.node == node && s.name == name).map(|s| s.reason.as_str())
    };
    assert_eq!(of("sg", "region_report"), Some("no_answer"));
    assert_eq!(of("b", "report"), Some("no_answer"));
    assert_eq!(of("a", "report"), Some(""));
}

#[test]
fn a_link_that_its_near_end_does_not_know_is_told_by_its_far_end_or_a_link_probe() {
    let mut reports = Reports::complete();
    let rtt = key("socket_rtt", &[("peer", "b"), ("role", "connected")]);
    reports.per_poll.get_mut(&A).unwrap().retain(|(key, ..)| *key != rtt);
    let probed = key("link_handshake", &[("to", "b")]);
    reports.change(A, probed, 5, 24_000);
    (0..3).for_each(|_| reports.poll(&[A, B]));
    let ledger = reports.ledger(&prober());
    let link = entry(&ledger, "link:a>b");
    assert_eq!((link.mean, link.evidence), (Some(0.024), Some(Evidence::LinkProbe)));
    reports.change(B, key("socket_rtt", &[("peer", "a"), ("role", "accepted")]), 5, 22_000);
    (0..2).for_each(|_| reports.poll(&[A, B]));
    let ledger = reports.ledger(&prober());
    let link = entry(&ledger, "link:a>b");
    assert_eq!((link.mean, link.node.as_deref()), (Some(0.022), Some("b")));
}

#[test]
fn a_hops_cpus_stand_beside_its_time_and_those_of_a_silent_host_stay_unknown() {
    let mut reports = Reports::complete();
    let of = |kind: Option<&'static str>| {
        [("forwarder", "nginx")].into_iter().chain(kind.map(|kind| ("kind", kind))).collect::<Vec<_>>()
    };
    // In a thousandth of the time: the reports count event by event.
    reports.change(A, key("forwarder_observed", &of(None)), 1000, 0);
    reports.change(A, key("forwarder_cpu", &of(Some("busy"))), 970, 0);
    reports.change(A, key("forwarder_cpu", &of(Some("allowed"))), 1000, 0);
    reports.change(A, key("forwarder_throttled", &of(None)), 800, 0);
    (0..3).for_each(|_| reports.poll(&[A, B]));
    let ledger = reports.ledger(&prober());
    let host = entry(&ledger, "hop:a").host.unwrap();
    assert_eq!((host.busy_ratio, host.throttled_ratio, host.run_delay_ratio), (Some(0.97), Some(0.8), None));
    assert_eq!(entry(&ledger, "hop:b").host, None);
    assert_eq!(entry(&ledger, "link:a>b").host, None);
    // A host that is read more rarely keeps its figures, a node that is silent does not.
    reports.change(A, key("forwarder_observed", &of(None)), 0, 0);
    reports.poll(&[A, B]);
    assert!(entry(&reports.ledger(&prober()), "hop:a").host.is_some());
    (0..4).for_each(|_| reports.poll(&[B]));
    assert_eq!(entry(&reports.ledger(&prober()), "hop:a").host, None);
}
