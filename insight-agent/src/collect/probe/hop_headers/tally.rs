//! How much of each source could not be used?

use crate::model::hop::{HopEvidence, HopSource, HopTiming};

/// Every source, in the order in which they are read and reported.
const SOURCES: [HopSource; 6] = [
    HopSource::InsightHop,
    HopSource::ServerTiming,
    HopSource::EnvoyUpstream,
    HopSource::Kong,
    HopSource::ServerStats,
    HopSource::Orca,
];

/// Counts per source while one response is read.
#[derive(Debug, Default)]
pub(super) struct Tally {
    malformed: [u32; SOURCES.len()],
    capped: [u32; SOURCES.len()],
}

impl Tally {
    pub(super) fn malformed(&mut self, source: HopSource) {
        let count = &mut self.malformed[source as usize];
        *count = count.saturating_add(1);
    }

    pub(super) fn capped(&mut self, source: HopSource, values: u32) {
        let count = &mut self.capped[source as usize];
        *count = count.saturating_add(values);
    }

    /// The evidence: these hops, and the counts that are not zero.
    pub(super) fn into_evidence(self, hops: Vec<HopTiming>) -> HopEvidence {
        let counted = |counts: [u32; SOURCES.len()]| {
            SOURCES.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
        };
        HopEvidence {
            hops,
            malformed: counted(self.malformed),
            capped: counted(self.capped),
            ..HopEvidence::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_stand_at_their_own_index() {
        for (index, source) in SOURCES.into_iter().enumerate() {
            assert_eq!(source as usize, index);
        }
    }
}
