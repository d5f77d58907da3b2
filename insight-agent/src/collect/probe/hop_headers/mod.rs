//! What did the hops of a path write into this response?
//!
//! One file per source, each a pure function over bytes: no clock, no I/O, no panic, and no
//! recursion, because every byte here comes from machines that this agent does not control. What
//! cannot be read is counted per source and never becomes a 0; what is left out because of a cap
//! is counted too. Which figure a hop's name may become a label for is not decided here.
//!
//! Hops *append* on the way back, so the hop nearest to the prober wrote last. Everything below
//! walks from the end of the response to its start, which has two uses: evidence comes out in
//! path order, and when a cap is reached it is the far end that is left out.

mod binary;
mod elements;
pub mod envoy;
pub mod insight_hop;
pub mod kong;
mod merge;
mod number;
pub mod orca;
pub mod server_stats;
pub mod server_timing;
mod service_trailer;
mod tally;
mod tries;

#[cfg(test)]
mod orca_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod snippets;

pub use service_trailer::parse_service_trailer;

use crate::model::hop::{HopEvidence, HopSource};
use crate::model::plan::RoutePlan;
use http::HeaderMap;
use tally::Tally;

/// Most hops that one response may speak of. Real paths have three to six; a label or a ledger
/// row per hop stays readable up to here.
pub const MAX_HOPS: usize = 16;

/// Most list elements that are read per source: four for each hop, which leaves room for
/// `Server-Timing` entries that are none of ours.
pub const MAX_ELEMENTS: usize = 64;

/// Most bytes of header values that are read per source, headers and trailers together. 16 hops
/// that write 512 bytes each; common proxies refuse more than 8 KiB of headers in all.
pub const MAX_BYTES: usize = 8 * 1024;

/// A value that its grammar does not allow. It carries nothing: what matters is that it is
/// counted for its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Reads everything that the hops and the service of one response said about themselves.
///
/// Four sources are merged per hop name, best first: `x-insight-hop` (headers, then trailers),
/// `Server-Timing` (names mapped by `route.server_timing`), `x-envoy-upstream-service-time` (of
/// `route.envoy_hop`), `X-Kong-*-Latency` (of `route.kong_hop`). A later source only fills what an
/// earlier one left open. Two more are of the service: `grpc-server-stats-bin`, its time, and
/// `endpoint-load-metrics`, its load.
///
/// **Shape**: hops in path order, nearest to the prober first. Names that `route.hops` lists come
/// first and in its order; all other names follow in the order of the response.
pub fn read_hop_evidence(
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
    route: &RoutePlan,
) -> HopEvidence {
    let mut tally = Tally::default();
    let mut hops = insight_hop::read(headers, trailers, &mut tally);
    merge::fill_gaps(&mut hops, server_timing::read(headers, &route.server_timing, &mut tally), &mut tally);
    merge::fill_gaps(&mut hops, envoy::read(headers, route.envoy_hop.as_deref(), &mut tally), &mut tally);
    merge::fill_gaps(&mut hops, kong::read(headers, route.kong_hop.as_deref(), &mut tally), &mut tally);
    merge::order_by_route(&mut hops, &route.hops);
    let stats = server_stats::read(headers, trailers, &mut tally);
    let load = orca::read(headers, trailers, &route.load_metrics, &mut tally);
    HopEvidence { stats, load, ..tally.into_evidence(hops) }
}

/// The values of one source's header, in the order of the response.
fn lines(headers: &HeaderMap, source: HopSource) -> impl DoubleEndedIterator<Item = &[u8]> {
    lines_of(headers, source.as_str())
}

