//! What the host's readers gave, as a scrape shows it.

use super::*;
use crate::model::host::*;
use crate::model::series::Series;
use crate::model::series::host::{conntrack, memory, netstat, sockstat};

/// Every figure that the table has a row for.
pub(super) fn snapshot() -> HostSnapshot {
    HostSnapshot {
        taken: Instant::now(),
        period: Duration::from_secs(5),
        cpus: Some([(3, CpuTimes::from_ticks([110, 20, 30, 40, 50, 60, 70, 80, 90, 10]))].into()),
        node: Some(node()),
        forwarders: vec![forwarder()],
        unparsed: 2,
        capped: 0,
    }
}

fn figures(rows: &[Series], prefix: &str) -> Option<Figures> {
    let named = rows.iter().zip(1..);
    Some(named.map(|(row, value)| (row.name[prefix.len()..].to_owned(), f64::from(value))).collect())
}

fn node() -> NodeSnapshot {
    let second = Some(Duration::from_millis(1500));
    let device = DeviceTotals {
        receive: [1, 2, 3, 4, 5, 6, 7, 8],
        transmit: [11, 12, 13, 14, 15, 16, 17, 18],
        receive_nohandler: Some(21),
    };
    NodeSnapshot {
        system: Some(SystemTotals { context_switches: 1 << 40, ..SystemTotals::default() }),
        load: Some(Load { one: 0.29, five: 1.5, fifteen: 2.0 }),
        pressure: Pressure {
            cpu_some: second,
            io_some: second,
            io_full: second,
            memory_some: second,
            memory_full: second,
        },
        memory: figures(memory::SERIES, memory::PREFIX),
        devices: Some([("eth0".to_owned(), device)].into()),
        softnet: Some([(3, SoftnetTotals { processed: 1, dropped: 2, times_squeezed: 3 })].into()),
        netstat: figures(netstat::SERIES, netstat::PREFIX),
        sockstat: figures(sockstat::SERIES, sockstat::PREFIX),
        conntrack: figures(conntrack::SERIES, conntrack::PREFIX),
        uname: Some(Uname { nodename: "node \"1\"".to_owned(), ..Uname::default() }),
    }
}

fn forwarder() -> ForwarderSnapshot {
    let thread = ThreadSnapshot {
        pid: 7,
        tid: 8,
        started: 9,
        name: "worker".to_owned(),
        state: ThreadState::Uninterruptible,
        user: Duration::ZERO,
        system: Duration::ZERO,
        run_delay: None,
        voluntary_switches: None,
        involuntary_switches: None,
        allowed_cpus: None,
    };
    ForwarderSnapshot {
        name: "edge".to_owned(),
        pids: vec![7],
        threads: vec![thread],
        totals: Some(ForwarderTotals {
            user: Duration::from_millis(10),
            system: Duration::from_millis(20),
            voluntary_switches: 30,
            involuntary_switches: 40,
            run_delay: Some(Duration::from_millis(50)),
        }),
        allowed_cpus: Some([1, 3].into()),
        allowed_busy: Some(0.75),
        cgroup: Some(CgroupCpu {
            periods: 60,
            throttled_periods: 6,
            throttled: Duration::from_micros(250),
            quota_cores: Some(0.5),
            period: Some(Duration::from_millis(100)),
        }),
    }
}

fn shown(snapshot: HostSnapshot) -> Exposition {
    let metrics = Metrics::new(&agent(), WINDOW, &[]);
    metrics.publish_host(Arc::new(snapshot));
    scrape(&metrics)
}

#[test]
fn cpu_times_are_seconds_by_number_and_mode_with_guests_in_user_time() {
    let shown = shown(snapshot());
    let of = |family: &str, mode| shown.value(family, &[("cpu", "3"), ("mode", mode)]);
    assert_eq!(of("node_cpu_seconds_total", "user"), Some(1.1));
    assert_eq!(of("node_cpu_seconds_total", "steal"), Some(0.8));
    assert_eq!(of("node_cpu_guest_seconds_total", "user"), Some(0.9));
    assert_eq!(of("node_cpu_guest_seconds_total", "nice"), Some(0.1));
}

#[test]
fn what_the_kernel_does_not_tell_is_absent() {
    let mut snapshot = snapshot();
    snapshot.cpus = None;
    snapshot.forwarders[0].allowed_busy = None;
    snapshot.forwarders[0].cgroup = None;
    if let Some(node) = &mut snapshot.node {
        node.pressure.io_full = None;
        node.memory.as_mut().unwrap().remove("MemFree_bytes");
    }
    let shown = shown(snapshot);
    for absent in [
        "node_cpu_seconds_total",
        "node_pressure_io_stalled_seconds_total",
        "node_memory_MemFree_bytes",
        "insight_forwarder_allowed_cpus_busy_ratio",
        "insight_cgroup_cpu_periods_total",
    ] {
        assert!(!shown.families.contains_key(absent), "{absent}");
    }
    assert_eq!(shown.value("node_pressure_io_waiting_seconds_total", &[]), Some(1.5));
    assert_eq!(shown.value("insight_forwarder_allowed_cpus", &[("forwarder", "edge")]), Some(2.0));
}

#[test]
fn threads_are_counted_by_state_and_no_thread_is_a_figure() {
    let shown = shown(snapshot());
    let threads =
        |state| shown.value("insight_forwarder_threads", &[("forwarder", "edge"), ("state", state)]);
    assert_eq!((threads("uninterruptible"), threads("running")), (Some(1.0), Some(0.0)));
}

#[test]
fn without_node_metrics_no_family_of_node_exporter_is_shown() {
    let shown = shown(HostSnapshot { node: None, ..snapshot() });
    assert!(!shown.families.keys().any(|name| name.starts_with("node_")));
    assert!(shown.families.contains_key("insight_forwarder_processes"));
}

#[test]
fn a_snapshot_of_more_than_three_periods_ago_is_not_shown() {
    let aged = |periods: u32| {
        let now = Instant::now();
        let period = Duration::from_secs(60);
        // A machine that was booted just now has no instant that long ago.
        let taken = now.checked_sub(period * periods + period / 2)?;
        Some(shown(HostSnapshot { taken, period, ..snapshot() }))
    };
    for (periods, is_shown) in [(2, true), (3, false)] {
        let Some(shown) = aged(periods) else { continue };
        for family in ["node_load1", "node_time_seconds", "insight_forwarder_processes"] {
            assert_eq!(shown.families.contains_key(family), is_shown, "{family} after {periods}.5 periods");
        }
    }
}

#[test]
fn losses_are_added_up_over_snapshots_and_readers() {
    let metrics = Metrics::new(&agent(), WINDOW, &[]);
    for unparsed in [2, 2, 5, 1] {
        metrics.publish_host(Arc::new(HostSnapshot { unparsed, ..snapshot() }));
    }
    let labels = [("measurement", "host"), ("loss", "unparsed")];
    assert_eq!(scrape(&metrics).value("insight_lost_total", &labels), Some(6.0));
}

#[test]
fn netstat_is_untyped_as_in_node_exporter() {
    let shown = shown(snapshot());
    let family = &shown.families["node_netstat_Tcp_CurrEstab"];
    assert_eq!(family.kind, exposition::Type::Untyped);
    assert_eq!(shown.families["node_memory_MemFree_bytes"].kind, exposition::Type::Gauge);
}
