//! What a node says of itself, out of invented figures.

use super::*;
use crate::model::kernel::Durations;
use crate::publish::metrics::AgentLabels;
use insight_common::kernel::floor::Floor;
use insight_common::kernel::layout::{Counter, Distribution as Kind, Group, Groups, Role};
use insight_common::kernel::loss::{Loss as KernelLoss, Measurement};
use std::time::Duration;

const CONFIG: &str = "[agent]\nregion = \"eu\"\nname = \"mediary-a\"\n[kernel]\nenabled = true\n\
    [[forwarder]]\nname = \"nginx\"\nprocess = \"nginx\"\n\
    [[kernel.peer]]\nname = \"mediary-b\"\nnetworks = [\"10.0.0.0/8\"]\n";

fn own(text: &str) -> OwnReport {
    let config = Config::parse(text, "insight.toml").unwrap().config;
    let labels = AgentLabels { name: "mediary-a".into(), region: "eu".into(), version: "0.0.0".into() };
    let metrics = Arc::new(Metrics::new(&labels, Duration::from_secs(1), &[]));
    let host = Arc::new(HostView::new(&config));
    OwnReport::new(&config, AgentClock::start(), metrics, States::default(), host).unwrap()
}

/// Connections of the configured forwarder with the configured peer group.
const NGINX: Group = Group { peer: 1, forwarder: 1 };

fn durations(count: u64) -> Durations {
    let mut durations = Durations { count, sum_ns: count * 1000, ..Durations::default() };
    durations.buckets[72] = count;
    durations
}

#[test]
fn every_figure_of_the_kernel_half_is_a_series_with_its_labels_sorted() {
    let own = own(CONFIG);
    let mut snapshot = KernelSnapshot::default();
    for kind in 0..insight_common::kernel::layout::DISTRIBUTIONS {
        snapshot.durations.insert((kind, Group::of_peer(0)), durations(5));
        snapshot.durations.insert((kind, NGINX), durations(7 + u64::from(kind)));
    }
    for counter in Counter::ALL {
        snapshot.counts.insert((counter, Group::of_peer(0)), 1);
        snapshot.counts.insert((counter, NGINX), 2);
        snapshot.counts.insert((counter, Group { peer: 0, ..NGINX }), 0);
    }
    own.metrics.lost("turnaround", KernelLoss::Overlapped.into(), 3);
    own.keep(Instant::now(), snapshot, Floors::default());
    let (report, _) = own.make();
    let names: Vec<_> = report
        .series
        .iter()
        .map(|(key, series)| {
            let labels: Vec<_> = key.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}{{{}}} {}", key.measurement, labels.join(","), series.count)
        })
        .collect();
    let expected = [
        "lost{loss=overlapped,measurement=turnaround} 3",
        "receive_wait{forwarder=nginx,peer=mediary-b,role=accepted} 10",
        "receive_wait{forwarder=nginx,peer=mediary-b,role=connected} 9",
        "receive_wait{forwarder=other,peer=other,role=accepted} 5",
        "receive_wait{forwarder=other,peer=other,role=connected} 5",
        "residence{direction=down,forwarder=nginx,peer=mediary-b} 14",
        "residence{direction=down,forwarder=other,peer=other} 5",
        "residence{direction=up,forwarder=nginx,peer=mediary-b} 13",
        "residence{direction=up,forwarder=other,peer=other} 5",
        "response{forwarder=nginx,peer=mediary-b} 12",
        "response{forwarder=other,peer=other} 5",
        "socket_rtt{forwarder=nginx,peer=mediary-b,role=accepted} 8",
        "socket_rtt{forwarder=nginx,peer=mediary-b,role=connected} 7",
        "socket_rtt{forwarder=other,peer=other,role=accepted} 5",
        "socket_rtt{forwarder=other,peer=other,role=connected} 5",
        "tcp_resets{direction=received,forwarder=nginx,peer=mediary-b} 2",
        "tcp_resets{direction=sent,forwarder=other,peer=other} 1",
        "turnaround{forwarder=nginx,peer=mediary-b} 11",
        "turnaround{forwarder=other,peer=other} 5",
    ];
    for line in expected {
        assert!(names.iter().any(|name| name == line), "{line} is not in {names:#?}");
    }
    let groups = Kind::ALL.map(Kind::groups).into_iter().chain(Counter::ALL.map(Counter::groups));
    let series: usize =
        groups.map(|groups| if [Groups::Peers, Groups::Forwarders].contains(&groups) { 2 } else { 1 }).sum();
    assert_eq!(names.len(), series + 1, "each for both groups, or once; and the loss: {names:#?}");
    let rtt = &report.series
        [&key("socket_rtt", &[("role", "connected"), ("peer", "mediary-b"), ("forwarder", "nginx")])];
    assert_eq!((rtt.sum_ns, rtt.buckets.clone()), (7000, BTreeMap::from([(72, 7)])));
    let written = crate::proto::report::write_report(&report);
    assert_eq!(crate::proto::report::read_report(written), Ok(report), "other agents can read it");
}