/// The values of the header `name`, in the order of the response.
fn lines_of<'a>(headers: &'a HeaderMap, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).into_iter().map(http::HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::figure::Figure;
    use crate::model::hop::HopTiming;
    use crate::model::plan::{ServerTimingMeaning, TimingFigure};

    pub(super) fn route(hops: &[&str]) -> RoutePlan {
        let meaning = |hop: &str, figure| ServerTimingMeaning { hop: hop.into(), figure };
        RoutePlan {
            name: "eu-sg".into(),
            host: "127.0.0.1".into(),
            port: 1,
            dial: Default::default(),
            authority: "probe".into(),
            metadata: Vec::new(),
            tls: None,
            origin: "eu".into(),
            hops: hops.iter().map(|hop| (*hop).to_owned()).collect(),
            server_timing: [
                ("gw-d".to_owned(), meaning("gateway", TimingFigure::Downstream)),
                ("gw-u".to_owned(), meaning("gateway", TimingFigure::Upstream)),
            ]
            .into(),
            envoy_hop: Some("mediary".into()),
            kong_hop: Some("gateway".into()),
            load_metrics: vec!["queue".into()],
        }
    }

    pub(super) fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn names(evidence: &HopEvidence) -> Vec<&str> {
        evidence.hops.iter().map(|hop| hop.name.as_str()).collect()
    }

    fn ms(value: i64) -> Option<Figure> {
        Some(Figure { ns: value * 1_000_000, below_ns: 1_000_000, above_ns: 1_000_000 })
    }

    #[test]
    fn a_response_without_hop_headers_gives_empty_evidence() {
        assert_eq!(read_hop_evidence(&HeaderMap::new(), None, &route(&["a"])), HopEvidence::default());
    }

    #[test]
    fn the_hop_that_wrote_last_is_the_nearest_one() {
        let map = headers(&[("x-insight-hop", "far;d=1, middle;d=2"), ("x-insight-hop", "near;d=3")]);
        let evidence = read_hop_evidence(&map, None, &route(&[]));
        assert_eq!(names(&evidence), ["near", "middle", "far"]);
    }

    #[test]
    fn the_route_orders_known_names_and_unknown_ones_follow() {
        let map = headers(&[("x-insight-hop", "a;d=1, stranger;d=2, c;d=3, b;d=4")]);
        let evidence = read_hop_evidence(&map, None, &route(&["a", "b", "c"]));
        assert_eq!(names(&evidence), ["a", "b", "c", "stranger"]);
    }

    #[test]
    fn a_trailer_is_later_than_every_header_so_its_hop_is_nearer() {
        let map = headers(&[("x-insight-hop", "far;d=1")]);
        let trailers = headers(&[("x-insight-hop", "near;d=2")]);
        assert_eq!(names(&read_hop_evidence(&map, Some(&trailers), &route(&[]))), ["near", "far"]);
    }

    #[test]
    fn a_header_wins_over_the_same_hops_trailer_which_is_no_first_byte_time() {
        let map = headers(&[("x-insight-hop", "a;d=1")]);
        let trailers = headers(&[("x-insight-hop", "a;d=9")]);
        let evidence = read_hop_evidence(&map, Some(&trailers), &route(&[]));
        assert_eq!(evidence.hops.len(), 1);
        assert_eq!(evidence.hops[0].downstream, ms(1));
        assert_eq!(evidence.malformed, [(HopSource::InsightHop, 1)]);
    }

    #[test]
    fn of_two_values_with_one_name_the_outermost_is_kept_and_the_other_counted() {
        let map = headers(&[("x-insight-hop", "a;d=1, b;d=5, a;d=2")]);
        let evidence = read_hop_evidence(&map, None, &route(&[]));
        assert_eq!(names(&evidence), ["a", "b"]);
        assert_eq!(evidence.hops[0].downstream, ms(2));
        assert_eq!(evidence.malformed, [(HopSource::InsightHop, 1)]);
    }

    #[test]
    fn lesser_sources_fill_gaps_and_never_replace() {
        let map = headers(&[
            ("x-insight-hop", "gateway;d=10, mediary;d=20;u=18"),
            ("server-timing", "gw-d;dur=99, gw-u;dur=7, cache;desc=\"none of ours\";dur=x"),
            ("x-envoy-upstream-service-time", "77"),
        ]);
        let evidence = read_hop_evidence(&map, None, &route(&["mediary", "gateway"]));
        assert_eq!(names(&evidence), ["mediary", "gateway"]);
        assert_eq!((evidence.hops[0].downstream, evidence.hops[0].upstream), (ms(20), ms(18)));
        assert_eq!((evidence.hops[1].downstream, evidence.hops[1].upstream), (ms(10), ms(7)));
        assert_eq!(evidence.hops[1].source, HopSource::InsightHop);
        assert_eq!(evidence.malformed, []);
    }

    #[test]
    fn a_hop_that_only_a_lesser_source_knows_is_added() {
        let map = headers(&[("server-timing", "gw-u;dur=7"), ("x-envoy-upstream-service-time", "5")]);
        let evidence = read_hop_evidence(&map, None, &route(&["mediary", "gateway"]));
        let exclusive = Some(Figure { ns: 5_000_000, below_ns: 0, above_ns: 1_000_000 });
        let timing = |name: &str, upstream, source| HopTiming {
            name: name.into(),
            downstream: None,
            upstream,
            connect: None,
            source,
        };
        assert_eq!(
            evidence.hops,
            [
                timing("mediary", exclusive, HopSource::EnvoyUpstream),
                timing("gateway", ms(7), HopSource::ServerTiming)
            ]
        );
    }

    #[test]
    fn sources_that_are_not_configured_are_not_read_and_not_counted() {
        let map = headers(&[("server-timing", "x;dur=\"open"), ("x-envoy-upstream-service-time", "soon")]);
        let plain = RoutePlan { server_timing: Default::default(), envoy_hop: None, ..route(&[]) };
        assert_eq!(read_hop_evidence(&map, None, &plain), HopEvidence::default());
    }

    #[test]
    fn hops_beyond_the_cap_are_the_farthest_ones_and_are_counted() {
        let all: Vec<String> = (0..20).map(|hop| format!("h{hop};d=1")).collect();
        let map = headers(&[("x-insight-hop", &all.join(","))]);
        let evidence = read_hop_evidence(&map, None, &route(&[]));
        assert_eq!(evidence.hops.len(), MAX_HOPS);
        assert_eq!(evidence.hops[0].name, "h19");
        assert_eq!(evidence.capped, [(HopSource::InsightHop, 4)]);

        let map = headers(&[("x-insight-hop", &all.join(",")), ("server-timing", "gw-d;dur=1")]);
        let evidence = read_hop_evidence(&map, None, &route(&[]));
        assert_eq!(evidence.hops.len(), MAX_HOPS);
        assert_eq!(evidence.capped, [(HopSource::InsightHop, 4), (HopSource::ServerTiming, 1)]);
    }
}
