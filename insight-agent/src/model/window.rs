//! What one aggregation window held: the figures behind gauges and the status page.

use super::ledger::{Evidence, HopHost, LedgerKind, Population};
use super::plan::{Connection, Mode, ProbePlan};
use super::series::lost::Loss;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything that was aggregated over one complete window.
#[derive(Debug, Clone)]
pub struct Window {
    /// When it ended (this process's monotonic clock).
    pub ended: Instant,
    /// How long it was.
    pub length: Duration,
    /// One entry per pair of regions, ordered by source and target; every configured pair is
    /// here, also one without a single sample.
    pub paths: Vec<PathWindow>,
    /// One entry per probe and connection kind, in the order of the configuration.
    pub probes: Vec<ProbeWindow>,
}

impl Window {
    /// The same without what is of none of these plans, which are the very ones (the same `Arc`) that stay.
    /// A path whose latency may be that of others keeps its name and loses the figure.
    pub fn narrowed(&self, plans: &[Arc<ProbePlan>]) -> Self {
        let stay: HashSet<_> = plans.iter().map(Arc::as_ptr).collect();
        let stays = |probe: &&ProbeWindow| stay.contains(&Arc::as_ptr(&probe.plan));
        let names: HashSet<_> =
            self.probes.iter().filter(stays).map(|probe| probe.plan.name.as_str()).collect();
        let of_path = |plan: &ProbePlan, path: &PathWindow| {
            plan.mode != Mode::Link && plan.source == path.source && plan.target == path.target
        };
        let gone: Vec<_> = self.probes.iter().filter(|probe| !stays(probe)).collect();
        let paths = self.paths.iter().filter(|path| plans.iter().any(|plan| of_path(plan, path)));
        let paths = paths.map(|path| {
            let mixed = gone.iter().any(|probe| of_path(&probe.plan, path));
            let ledgers = path.ledgers.iter().filter(|ledger| names.contains(ledger.probe.as_str()));
            PathWindow {
                source: path.source.clone(),
                target: path.target.clone(),
                cross_region_latency: path.cross_region_latency.filter(|_| !mixed),
                ledgers: ledgers.cloned().collect(),
            }
        });
        let probes = self.probes.iter().filter(stays).cloned().collect();
        Self { ended: self.ended, length: self.length, paths: paths.collect(), probes }
    }
}

/// One pair of regions.
#[derive(Debug, Clone, PartialEq)]
pub struct PathWindow {
    /// Region that asks.
    pub source: String,
    /// Region that is asked.
    pub target: String,
    /// Median of the small-payload successes on reused connections (white-box if there were
    /// any). **None**: there was none, or source and target are the same region.
    pub cross_region_latency: Option<Duration>,
    /// One per white-box probe on a reused connection with a small payload; behind it a second one
    /// of the same probe where agents stand on its hops.
    pub ledgers: Vec<LedgerWindow>,
}

/// One ledger of one probe, as means over the window.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerWindow {
    /// Of the probe's own requests, or of what the nodes measured.
    pub kind: LedgerKind,
    /// The probe.
    pub probe: String,
    /// How many requests of the probe the end to end is of; in the ledger of its own requests,
    /// those of the most frequent shape.
    pub count: u64,
    /// Ledgers left out because other hops spoke in them: their entries would not add up with these.
    pub other_shape: u64,
    /// Mean of end to end, in seconds. **None** when `count` is 0.
    pub end_to_end: Option<f64>,
    /// In path order; configured hops are always here, with `None` where nothing was known.
    pub segments: Vec<SegmentWindow>,
    /// Mean unexplained rest, in seconds, may be negative. **None** when `count` is 0.
    pub unexplained: Option<f64>,
    /// Mean residual, in seconds, over the ledgers that have one. **None** of what nodes measured:
    /// nothing is telescoped there.
    pub residual: Option<f64>,
    /// Why evidence that was there has not been used, once for each piece of it.
    pub refused: Vec<Loss>,
}

/// Mean of one entry.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentWindow {
    /// `link:A>B`, `hop:NAME`, `service`, `transfer`.
    pub name: String,
    /// Mean in seconds over the ledgers that have it; of a link that the kernel or a link probe
    /// measured, the smallest clean round trip of the window. **None**: no evidence.
    pub mean: Option<f64>,
    /// Mean of the bounds that the sources' resolution sets on one figure, in seconds.
    pub bound: Option<f64>,
    /// What the figures rest on; the most frequent kind if there were several.
    pub evidence: Option<Evidence>,
    /// Whose requests it is of. **None** exactly when `evidence` is.
    pub population: Option<Population>,
    /// The node whose agent reported it. **None**: none did, the prober found it out.
    pub node: Option<String>,
    /// How much older than the window's end the newest evidence is; for an entry without a figure,
    /// how long ago the node beside it was last heard of. **None**: never.
    pub age: Option<Duration>,
    /// Number of figures that it is of: requests, reads or round trips.
    pub count: u64,
    /// Silent hops that the entry covers too.
    pub merged: Vec<String>,
    /// Number of figures that were negative beyond their bound.
    pub inconsistent: u64,
    /// The CPUs of a hop's forwarders, in the ledger of what the nodes measured. **None**: no hop,
    /// or its agent does not tell.
    pub host: Option<HopHost>,
}

/// One probe on one kind of connection.
#[derive(Debug, Clone)]
pub struct ProbeWindow {
    /// The probe.
    pub plan: Arc<ProbePlan>,
    /// The connection kind.
    pub connection: Connection,
    /// Samples that ended in the window; voided ones are not among them.
    pub ended: u64,
    /// Those with a good answer.
    pub good: u64,
    /// Mean of each phase, in seconds, in the order of `Phases::NAMES`, over good samples.
    pub phases: [Option<f64>; 7],
    /// Medians of the rulers, in seconds, in the order of `series::probe::RULERS`.
    pub rulers: [Option<f64>; 4],
    /// Minima of the rulers, in seconds, in the same order.
    pub floors: [Option<f64>; 4],
    /// What the service said of itself, over good samples.
    pub service: ServiceWindow,
}

/// Means of what a service said of itself. **None**: no answer said it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceWindow {
    /// In seconds, in the order of `series::service::TIMES`.
    pub times: [Option<f64>; 2],
    /// In the order of `ServiceLoad::RATIOS`.
    pub ratios: [Option<f64>; 3],
    /// Per second, in the order of `ServiceLoad::RATES`.
    pub rates: [Option<f64>; 2],
    /// The metrics that configuration lists, as far as they came, by name.
    pub named: Vec<(String, f64)>,
}

impl ProbeWindow {
    /// Share of good answers, 0 to 1. **None** when no sample ended.
    pub fn success_ratio(&self) -> Option<f64> {
        (self.ended > 0).then(|| self.good as f64 / self.ended as f64)
    }
}