#[test]
fn minima_are_of_clean_samples_and_of_the_last_two_minutes() {
    let own = own(CONFIG);
    let clock = own.clock();
    // The kernel's second of an uptime: the first one that is a second of it.
    let base = (0..).find(|second| clock.second_of(*second) == Some(0)).unwrap();
    let mut floors = Floors::default();
    let mut snapshot = KernelSnapshot::default();
    snapshot.durations.insert((Kind::RttConnected as u32, NGINX), durations(9));
    let floor = |second: u64, clean_ns, clean_count| Floor {
        second: base + second,
        any_ns: 1,
        clean_ns,
        clean_count,
    };
    let read = |floors: &mut Floors, snapshot: &mut KernelSnapshot, seconds: Vec<Floor>| {
        snapshot.floors = vec![(Role::Connected, NGINX, seconds)];
        floors.gather(snapshot, clock);
    };
    read(&mut floors, &mut snapshot, vec![floor(3, 900, 1), floor(4, u64::MAX, 0)]);
    // The same second again, in which a smaller one came; and one long after.
    read(&mut floors, &mut snapshot, vec![floor(3, 700, 2), floor(5, 800, 1)]);
    let rtt = key("socket_rtt", &[("peer", "mediary-b"), ("role", "connected"), ("forwarder", "nginx")]);
    let at = |seconds| Instant::now() + Duration::from_secs(seconds);
    own.keep(at(10), snapshot.clone(), floors.clone());
    assert_eq!(own.make().0.series[&rtt].floors, BTreeMap::from([(3, 700), (5, 800)]));
    own.keep(at(124), snapshot, floors);
    assert_eq!(own.make().0.series[&rtt].floors.len(), 1, "second 3 is more than two minutes ago");
}

#[test]
fn all_figures_are_of_the_reading_and_so_is_the_uptime() {
    let own = own(CONFIG);
    let at = Instant::now();
    let mut snapshot = KernelSnapshot::default();
    snapshot.lost.insert((Measurement::SocketRtt, KernelLoss::MapFull), 1);
    own.keep(at, snapshot, Floors::default());
    own.metrics.lost("probe", crate::model::series::lost::Loss::Dropped, 1);
    let (report, made) = own.make();
    assert_eq!((made, report.uptime), (at, own.clock().uptime_at(at)));
    assert!(report.series.is_empty(), "what came after the reading is in the next one");
    // Without a reader of the kernel's maps there is nothing to wait for.
    own.forget_kernel();
    let (report, made) = own.make();
    assert!(
        made > at
            && report.series.contains_key(&key("lost", &[("measurement", "probe"), ("loss", "dropped")]))
    );
}

#[test]
fn epochs_differ_and_measurements_that_are_off_say_so() {
    let (one, two) =
        (own(CONFIG), own("[agent]\nregion = \"eu\"\nname = \"mediary-a\"\n[kernel]\nenabled = false\n"));
    assert_ne!(one.make().0.epoch, two.make().0.epoch);
    assert!(one.make().0.measurements.is_empty(), "nothing is known before the programs are loaded");
    let off = two.make().0.measurements;
    assert_eq!(off.len(), spec::ALL.len() + 1, "and the seeding");
    assert!(off.iter().all(|m| m.state == MeasurementState::Disabled && m.reason == "off"), "{off:?}");
}
