//! The links' round trips: one prepared histogram per link probe and ruler.

use super::families::{Histogram, HistogramRow, Histograms};
use super::registry::Registry;
use crate::model::plan::{LinkEnds, ProbePlan};
use crate::model::sample::{Outcome, ProbeSample};
use crate::model::series::link::{LINK_RULERS, RTT};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

const RTT_ROW: HistogramRow<3> = HistogramRow::of(&RTT);

/// The family and its prepared handles.
pub(super) struct Links {
    family: Histograms<3>,
    /// In the order of [`LINK_RULERS`]; a probe without PINGs has no histogram of them.
    prepared: RwLock<HashMap<LinkEnds, [Option<Histogram>; 2]>>,
}

impl Links {
    /// Registers the family and prepares the histograms of every planned link probe.
    pub(super) fn register(registry: &Registry, plans: &[Arc<ProbePlan>]) -> Self {
        let family = RTT_ROW.register(registry);
        let prepared = RwLock::new(prepare(&family, plans));
        Self { prepared, family }
    }

    /// Removes the histograms of all other links than these, and prepares those of new ones.
    pub(super) fn set_plans(&self, plans: &[Arc<ProbePlan>]) {
        let mut prepared = self.prepared.write().unwrap_or_else(PoisonError::into_inner);
        let [_, ping] = LINK_RULERS;
        let links = plans.iter().filter_map(|plan| Some((plan.link()?, plan.ping)));
        let links: HashMap<_, _> = links.map(|(ends, ping)| ([ends.from.as_str(), &ends.to], ping)).collect();
        self.family.retain(|values| {
            let pings = values.first_chunk::<2>().and_then(|ends| links.get(ends));
            pings.is_some_and(|pings| *pings || values.get(2) != Some(&ping))
        });
        *prepared = prepare(&self.family, plans);
    }

    /// Adds one sample's round trips; those of probes with an RPC are not a link's.
    pub(super) fn observe(&self, sample: &ProbeSample) {
        let Some(ends) = sample.plan.link() else { return };
        if sample.outcome != Outcome::Ok {
            return;
        }
        let rulers = [sample.rulers.handshake, sample.rulers.ping];
        for (index, (name, round_trip)) in LINK_RULERS.into_iter().zip(rulers).enumerate() {
            let Some(round_trip) = round_trip else { continue };
            let prepared = self.prepared.read().unwrap_or_else(PoisonError::into_inner);
            let prepared = prepared.get(ends).and_then(|histograms| histograms[index].as_ref());
            match prepared {
                Some(histogram) => histogram.observe(round_trip.as_secs_f64()),
                // A plan that was not announced: the same series, looked up by its labels.
                None => self.family.with([&ends.from, &ends.to, name]).observe(round_trip.as_secs_f64()),
            }
        }
    }
}

fn prepare(family: &Histograms<3>, plans: &[Arc<ProbePlan>]) -> HashMap<LinkEnds, [Option<Histogram>; 2]> {
    let [handshake, ping] = LINK_RULERS;
    let prepared = plans.iter().filter_map(|plan| {
        let ends = plan.link()?;
        let made = |ruler| family.with([&ends.from, &ends.to, ruler]);
        Some((ends.clone(), [Some(made(handshake)), plan.ping.then(|| made(ping))]))
    });
    prepared.collect()
}
