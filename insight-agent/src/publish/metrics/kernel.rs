//! Series of the sockets: what have the programs in the kernel counted?
//!
//! The kernel counts, the snapshot is cumulative, and a scrape shows the last one as it is: no
//! histogram of ours stands between, so that count and sum stay exact. One that has become old is
//! not shown: a reader that died must not go on showing figures.

use super::families::{CounterRow, GaugeRow, HistogramFamily, HistogramRow};
use crate::model::kernel::{Durations, KernelSnapshot};
use crate::model::series::kernel::OTHER;
use crate::model::series::{receive_wait, residence, response, socket_rtt, sockets, turnaround};
use insight_common::histogram::{EXPORT_POWER, bucket_of};
use insight_common::kernel::layout::{Distribution, Role};
use insight_common::kernel::loss::{Loss, Measurement};
use insight_common::kernel::turn::Direction;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const SEEDED: CounterRow<1> = CounterRow::of(&sockets::SEEDED);
const RTT: HistogramRow<2> = HistogramRow::of(&socket_rtt::SOCKET_RTT);
const RTT_FLOOR: GaugeRow<2> = GaugeRow::of(&socket_rtt::SOCKET_RTT_FLOOR);
const RECEIVE_WAIT: HistogramRow<1> = HistogramRow::of(&receive_wait::RECEIVE_WAIT);
const TURNAROUND: HistogramRow<1> = HistogramRow::of(&turnaround::TURNAROUND);
const RESPONSE: HistogramRow<1> = HistogramRow::of(&response::RESPONSE);
const RESIDENCE: HistogramRow<2> = HistogramRow::of(&residence::RESIDENCE);
const PAIRS: CounterRow<2> = CounterRow::of(&residence::PAIRS);

/// How long a snapshot is shown. The maps are read twice a second: twenty readings have failed.
const SHOWN_FOR: Duration = Duration::from_secs(10);

/// The last snapshot.
#[derive(Default)]
pub(super) struct Sockets {
    shown: Mutex<Option<Arc<Shown>>>,
}

/// A snapshot and the names of its peer groups.
struct Shown {
    snapshot: KernelSnapshot,
    /// From group 1 on; group 0 is everybody else.
    peers: Vec<String>,
}

impl Sockets {
    /// Shows `snapshot` in place of the last one. Gives what was lost in between.
    pub(super) fn show(&self, snapshot: KernelSnapshot, peers: &[String]) -> Vec<(Measurement, Loss, u64)> {
        let next = Arc::new(Shown { snapshot, peers: peers.to_vec() });
        let last = {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.replace(Arc::clone(&next))
        };
        let before =
            |measurement, loss| last.as_ref().map_or(0, |last| last.snapshot.lost(measurement, loss));
        let lost = next.snapshot.lost.iter().map(|(&(measurement, loss), &count)| {
            (measurement, loss, count.saturating_sub(before(measurement, loss)))
        });
        lost.filter(|(.., more)| *more > 0).collect()
    }

    fn families(&self) -> Vec<MetricFamily> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = Instant::now();
        let fresh = shown.filter(|shown| shown.snapshot.age(now) <= SHOWN_FOR);
        fresh.map_or_else(Vec::new, |shown| shown.families())
    }
}

impl Shown {
    fn peer(&self, group: u8) -> &str {
        (group as usize).checked_sub(1).and_then(|at| self.peers.get(at)).map_or(OTHER, String::as_str)
    }

    fn families(&self) -> Vec<MetricFamily> {
        let (mut rtt, mut wait) = (RTT.family(), RECEIVE_WAIT.family());
        let (mut turnaround, mut response) = (TURNAROUND.family(), RESPONSE.family());
        let mut residence = RESIDENCE.family();
        for (&(distribution, group), durations) in &self.snapshot.durations {
            let peer = self.peer(group);
            let is = |wanted: Distribution| distribution == wanted as u32;
            if is(Distribution::RttConnected) {
                put(&mut rtt, [peer, Role::Connected.name()], durations);
            } else if is(Distribution::RttAccepted) {
                put(&mut rtt, [peer, Role::Accepted.name()], durations);
            } else if is(Distribution::Turnaround) {
                put(&mut turnaround, [peer], durations);
            } else if is(Distribution::Response) {
                put(&mut response, [peer], durations);
            } else if is(Distribution::ResidenceUp) {
                put(&mut residence, [Direction::Up.name(), peer], durations);
            } else if is(Distribution::ResidenceDown) {
                put(&mut residence, [Direction::Down.name(), peer], durations);
            }
        }
        let waits = [Distribution::ReceiveWaitConnected, Distribution::ReceiveWaitAccepted];
        for (role, distribution) in Role::ALL.into_iter().zip(waits) {
            let durations = self.snapshot.all_peers(distribution);
            if durations.count > 0 {
                put(&mut wait, [role.name()], &durations);
            }
        }
        let mut pairs = PAIRS.family();
        for (&(direction, outcome), &count) in &self.snapshot.pairs {
            pairs.put([direction.name(), outcome.name()], count);
        }
        let mut seeded = SEEDED.family();
        for &(role, count) in &self.snapshot.seeded {
            seeded.put([role.name()], count);
        }
        let mut floor = RTT_FLOOR.family();
        for (role, group, _) in &self.snapshot.floors {
            let ns = self.snapshot.clean_floor_ns(*role, *group);
            floor.put([self.peer(*group), role.name()], ns.map(|ns| ns as f64 / 1e9));
        }
        vec![
            seeded.into_proto(),
            rtt.into_proto(),
            floor.into_proto(),
            wait.into_proto(),
            turnaround.into_proto(),
            response.into_proto(),
            residence.into_proto(),
            pairs.into_proto(),
        ]
    }
}

fn put<const N: usize>(family: &mut HistogramFamily<N>, labels: [&str; N], durations: &Durations) {
    // Summed up once, not for each of the bounds anew.
    let rising: Vec<u64> = durations
        .buckets
        .iter()
        .scan(0, |sum, bucket| {
            *sum += bucket;
            Some(*sum)
        })
        .collect();
    // The buckets' own sum, so that the last bucket and the count agree while programs count on.
    let count = rising.last().copied().unwrap_or(0);
    // Every bound is an edge of the kernel's buckets: none is cut.
    let below = |bound: f64| -> u64 {
        let edge = bucket_of((bound * 1e9).round() as u64, EXPORT_POWER).min(rising.len());
        edge.checked_sub(1).map_or(0, |last| rising[last])
    };
    family.put(labels, below, count, durations.sum_ns as f64 / 1e9);
}

/// The registry's handle on [`Sockets`].
pub(super) struct KernelCollector {
    sockets: Arc<Sockets>,
    descs: Vec<Desc>,
}

impl KernelCollector {
    pub(super) fn new(sockets: Arc<Sockets>) -> Self {
        let descs = vec![
            SEEDED.desc(),
            RTT.desc(),
            RTT_FLOOR.desc(),
            RECEIVE_WAIT.desc(),
            TURNAROUND.desc(),
            RESPONSE.desc(),
            RESIDENCE.desc(),
            PAIRS.desc(),
        ];
        Self { sockets, descs }
    }
}

impl Collector for KernelCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.sockets.families()
    }
}
