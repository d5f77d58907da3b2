//! `X-Kong-Upstream-Latency`, `X-Kong-Proxy-Latency`, `X-Kong-Response-Latency`: what the outermost
//! Kong says about a request. It does not name itself, so configuration does; without that none of
//! them is read.
//!
//! Upstream is U: from the end of Kong's balancer to the upstream's response headers. Proxy is what
//! passed before that, inside Kong, so D = upstream + proxy: Kong takes both from the same two
//! instants. Response stands instead of them where Kong answered by itself: it is D, and there is
//! no U. All are whole milliseconds, differences of a clock that ticks in milliseconds.

use super::elements::Budget;
use super::number::{MAX_NS, Reading, Unit, parse_reading};
use super::tally::Tally;
use super::{Malformed, lines_of};
use crate::model::figure::Figure;
use crate::model::hop::{HopSource, HopTiming};
use http::HeaderMap;

const SOURCE: HopSource = HopSource::Kong;

/// U of the request.
pub const UPSTREAM: &str = "x-kong-upstream-latency";
/// The part of D that passed before U began.
pub const PROXY: &str = "x-kong-proxy-latency";
/// D of a response that Kong made itself.
pub const RESPONSE: &str = "x-kong-response-latency";

/// The named Kong's times; at most one hop.
///
/// **None** inside: a proxy latency alone is neither D nor U, and is dropped.
pub(super) fn read(headers: &HeaderMap, kong_hop: Option<&str>, tally: &mut Tally) -> Vec<HopTiming> {
    let Some(name) = kong_hop else { return Vec::new() };
    let mut budget = Budget::new();
    let mut figure = |header| one(headers, header, &mut budget, tally);
    let (upstream, proxy, response) = (figure(UPSTREAM), figure(PROXY), figure(RESPONSE));
    tally.capped(SOURCE, budget.capped);
    let downstream = match (upstream, proxy) {
        (Some(upstream), Some(proxy)) => {
            let sum = Some(upstream.plus(proxy)).filter(|sum| is_believed(*sum));
            if sum.is_none() {
                tally.malformed(SOURCE);
            }
            sum
        }
        // A response latency beside an upstream one is of another Kong, further up: this one did
        // not answer by itself.
        (Some(_), None) => None,
        (None, _) => response,
    };
    if downstream.is_none() && upstream.is_none() {
        return Vec::new();
    }
    vec![HopTiming { name: name.to_owned(), downstream, upstream, connect: None, source: SOURCE }]
}

/// Two times that are believed each may be more than is believed together.
fn is_believed(figure: Figure) -> bool {
    u64::try_from(figure.ns).is_ok_and(|ns| ns <= MAX_NS)
}

/// The value of one of the headers.
///
/// Kong *sets* them. Of several values the last one is the outermost Kong's, the others are counted
/// as malformed.
fn one(headers: &HeaderMap, header: &str, budget: &mut Budget, tally: &mut Tally) -> Option<Figure> {
    let mut found = None;
    for (index, element) in budget.nearest_first(lines_of(headers, header)).into_iter().enumerate() {
        match parse_kong_latency(element.text) {
            Ok(figure) if index == 0 => found = figure,
            _ => tally.malformed(SOURCE),
        }
    }
    found
}

/// Reads the value of one header: whole milliseconds, in either direction less than one off.
///
/// **None**: empty or negative: Kong writes -1 for what it did not reach. **Errors**: no whole
/// number, or more than an hour.
pub fn parse_kong_latency(value: &[u8]) -> Result<Option<Figure>, Malformed> {
    if value.contains(&b'.') {
        return Err(Malformed);
    }
    Ok(parse_reading(value, Unit::Milliseconds)?.map(Reading::figure))
}

#[cfg(test)]
mod tests {
    use super::super::tests::headers;
    use super::*;

    fn ms(value: i64, bound: u64) -> Option<Figure> {
        Some(Figure { ns: value * 1_000_000, below_ns: bound * 1_000_000, above_ns: bound * 1_000_000 })
    }

    fn read_all(lines: &[(&'static str, &str)]) -> (Vec<HopTiming>, Vec<(HopSource, u32)>) {
        let mut tally = Tally::default();
        let hops = read(&headers(lines), Some("gateway"), &mut tally);
        (hops, tally.into_evidence(Vec::new()).malformed)
    }

    #[test]
    fn upstream_and_proxy_make_both_times_of_the_hop() {
        let (hops, malformed) = read_all(&[(UPSTREAM, "26"), (PROXY, "2")]);
        assert_eq!((hops[0].downstream, hops[0].upstream), (ms(28, 2), ms(26, 1)));
        assert_eq!((hops[0].name.as_str(), hops[0].source, malformed), ("gateway", SOURCE, vec![]));
    }

    #[test]
    fn an_own_response_has_a_downstream_time_only() {
        let (hops, _) = read_all(&[(RESPONSE, "3")]);
        assert_eq!((hops[0].downstream, hops[0].upstream), (ms(3, 1), None));
    }

    #[test]
    fn an_inner_kongs_own_response_is_not_taken_for_the_outer_ones_time() {
        let (hops, _) = read_all(&[(RESPONSE, "3"), (UPSTREAM, "5"), (PROXY, "0")]);
        assert_eq!((hops[0].downstream, hops[0].upstream), (ms(5, 2), ms(5, 1)));
        let (hops, _) = read_all(&[(RESPONSE, "3"), (UPSTREAM, "5")]);
        assert_eq!((hops[0].downstream, hops[0].upstream), (None, ms(5, 1)));
    }

    #[test]
    fn a_proxy_latency_alone_is_no_time_of_the_hop() {
        assert_eq!(read_all(&[(PROXY, "2")]), (vec![], vec![]));
    }

    #[test]
    fn without_a_configured_hop_nothing_is_read_or_counted() {
        let mut tally = Tally::default();
        assert_eq!(read(&headers(&[(UPSTREAM, "x")]), None, &mut tally), []);
        assert_eq!(tally.into_evidence(Vec::new()).malformed, []);
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_costs_only_itself() {
        let (hops, malformed) = read_all(&[(UPSTREAM, "26"), (PROXY, "soon")]);
        assert_eq!((hops[0].downstream, hops[0].upstream), (None, ms(26, 1)));
        assert_eq!(malformed, [(SOURCE, 1)]);
        for text in ["1.5", "12ms", "3600001", "1 2", "+1"] {
            assert_eq!(parse_kong_latency(text.as_bytes()), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn a_sum_of_more_than_an_hour_is_malformed() {
        let (hops, malformed) = read_all(&[(UPSTREAM, "3333333"), (PROXY, "3333333")]);
        assert_eq!((hops[0].downstream, hops[0].upstream), (None, ms(3_333_333, 1)));
        assert_eq!(malformed, [(SOURCE, 1)]);
    }

    #[test]
    fn not_reached_is_not_known_and_zero_is_a_time() {
        assert_eq!(parse_kong_latency(b"-1"), Ok(None));
        assert_eq!(parse_kong_latency(b"0"), Ok(ms(0, 1)));
    }

    #[test]
    fn of_two_values_the_last_is_the_outermost_kongs() {
        let (hops, malformed) = read_all(&[(UPSTREAM, "7"), (UPSTREAM, "9")]);
        assert_eq!((hops[0].upstream, malformed), (ms(9, 1), vec![(SOURCE, 1)]));
    }
}
