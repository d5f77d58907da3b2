//! Where did one probe's time go? Its latency, written as a sum, if the service tells its own time:
//! an Insight receiver always does, other services may in `grpc-server-stats-bin`.
//!
//! Hop `i` tells how long it had the request (`D_i`, downstream) and how long it waited for the
//! next hop (`U_i`, upstream), each on its own clock; the prober tells `U_0` and the service
//! `D_n`. No clock is compared with another one. Then `D_i − U_i` is the residence in hop `i`, and
//! `U_i − D_{i+1}` is the link behind it: a *difference of two places*. Its known limit: whatever
//! passes before the next hop starts its own clock (its accept queue, its busy event loop) is
//! inside that link, not inside that hop.
//!
//! The **first link is independent**: the handshake's round trip, answered by the next hop's
//! kernel, and not `U_0 − D_1`. So the ledger does not close by construction: a busy first hop
//! that reads late, or a prober that wakes up late, shows as `unexplained` instead of being booked
//! as network. The sum that does close, with `U_0 − D_1` in it, is kept apart as `residual`; it
//! tells that the arithmetic is right and nothing about the path.
//!
//! A figure that is missing costs only its neighbours: the entries around it become one, which
//! names the hops it covers.

mod points;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::model::figure::Figure;
use crate::model::hop::{HopEvidence, HopTiming};
use crate::model::ledger::{Evidence, PathLedger, ProbeLedger, SERVICE, Segment, TRANSFER};
use crate::model::plan::{Mode, RoutePlan};
use crate::model::sample::ProbeSample;
use points::Path;

/// Writes one sample's latency as a sum.
///
/// `first_link` is the handshake round trip to the next hop, measured on its own; without it the
/// first link's time is unexplained. It is not used when the first hop is silent: then it would
/// stand for a stretch of the path that it did not measure.
///
/// **Shape**: segments in path order. Each hop of the route is named exactly once, by its own
/// segment or in the `merged` list of the one that covers it, provided that the configuration
/// keeps the names of a route's hops and ends distinct. **None**: the sample is not white-box and
/// its service did not tell a time; or it is no measurement (failed, voided), or did not reach its
/// trailers.
pub fn probe_ledger(sample: &ProbeSample, first_link: Option<Figure>) -> Option<ProbeLedger> {
    let service = service_time(sample);
    if (sample.plan.mode != Mode::WhiteBox && service.is_none()) || !sample.is_measurement() {
        return None;
    }
    let first_byte = Figure::from_duration(sample.phases.to_first_byte()?);
    let transfer = Figure::from_duration(sample.phases.response?);

    let (hops, unknown_hops) = hops_on_path(&sample.plan.route, &sample.hops);
    let path = Path::new(&sample.plan.route.origin, first_byte, &hops, service.map(|(time, _)| time));

    let mut segments = path.segments(first_link);
    let (time, evidence) = service.map_or((None, Evidence::Receiver), |(time, by)| (Some(time), by));
    segments.push(segment(SERVICE.to_owned(), time, evidence, Vec::new()));
    segments.push(segment(TRANSFER.to_owned(), Some(transfer), Evidence::Prober, Vec::new()));

    let end_to_end = first_byte.plus(transfer);
    let known = segments.iter().filter_map(|segment| segment.figure).fold(Figure::exact(0), Figure::plus);
    let unexplained = end_to_end.minus(known);
    let residual = path.residual();
    Some(ProbeLedger { ledger: PathLedger { end_to_end, segments, unexplained, residual }, unknown_hops })
}

/// D of the service, and who told it: a receiver's own figure ends at the response, as those of the
/// hops do, so it counts before a library's, which ends with the call.
fn service_time(sample: &ProbeSample) -> Option<(Figure, Evidence)> {
    let receiver = sample.service.filter(|_| sample.plan.mode == Mode::WhiteBox);
    let receiver = receiver.map(|service| (service.receive_to_send, Evidence::Receiver));
    receiver.or_else(|| Some((sample.hops.stats.server?, Evidence::ServerStats)))
}

/// One entry; its evidence counts only with a figure.
fn segment(name: String, figure: Option<Figure>, evidence: Evidence, merged: Vec<String>) -> Segment {
    let inconsistent = figure.is_some_and(Figure::is_inconsistent);
    Segment { name, figure, evidence: figure.map(|_| evidence), merged, inconsistent }
}

/// The hops of the path, each with what it said, and how many others spoke.
///
/// The configured route decides which hops there are. Without one, the response does; but then a
/// hop may not bear the name of an end of the path, or two segments could have one name.
fn hops_on_path<'a>(route: &'a RoutePlan, evidence: &'a HopEvidence) -> (Vec<Hop<'a>>, u32) {
    let mut hops: Vec<Hop<'a>> = route.hops.iter().map(|name| Hop { name, timing: None }).collect();
    let mut unknown: u32 = 0;
    for timing in &evidence.hops {
        let name = timing.name.as_str();
        match hops.iter_mut().find(|hop| hop.name == name) {
            // The first mention is the outermost one.
            Some(hop) => hop.timing = hop.timing.or(Some(timing)),
            None if route.hops.is_empty() && name != route.origin && name != SERVICE => {
                hops.push(Hop { name, timing: Some(timing) });
            }
            None => unknown = unknown.saturating_add(1),
        }
    }
    (hops, unknown)
}

/// One hop of the path. **None**: it said nothing.
struct Hop<'a> {
    name: &'a str,
    timing: Option<&'a HopTiming>,
}
