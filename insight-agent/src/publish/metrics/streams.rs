//! Streams of answers: counted as samples come, with handles looked up each time, since a stream takes long.

use super::families::{CounterRow, Counters};
use super::registry::Registry;
use super::summaries::{Summaries, SummaryRow};
use crate::model::plan::{Call, ProbePlan};
use crate::model::sample::ProbeSample;
use crate::model::series::stream;
use std::collections::HashSet;
use std::sync::Arc;

const MESSAGES: CounterRow<4> = CounterRow::of(&stream::MESSAGES);
const FIRST_MESSAGE: SummaryRow<4> = SummaryRow::of(&stream::FIRST_MESSAGE);
const LARGEST_GAP: SummaryRow<4> = SummaryRow::of(&stream::LARGEST_GAP);

/// The families of streams.
pub(super) struct Streams {
    messages: Counters<4>,
    first_message: Summaries<4>,
    largest_gap: Summaries<4>,
}

impl Streams {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            messages: MESSAGES.register(registry),
            first_message: FIRST_MESSAGE.register(registry),
            largest_gap: LARGEST_GAP.register(registry),
        }
    }

    /// Removes what is of none of these plans.
    pub(super) fn set_plans(&self, plans: &[Arc<ProbePlan>]) {
        let mut stay = HashSet::new();
        for plan in plans.iter().filter(|plan| matches!(plan.call, Call::Method(_))) {
            for connection in &plan.connections {
                stay.insert([plan.source.as_str(), &plan.target, &plan.name, connection.as_str()]);
            }
        }
        let stays = |values: &[&str]| stay.contains(values);
        self.messages.retain(stays);
        self.first_message.retain(stays);
        self.largest_gap.retain(stays);
    }

    /// Counts one sample's stream, if it has one.
    pub(super) fn observe(&self, sample: &ProbeSample) {
        let Some(timing) = &sample.answer.stream else { return };
        let plan = &sample.plan;
        let labels = [plan.source.as_str(), &plan.target, &plan.name, sample.connection.as_str()];
        self.messages.with(labels).inc_by(timing.messages);
        if !sample.is_measurement() {
            return;
        }
        if let Some(first) = timing.first_message {
            self.first_message.with(labels).observe(first);
        }
        if let Some(gap) = timing.largest_gap {
            self.largest_gap.with(labels).observe(gap);
        }
    }
}
