//! What the programs in the kernel counted, as a scrape shows it.

use super::*;
use crate::model::kernel::{Durations, Entries, KernelSnapshot, ProgramCost};
use crate::model::series::kernel::Names;
use insight_common::histogram::{EXPORT_POWER, bucket_of};
use insight_common::kernel::floor::Floor;
use insight_common::kernel::layout::{Counter, DISTRIBUTIONS, Distribution, Group, Role};
use insight_common::kernel::loss::{Loss as KernelLoss, Measurement};
use insight_common::kernel::turn::{Direction, PairOutcome};

fn durations(values: &[u64]) -> Durations {
    let mut durations = Durations::default();
    for value in values {
        durations.count += 1;
        durations.sum_ns += value;
        durations.buckets[bucket_of(*value, EXPORT_POWER)] += 1;
    }
    durations
}

/// The peer group that is configured, and the forwarder's connections with it.
const SG: Group = Group { peer: 1, forwarder: 1 };

/// What they are called.
pub(super) fn names() -> Names {
    Names { peers: vec!["sg".to_owned()], forwarders: vec!["nginx".to_owned()] }
}

/// Every distribution and counter for one group, receive wait for others too.
pub(super) fn snapshot() -> KernelSnapshot {
    let mut snapshot = KernelSnapshot::default();
    for distribution in 0..DISTRIBUTIONS {
        snapshot.durations.insert((distribution, SG), durations(&[1_500, 3_000_000]));
    }
    for (group, values) in [(Group { peer: 0, ..SG }, &[1_500][..]), (Group::of_peer(1), &[1_500, 9])] {
        snapshot.durations.insert((Distribution::ReceiveWaitAccepted as u32, group), durations(values));
    }
    for (at, counter) in Counter::ALL.into_iter().enumerate() {
        snapshot.counts.insert((counter, SG), at as u64);
    }
    let floor = Floor { second: 9, any_ns: 1, clean_ns: 2_000_000, clean_count: 1 };
    snapshot.floors.push((Role::Connected, SG, vec![floor]));
    snapshot.floors.push((Role::Accepted, SG, vec![Floor { clean_count: 0, ..floor }]));
    let pairs = [((Direction::Up, PairOutcome::Paired), 7), ((Direction::Down, PairOutcome::SameRole), 0)];
    snapshot.pairs.insert(1, pairs.into());
    snapshot.seeded = vec![(Role::Connected, 4), (Role::Accepted, 0)];
    let sampled = [((Role::Accepted, 1), 5), ((Role::Connected, 0), 2)].into();
    snapshot.entries = Some(Entries { connected: 20, accepted: 11, listeners: 3, sampled });
    let (runs, time_ns, recursion_misses) = (1_000, 1_500_000, 2);
    snapshot.programs = vec![ProgramCost { program: "bytes_sent", runs, time_ns, recursion_misses }];
    snapshot.lost.insert((Measurement::Response, KernelLoss::Overlapped), 3);
    snapshot
}

fn shown() -> Exposition {
    let metrics = Metrics::new(&agent(), WINDOW, &[]);
    metrics.publish_kernel(snapshot(), &names());
    scrape(&metrics)
}

#[test]
fn a_histogram_has_the_kernels_count_and_sum_and_whole_buckets() {
    let rtt = shown()
        .histogram(
            "insight_socket_rtt_seconds",
            &[("forwarder", "nginx"), ("peer", "sg"), ("role", "connected")],
        )
        .unwrap();
    assert_eq!(rtt.count, 2.0);
    assert!((rtt.sum - 0.003_001_5).abs() < 1e-12, "{}", rtt.sum);
    let at = |bound: f64| rtt.buckets.iter().find(|b| (b.0 - bound).abs() < 1e-12).unwrap().1;
    assert_eq!((at(1.024e-6), at(2.048e-6)), (0.0, 1.0));
    assert_eq!((at(2.097_152e-3), at(4.194_304e-3)), (1.0, 2.0));
}

