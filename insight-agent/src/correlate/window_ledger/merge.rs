//! Silent hops: one entry for the stretch around them, if anything measured it as a whole.

use super::evidence::{Nodes, Refused};
use super::{Found, ProberMeans, segment, taken};
use crate::model::ledger::{Evidence, hop_name, link_name};
use crate::model::series::lost::Loss;
use crate::model::window::SegmentWindow;

/// Replaces every run of hops without a figure, and the links beside them, by one entry that names
/// the hops it covers; where nothing measured that stretch, all stays as it is.
///
/// `segments` alternate link, hop, link, …, link along `path`.
pub(super) fn merge(
    segments: &mut Vec<SegmentWindow>,
    path: &[&str],
    nodes: &Nodes<'_>,
    prober: &ProberMeans,
    refused: &mut Vec<Loss>,
) {
    let silent: Vec<bool> = path
        .iter()
        .map(|node| segments.iter().any(|segment| segment.name == hop_name(node) && segment.mean.is_none()))
        .collect();
    let mut merged = Vec::with_capacity(segments.len());
    let mut rest = std::mem::take(segments).into_iter();
    let mut from = 0;
    while from + 1 < path.len() {
        let mut to = from + 1;
        while silent[to] {
            to += 1;
        }
        // A link, and for each silent hop the hop and the link behind it.
        let stretch: Vec<_> = rest.by_ref().take(2 * (to - from) - 1).collect();
        let hops = &path[from + 1..to];
        let found = if hops.is_empty() { None } else { whole(path, (from, to), nodes, prober, refused) };
        match found {
            Some(found) => {
                let name = link_name(path[from], path[to]);
                let covered = hops.iter().map(|hop| (*hop).to_owned()).collect();
                merged.push(SegmentWindow { merged: covered, ..segment(name, Some(found), None) });
            }
            None => merged.extend(stretch),
        }
        // The hop at the end of the stretch spoke for itself.
        merged.extend(rest.by_ref().take(usize::from(to + 1 < path.len())));
        from = to;
    }
    *segments = merged;
}

/// What measured the stretch between two nodes of the path as a whole.
fn whole(
    path: &[&str],
    (from, to): (usize, usize),
    nodes: &Nodes<'_>,
    prober: &ProberMeans,
    refused: &mut Vec<Loss>,
) -> Option<Found> {
    let exchange: Result<Option<Found>, Refused> =
        nodes.exchange((path[from], path[from + 1]), (path[to - 1], path[to]));
    taken(exchange, refused).or_else(|| {
        let (covered, mean) = prober.merged.get(&link_name(path[from], path[to]))?;
        (covered == &path[from + 1..to]).then(|| Found::of_probe(*mean, Evidence::HeaderDifference))
    })
}
