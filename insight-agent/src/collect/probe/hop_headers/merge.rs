//! One hop, several sources: which figure counts, and where does the hop stand?

use super::MAX_HOPS;
use super::tally::Tally;
use crate::model::hop::HopTiming;

/// Adds what a lesser source knows: figures that `hops` lacks, and hops that it does not have.
///
/// A hop keeps the source of its first mention, also when a gap was filled from another one. A
/// new hop is put behind all others: two sources do not tell how their hops interleave.
pub(super) fn fill_gaps(hops: &mut Vec<HopTiming>, lesser: Vec<HopTiming>, tally: &mut Tally) {
    for timing in lesser {
        if let Some(hop) = hops.iter_mut().find(|hop| hop.name == timing.name) {
            hop.downstream = hop.downstream.or(timing.downstream);
            hop.upstream = hop.upstream.or(timing.upstream);
            hop.connect = hop.connect.or(timing.connect);
        } else if hops.len() < MAX_HOPS {
            hops.push(timing);
        } else {
            tally.capped(timing.source, 1);
        }
    }
}

/// Puts the hops that `route` lists first, in its order; the others keep theirs.
pub(super) fn order_by_route(hops: &mut [HopTiming], route: &[String]) {
    hops.sort_by_key(|hop| route.iter().position(|name| *name == hop.name).unwrap_or(usize::MAX));
}