#[test]
fn receive_wait_is_told_apart_by_forwarder_and_role_only() {
    let shown = shown();
    let count = |forwarder| {
        let labels = [("forwarder", forwarder), ("role", "accepted")];
        shown.histogram("insight_socket_receive_wait_seconds", &labels).unwrap().count
    };
    assert_eq!(
        (count("nginx"), count("other")),
        (3.0, 2.0),
        "both peer groups of one, the only one of the other"
    );
}

#[test]
fn a_floor_without_clean_samples_is_absent() {
    let shown = shown();
    let floor = |role| {
        shown.value(
            "insight_socket_rtt_floor_seconds",
            &[("forwarder", "nginx"), ("peer", "sg"), ("role", role)],
        )
    };
    assert_eq!((floor("connected"), floor("accepted")), (Some(0.002), None));
}

#[test]
fn connections_from_before_the_programs_are_counted_by_role() {
    let shown = shown();
    let count = |role| shown.value("insight_sockets_seeded_total", &[("role", role)]);
    assert_eq!((count("connected"), count("accepted")), (Some(4.0), Some(0.0)));
}

#[test]
fn what_the_programs_keep_and_take_is_shown() {
    let shown = shown();
    let entries = |shown: &Exposition, table| shown.value("insight_bpf_table_entries", &[("table", table)]);
    assert_eq!((entries(&shown, "sockets"), entries(&shown, "sampled")), (Some(34.0), Some(7.0)));
    let of = |what: &str| {
        shown.value(&format!("insight_bpf_program_{what}_total"), &[("program", "bytes_sent")]).unwrap()
    };
    let near = |seconds: f64| (seconds - 0.0015).abs() < 1e-12;
    assert!(of("runs") == 1_000.0 && of("recursion_misses") == 2.0 && near(of("run_seconds")));
}

#[test]
fn a_forwarders_writes_are_told_apart_by_direction_and_outcome() {
    let shown = shown();
    let count = |direction, outcome| {
        shown.value(
            "insight_forward_pairs_total",
            &[("forwarder", "nginx"), ("direction", direction), ("outcome", outcome)],
        )
    };
    assert_eq!(count("up", "paired"), Some(7.0));
    assert_eq!(count("down", "same_role"), Some(0.0), "so that an increase shows");
    assert_eq!(count("up", "no_read"), None, "not in the snapshot");
}

#[test]
fn events_are_told_apart_by_peer_and_label_and_0_shows() {
    let shown = shown();
    let count = |direction| {
        shown.value(
            "insight_tcp_resets_total",
            &[("forwarder", "nginx"), ("peer", "sg"), ("direction", direction)],
        )
    };
    let of = |counter: Counter| Some(f64::from(counter as u32));
    assert_eq!(count("received"), of(Counter::ResetsReceived));
    assert_eq!(count("sent"), of(Counter::ResetsSent));
    assert_eq!(Counter::ALL[0] as u32, 0, "one of them is 0");
}

/// The families that a snapshot fills.
fn of_kernel() -> std::collections::BTreeSet<&'static str> {
    let rows = crate::model::series::kernel::SHOWN.iter().copied().flatten();
    rows.map(|shown| shown.series.name).collect()
}

#[test]
fn a_snapshot_whose_reader_has_died_is_no_longer_shown() {
    let shown_at_age = |seconds| {
        let metrics = Metrics::new(&agent(), WINDOW, &[]);
        let mut aged = snapshot();
        aged.taken = aged.taken.checked_sub(Duration::from_secs(seconds)).unwrap();
        metrics.publish_kernel(aged, &names());
        let families = scrape(&metrics).families;
        families.keys().filter(|name| of_kernel().contains(name.as_str())).count()
    };
    assert_eq!(shown_at_age(8), of_kernel().len(), "every family of the kernel half");
    assert_eq!(shown_at_age(11), 0);
}

#[test]
fn losses_of_the_kernel_half_add_up_once() {
    let metrics = Metrics::new(&agent(), WINDOW, &[]);
    for _ in 0..3 {
        metrics.publish_kernel(snapshot(), &Names::default());
    }
    let labels = [("measurement", "response"), ("loss", "overlapped")];
    assert_eq!(scrape(&metrics).value("insight_lost_total", &labels), Some(3.0));
}
