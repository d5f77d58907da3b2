//! `grpc-server-stats-bin`: the trailer in which gRPC libraries with Census statistics say how long
//! the server had the call, and how long a load balancer before it had it.
//!
//! **Source**: the Census binary encoding: a version byte, then fields in the order of their ids,
//! each an id byte and a value of the length that the id has. Who meets an id that it does not know
//! cannot find the next one, so it stops there.

use super::binary::{decode, first_value};
use super::number::MAX_NS;
use super::tally::Tally;
use crate::model::figure::Figure;
use crate::model::hop::{HopSource, ServerStats};
use http::HeaderMap;

const SOURCE: HopSource = HopSource::ServerStats;

/// The only version there is.
const VERSION: u8 = 0;
const LOAD_BALANCER: u8 = 0;
const SERVER: u8 = 1;
const OPTIONS: u8 = 2;

/// What the service's trailer says; nothing where there is none.
pub(super) fn read(headers: &HeaderMap, trailers: Option<&HeaderMap>, tally: &mut Tally) -> ServerStats {
    let Some(value) = first_value(headers, trailers, SOURCE.as_str(), SOURCE, tally) else {
        return ServerStats::default();
    };
    let parsed = parse_server_stats(value);
    if parsed.malformed {
        tally.malformed(SOURCE);
    }
    parsed.stats
}

/// What one value of `grpc-server-stats-bin` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParsedStats {
    /// Those of its figures that could be read.
    pub stats: ServerStats,
    /// Whether any part of it could not be read.
    pub malformed: bool,
}

/// Reads one value as it stands in metadata: base64, with or without padding.
///
/// **Unit**: nanoseconds, exact. A figure that is negative or more than an hour is malformed and
/// costs only itself; a value that ends inside a field keeps the fields before it.
pub fn parse_server_stats(value: &[u8]) -> ParsedStats {
    match decode(value) {
        Ok(bytes) => parse_fields(&bytes),
        Err(_) => ParsedStats { malformed: true, ..ParsedStats::default() },
    }
}

/// Reads the encoded fields themselves.
fn parse_fields(bytes: &[u8]) -> ParsedStats {
    let mut parsed = ParsedStats::default();
    let Some((&VERSION, mut rest)) = bytes.split_first() else {
        parsed.malformed = true;
        return parsed;
    };
    while let Some((&id, after)) = rest.split_first() {
        let slot = match id {
            LOAD_BALANCER => &mut parsed.stats.load_balancer,
            SERVER => &mut parsed.stats.server,
            OPTIONS if after.is_empty() => {
                parsed.malformed = true;
                break;
            }
            OPTIONS => {
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            _ => break,
        };
        let Some((value, after)) = after.split_first_chunk() else {
            parsed.malformed = true;
            break;
        };
        let ns = i64::from_le_bytes(*value);
        match u64::try_from(ns) {
            Ok(unsigned) if unsigned <= MAX_NS && slot.is_none() => *slot = Some(Figure::exact(ns)),
            // Negative, too long, or the same figure once more: the first one counts.
            _ => parsed.malformed = true,
        }
        rest = after;
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::super::tests::headers;
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

    fn field(id: u8, ns: i64) -> Vec<u8> {
        [&[id][..], &ns.to_le_bytes()].concat()
    }

    fn stats(load_balancer: Option<i64>, server: Option<i64>) -> ServerStats {
        ServerStats { server: server.map(Figure::exact), load_balancer: load_balancer.map(Figure::exact) }
    }

    fn parsed(parts: &[&[u8]]) -> (ServerStats, bool) {
        let ParsedStats { stats, malformed } = parse_server_stats(STANDARD.encode(parts.concat()).as_bytes());
        (stats, malformed)
    }

    #[test]
    fn both_latencies_are_read_with_and_without_padding() {
        let bytes = [&[VERSION][..], &field(0, 1_500), &field(1, 2_000_000), &[2, 1]].concat();
        let expected = ParsedStats { stats: stats(Some(1_500), Some(2_000_000)), malformed: false };
        for text in [STANDARD.encode(&bytes), STANDARD_NO_PAD.encode(&bytes)] {
            assert_eq!(parse_server_stats(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_known_value_of_the_wire_is_read() {
        // Version 0, field 1: 1 ms and 1 ns in little-endian order.
        assert_eq!(parse_server_stats(b"AAFBQg8AAAAAAA").stats, stats(None, Some(1_000_001)));
    }

    #[test]
    fn an_unknown_field_ends_the_reading_and_keeps_what_came_before() {
        let unknown = [&[7_u8, 1, 2][..], &field(0, 5)].concat();
        assert_eq!(parsed(&[&[VERSION], &field(1, 9), &unknown]), (stats(None, Some(9)), false));
    }

    #[test]
    fn zero_is_a_time_and_a_negative_one_is_malformed() {
        assert_eq!(parsed(&[&[VERSION], &field(1, 0)]), (stats(None, Some(0)), false));
        assert_eq!(parsed(&[&[VERSION], &field(0, -1), &field(1, 3)]), (stats(None, Some(3)), true));
        assert_eq!(parsed(&[&[VERSION], &field(1, i64::MIN)]), (stats(None, None), true));
        assert_eq!(parsed(&[&[VERSION], &field(1, 3_600_000_000_001)]), (stats(None, None), true));
    }

    #[test]
    fn a_value_that_ends_inside_a_field_keeps_the_fields_before_it() {
        let cut = &field(1, 3)[..5];
        assert_eq!(parsed(&[&[VERSION], &field(0, 7), cut]), (stats(Some(7), None), true));
        assert_eq!(parsed(&[&[VERSION], &field(0, 7), &[2]]), (stats(Some(7), None), true));
    }

    #[test]
    fn of_a_figure_that_comes_twice_the_first_counts() {
        assert_eq!(parsed(&[&[VERSION], &field(1, 3), &field(1, 4)]), (stats(None, Some(3)), true));
    }

    #[test]
    fn other_versions_and_no_base64_are_malformed() {
        assert_eq!(parsed(&[&[1], &field(1, 3)]), (stats(None, None), true));
        for text in ["", "*", "AAFBQg8AAAAAA"] {
            assert!(parse_server_stats(text.as_bytes()).malformed, "{text:?}");
        }
        assert_eq!(parsed(&[&[VERSION]]), (stats(None, None), false));
    }

    #[test]
    fn the_first_of_several_values_is_the_services_and_trailers_come_first() {
        let value = |ns| STANDARD.encode([&[VERSION][..], &field(1, ns)].concat());
        let (near, far) = (value(1), value(2));
        let trailers = headers(&[(SOURCE.as_str(), &near), (SOURCE.as_str(), &far)]);
        let head = headers(&[(SOURCE.as_str(), &far)]);
        let mut tally = Tally::default();
        assert_eq!(read(&head, Some(&trailers), &mut tally), stats(None, Some(1)));
        assert_eq!(read(&head, None, &mut tally), stats(None, Some(2)));
        assert_eq!(tally.into_evidence(Vec::new()).malformed, [(SOURCE, 1)]);
    }
}
