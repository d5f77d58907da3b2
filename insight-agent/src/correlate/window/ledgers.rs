//! Means of one probe's ledgers over a window.

use crate::correlate::ledger::probe_ledger;
use crate::correlate::window_ledger::{Mean, ProberMeans};
use crate::model::figure::Figure;
use crate::model::hop::HopEvidence;
use crate::model::ledger::{
    Evidence, LedgerKind, PathLedger, Population, SERVICE, Segment, TRANSFER, hop_name, link_name,
};
use crate::model::plan::ProbePlan;
use crate::model::sample::ProbeSample;
use crate::model::window::{LedgerWindow, SegmentWindow};
use std::collections::BTreeMap;
use std::time::Duration;

/// Sums of one probe's ledgers, apart by shape.
///
/// Ledgers in which different hops spoke have different entries; means over a mixture of them would
/// not add up to their end to end. So a window shows the most frequent shape, and says how many
/// ledgers had another one.
#[derive(Debug)]
pub(super) struct LedgerSums {
    /// Names along the route: origin, hops, service.
    nodes: Vec<String>,
    /// The entries that the configured route has when every hop speaks.
    configured: Vec<String>,
    shapes: BTreeMap<Shape, ShapeSums>,
}

/// Which entries a ledger knows: each one's name and the silent hops that it covers.
type Shape = Vec<(String, Vec<String>)>;

#[derive(Debug, Default)]
struct ShapeSums {
    count: u64,
    end_to_end_ns: i128,
    unexplained_ns: i128,
    residual: (i128, u64),
    segments: BTreeMap<String, SegmentSums>,
}

#[derive(Debug, Default)]
struct SegmentSums {
    sum_ns: i128,
    bound_ns: u128,
    count: u64,
    inconsistent: u64,
    merged: Vec<String>,
    evidence: BTreeMap<Evidence, u64>,
}

impl LedgerSums {
    /// No ledger yet; the entries of the configured route are there, without a figure.
    pub(super) fn new(plan: &ProbePlan) -> Self {
        let route = &plan.route;
        let nodes: Vec<String> = [route.origin.as_str()]
            .into_iter()
            .chain(route.hops.iter().map(String::as_str))
            .chain([SERVICE])
            .map(str::to_owned)
            .collect();
        let configured = nodes
            .windows(2)
            .map(|pair| link_name(&pair[0], &pair[1]))
            .chain(route.hops.iter().map(|hop| hop_name(hop)))
            .chain([SERVICE.to_owned(), TRANSFER.to_owned()])
            .collect();
        Self { nodes, configured, shapes: BTreeMap::new() }
    }

    /// Adds one sample's ledger. Returns the number of hops that are not on the route.
    pub(super) fn add(&mut self, sample: &ProbeSample, first_link: Option<Duration>) -> u32 {
        let first_link = first_link.map(Figure::from_duration);
        let mut unknown = 0;
        let ledger = if sample.plan.route.hops.is_empty() && !sample.hops.hops.is_empty() {
            // A direct target has no hops by configuration; one that speaks all the same is
            // counted, and its name goes nowhere.
            unknown = u32::try_from(sample.hops.hops.len()).unwrap_or(u32::MAX);
            let direct = ProbeSample { hops: HopEvidence::default(), ..sample.clone() };
            probe_ledger(&direct, first_link)
        } else {
            probe_ledger(sample, first_link)
        };
        let Some(found) = ledger else { return unknown };
        let known = found.ledger.segments.iter().filter(|segment| segment.figure.is_some());
        let shape = known.map(|segment| (segment.name.clone(), segment.merged.clone())).collect();
        self.shapes.entry(shape).or_default().add(found.ledger);
        unknown + found.unknown_hops
    }

    /// What the prober knows by itself, over all ledgers: different shapes are not mixed here, since
    /// each entry stands alone.
    pub(super) fn prober(&self) -> ProberMeans {
        let mut all = ShapeSums::default();
        for sums in self.shapes.values() {
            all.count += sums.count;
            all.end_to_end_ns += sums.end_to_end_ns;
            for (name, segment) in &sums.segments {
                all.segments.entry(name.clone()).or_default().merge(segment);
            }
        }
        let mut prober = ProberMeans { count: all.count, ..ProberMeans::default() };
        prober.end_to_end = (all.count > 0).then(|| all.end_to_end_ns as f64 / all.count as f64 / 1e9);
        for (name, sums) in all.segments {
            let (Some(mean), Some(evidence)) = (sums.mean(), sums.most_frequent()) else { continue };
            match evidence {
                Evidence::HopHeader => drop(prober.hops.insert(name, mean)),
                Evidence::Handshake => prober.first_link = Some(mean),
                Evidence::Receiver => prober.service = Some(mean),
                Evidence::Prober => prober.transfer = Some(mean),
                Evidence::HeaderDifference if !sums.merged.is_empty() => {
                    prober.merged.insert(name, (sums.merged, mean));
                }
                _ => {}
            }
        }
        prober
    }

