//! `x-envoy-upstream-service-time`: the upstream time of the outermost Envoy. It does not name
//! its writer, so configuration does; without that it is not read.
//!
//! Envoy counts whole milliseconds and cuts the rest off, so the true value lies in
//! `[value, value + 1 ms)`; 0 is a real value.

use super::elements::Budget;
use super::number::{Unit, parse_reading};
use super::tally::Tally;
use super::{Malformed, lines};
use crate::model::figure::Figure;
use crate::model::hop::{HopSource, HopTiming};
use http::HeaderMap;

const SOURCE: HopSource = HopSource::EnvoyUpstream;

/// The named Envoy's upstream time; at most one hop.
///
/// Envoy *sets* this header. More than one value means that something in between joined two
/// responses' headers; the last one is the outermost, the others are counted as malformed.
pub(super) fn read(headers: &HeaderMap, envoy_hop: Option<&str>, tally: &mut Tally) -> Vec<HopTiming> {
    let mut hops = Vec::new();
    let Some(name) = envoy_hop else { return hops };
    let mut budget = Budget::new();
    for (index, element) in budget.nearest_first(lines(headers, SOURCE)).into_iter().enumerate() {
        match parse_envoy_upstream(element.text) {
            Ok(upstream) if index == 0 => hops.push(HopTiming {
                name: name.to_owned(),
                downstream: None,
                upstream,
                connect: None,
                source: SOURCE,
            }),
            _ => tally.malformed(SOURCE),
        }
    }
    tally.capped(SOURCE, budget.capped);
    hops
}

/// Reads the header's value: whole milliseconds.
///
/// **None**: empty or negative. **Errors**: no whole number, or more than an hour.
pub fn parse_envoy_upstream(value: &[u8]) -> Result<Option<Figure>, Malformed> {
    if value.contains(&b'.') {
        return Err(Malformed);
    }
    let reading = parse_reading(value, Unit::Milliseconds)?;
    Ok(reading.map(|reading| Figure { ns: reading.ns, below_ns: 0, above_ns: reading.quantum_ns }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_milliseconds_are_a_lower_edge() {
        let figure = |ns| Ok(Some(Figure { ns, below_ns: 0, above_ns: 1_000_000 }));
        assert_eq!(parse_envoy_upstream(b"12"), figure(12_000_000));
        assert_eq!(parse_envoy_upstream(b"0"), figure(0));
    }

    #[test]
    fn what_envoy_never_writes_is_malformed() {
        for text in ["1.5", "12ms", "3600001", "1 2"] {
            assert_eq!(parse_envoy_upstream(text.as_bytes()), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn of_two_values_the_last_is_kept_and_the_other_counted() {
        let mut headers = HeaderMap::new();
        headers.append(SOURCE.as_str(), "7".parse().unwrap());
        headers.append(SOURCE.as_str(), "9".parse().unwrap());
        let mut tally = Tally::default();
        let hops = read(&headers, Some("edge"), &mut tally);
        assert_eq!(hops.len(), 1);
        assert_eq!(hops[0].upstream.map(|figure| figure.ns), Some(9_000_000));
        assert_eq!(tally.into_evidence(hops).malformed, [(SOURCE, 1)]);
    }
}