    /// The means.
    pub(super) fn finish(mut self, probe: &str) -> LedgerWindow {
        let all: u64 = self.shapes.values().map(|sums| sums.count).sum();
        // Of two shapes that are as frequent, the one that knows more.
        let most = self.shapes.iter().max_by_key(|(shape, sums)| (sums.count, shape.len()));
        let shape = most.map(|(shape, _)| shape.clone());
        let mut sums = shape.and_then(|shape| self.shapes.remove(&shape)).unwrap_or_default();
        for name in &self.configured {
            sums.segments.entry(name.clone()).or_default();
        }
        let mut segments: Vec<(String, SegmentSums)> =
            std::mem::take(&mut sums.segments).into_iter().collect();
        segments.sort_by_cached_key(|(name, _)| self.place(name));
        let mean = |sum: i128, count: u64| (count > 0).then(|| sum as f64 / count as f64 / 1e9);
        LedgerWindow {
            kind: LedgerKind::Probe,
            probe: probe.to_owned(),
            count: sums.count,
            other_shape: all - sums.count,
            end_to_end: mean(sums.end_to_end_ns, sums.count),
            segments: segments.into_iter().map(|(name, sums)| sums.finish(name)).collect(),
            unexplained: mean(sums.unexplained_ns, sums.count),
            residual: mean(sums.residual.0, sums.residual.1),
            refused: Vec::new(),
        }
    }

    /// Where a segment stands on the path: a hop before the links that leave it, a short link
    /// before a longer one that merges what follows.
    fn place(&self, name: &str) -> (usize, usize) {
        let index = |node: &str| self.nodes.iter().position(|n| n == node).unwrap_or(self.nodes.len());
        if let Some(hop) = name.strip_prefix("hop:") {
            (2 * index(hop), 0)
        } else if let Some((from, to)) = name.strip_prefix("link:").and_then(|link| link.split_once('>')) {
            (2 * index(from) + 1, index(to))
        } else if name == SERVICE {
            (2 * self.nodes.len(), 0)
        } else {
            (2 * self.nodes.len() + 1, 0)
        }
    }
}

impl ShapeSums {
    fn add(&mut self, ledger: PathLedger) {
        self.count += 1;
        self.end_to_end_ns += i128::from(ledger.end_to_end.ns);
        self.unexplained_ns += i128::from(ledger.unexplained.ns);
        if let Some(residual) = ledger.residual {
            self.residual.0 += i128::from(residual.ns);
            self.residual.1 += 1;
        }
        for segment in ledger.segments {
            self.segments.entry(segment.name.clone()).or_default().add(segment);
        }
    }
}

impl SegmentSums {
    fn add(&mut self, segment: Segment) {
        self.inconsistent += u64::from(segment.inconsistent);
        if let (Some(figure), Some(evidence)) = (segment.figure, segment.evidence) {
            self.merged = segment.merged;
            self.count += 1;
            self.sum_ns += i128::from(figure.ns);
            self.bound_ns += u128::from(figure.below_ns.max(figure.above_ns));
            *self.evidence.entry(evidence).or_default() += 1;
        }
    }

    /// Adds the same segment's sums of another shape.
    fn merge(&mut self, other: &Self) {
        self.sum_ns += other.sum_ns;
        self.bound_ns += other.bound_ns;
        self.count += other.count;
        self.inconsistent += other.inconsistent;
        self.merged.clone_from(&other.merged);
        for (kind, count) in &other.evidence {
            *self.evidence.entry(*kind).or_default() += count;
        }
    }

    /// **None**: no ledger has it.
    fn mean(&self) -> Option<Mean> {
        let mean = |sum: f64| sum / self.count as f64 / 1e9;
        (self.count > 0).then(|| Mean {
            seconds: mean(self.sum_ns as f64),
            bound: mean(self.bound_ns as f64),
            count: self.count,
        })
    }

    fn most_frequent(&self) -> Option<Evidence> {
        self.evidence.iter().max_by_key(|(_, count)| **count).map(|(kind, _)| *kind)
    }

    fn finish(self, name: String) -> SegmentWindow {
        let mean = self.mean();
        SegmentWindow {
            name,
            mean: mean.map(|mean| mean.seconds),
            bound: mean.map(|mean| mean.bound),
            evidence: self.most_frequent(),
            population: mean.map(|_| Population::Probe),
            node: None,
            age: mean.map(|_| Duration::ZERO),
            count: self.count,
            merged: self.merged,
            inconsistent: self.inconsistent,
            host: None,
        }
    }
}
