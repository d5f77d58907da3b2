//! `x-insight-hop`: what a hop says about itself, written by a line of nginx or HAProxy
//! configuration. The grammar for users is in `docs/hop-timing.md`.
//!
//! `NAME;key=value;key=value`, with `d` (downstream), `u` (upstream), `c` (connect, part of `u`)
//! in milliseconds, the same with `_s` in seconds and `_us` in microseconds, and `q`, the
//! resolution in milliseconds.

use super::elements::{Budget, Commas, Element, split_name};
use super::number::{Sum, Unit, parse_reading, parse_tries};
use super::tally::Tally;
use super::{MAX_HOPS, Malformed, lines};
use crate::model::hop::{HopSource, HopTiming};
use http::HeaderMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Longest name in bytes: what a DNS label may have, and one more.
const MAX_NAME: usize = 64;

const SOURCE: HopSource = HopSource::InsightHop;

/// The hops that headers and trailers name, nearest first.
///
/// Trailers are written after headers, so their hops are the nearer ones. But a hop that speaks in
/// both is taken from the headers: those are first-byte times, which is what ledgers telescope;
/// and headers get the budget first.
pub(super) fn read(headers: &HeaderMap, trailers: Option<&HeaderMap>, tally: &mut Tally) -> Vec<HopTiming> {
    let mut budget = Budget::with(Commas::OrTries);
    let in_headers = gather(&budget.nearest_first(lines(headers, SOURCE)), &[], tally);
    let mut hops = match trailers {
        Some(trailers) => gather(&budget.nearest_first(lines(trailers, SOURCE)), &in_headers, tally),
        None => Vec::new(),
    };
    tally.capped(SOURCE, budget.capped);
    hops.extend(in_headers);
    hops
}

/// The hops of `elements` that `known` does not have yet.
fn gather(elements: &[Element<'_>], known: &[HopTiming], tally: &mut Tally) -> Vec<HopTiming> {
    let mut hops: Vec<HopTiming> = Vec::new();
    for element in elements {
        let parsed = if element.whole {
            parse_insight_hop(element.text)
        } else {
            ParsedHop { timing: None, malformed: true }
        };
        let mut malformed = parsed.malformed;
        if let Some(timing) = parsed.timing {
            if known.iter().chain(&hops).any(|hop| hop.name == timing.name) {
                malformed = true;
            } else if known.len() + hops.len() < MAX_HOPS {
                hops.push(timing);
            } else {
                tally.capped(SOURCE, 1);
            }
        }
        if malformed {
            tally.malformed(SOURCE);
        }
    }
    hops
}

/// What one element of `x-insight-hop` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedHop {
    /// The hop and those of its figures that could be read. **None**: not even its name could.
    pub timing: Option<HopTiming>,
    /// Whether any part of the element could not be read.
    pub malformed: bool,
}

/// Reads one element. A figure that cannot be read costs only itself.
///
/// A name alone is malformed: it says nothing.
pub fn parse_insight_hop(element: &[u8]) -> ParsedHop {
    let (name, parameters) = split_name(element);
    let Some(name) = parse_name(name) else {
        return ParsedHop { timing: None, malformed: true };
    };
    let mut figures: [Option<Result<Option<Sum>, Malformed>>; 3] = [None; 3];
    let mut quantum = None;
    let mut malformed = false;
    let mut any = false;
    for parameter in parameters {
        let Ok((key, value)) = parameter else {
            return ParsedHop { timing: None, malformed: true };
        };
        any = true;
        if key == b"q" {
            malformed |= quantum.is_some();
            quantum.get_or_insert_with(|| parse_quantum(&value));
        } else if let Some((figure, unit)) = parse_key(key) {
            let slot = &mut figures[figure as usize];
            // The same figure a second time, perhaps in another unit: the first one counts.
            malformed |= slot.is_some();
            slot.get_or_insert_with(|| match figure {
                // D is one duration; only an upstream can be tried several times.
                Key::Downstream => {
                    Ok(parse_reading(&value, unit)?.map(|reading| Sum { figure: reading.figure(), tries: 1 }))
                }
                Key::Upstream | Key::Connect => parse_tries(&value, unit),
            });
        }
    }
    malformed |= !any || quantum == Some(Err(Malformed)) || figures.contains(&Some(Err(Malformed)));
    if !any {
        return ParsedHop { timing: None, malformed };
    }
    let quantum = quantum.and_then(Result::ok).flatten();
    let [downstream, upstream, connect] = figures.map(|figure| Some(figure?.ok()??.with_quantum(quantum)));
    let timing = HopTiming { name: name.to_owned(), downstream, upstream, connect, source: SOURCE };
    ParsedHop { timing: Some(timing), malformed }
}

/// The figures of a hop; the discriminant is its place in `figures` above.
#[derive(Clone, Copy)]
enum Key {
    Downstream,
    Upstream,
    Connect,
}

fn parse_key(key: &[u8]) -> Option<(Key, Unit)> {
    let (figure, unit) = key.split_first()?;
    let figure = match figure {
        b'd' => Key::Downstream,
        b'u' => Key::Upstream,
        b'c' => Key::Connect,
        _ => return None,
    };
    let unit = match unit {
        b"" => Unit::Milliseconds,
        b"_s" => Unit::Seconds,
        b"_us" => Unit::Microseconds,
        _ => return None,
    };
    Some((figure, unit))
}

/// A hop's name: 1 to 64 bytes of `[A-Za-z0-9._-]`.
fn parse_name(name: &[u8]) -> Option<&str> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > MAX_NAME || !name.iter().all(allowed) {
        return None;
    }
    std::str::from_utf8(name).ok()
}

/// The resolution in nanoseconds. **None**: left empty. A negative one has no meaning.
fn parse_quantum(value: &[u8]) -> Result<Option<u64>, Malformed> {
    match parse_reading(value, Unit::Milliseconds)? {
        Some(reading) => u64::try_from(reading.ns).map(Some).map_err(|_| Malformed),
        None if value.trim_ascii().is_empty() => Ok(None),
        None => Err(Malformed),
    }
}

/// Writes one value of `x-insight-hop`, for a forwarder that is written in Rust.
///
/// **Shape**: milliseconds with three decimals, cut to a microsecond, which is the resolution a
/// reader then assumes. A figure that is `None` is left out. The name is written as it is; one
/// that is not 1 to 64 bytes of `[A-Za-z0-9._-]` will be counted as malformed by every reader.
pub fn render_insight_hop(
    name: &str,
    downstream: Option<Duration>,
    upstream: Option<Duration>,
    connect: Option<Duration>,
) -> String {
    let mut value = name.to_owned();
    for (key, duration) in [("d", downstream), ("u", upstream), ("c", connect)] {
        if let Some(duration) = duration {
            let us = duration.as_micros();
            // Writing to a String cannot fail; there is nothing to tell a caller.
            let _ = write!(value, ";{key}={}.{:03}", us / 1000, us % 1000);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::figure::Figure;

    fn figure(ns: i64, bound: u64) -> Option<Figure> {
        Some(Figure { ns, below_ns: bound, above_ns: bound })
    }

    fn good(text: &str) -> HopTiming {
        let parsed = parse_insight_hop(text.as_bytes());
        assert!(!parsed.malformed, "{text:?} was called malformed");
        parsed.timing.unwrap()
    }

    #[test]
    fn every_key_is_read_in_its_unit() {
        let hop = good("mediary-a.eu_1;d=12.345;u=10;c=0.5");
        assert_eq!(hop.name, "mediary-a.eu_1");
        assert_eq!(hop.downstream, figure(12_345_000, 1_000));
        assert_eq!(hop.upstream, figure(10_000_000, 1_000_000));
        assert_eq!(hop.connect, figure(500_000, 100_000));
        let seconds = good("a;d_s=0.012;u_s=1;c_s=0.001");
        assert_eq!(seconds.downstream, figure(12_000_000, 1_000_000));
        assert_eq!(seconds.upstream, figure(1_000_000_000, 1_000_000_000));
        assert_eq!(seconds.connect, figure(1_000_000, 1_000_000));
        let micros = good("a;d_us=7;u_us=6.5;c_us=0");
        assert_eq!(micros.downstream, figure(7_000, 1_000));
        assert_eq!(micros.upstream, figure(6_500, 100));
        assert_eq!(micros.connect, figure(0, 1_000));
    }

    #[test]
    fn white_space_quotes_and_unknown_keys_do_no_harm() {
        let hop = good("a ; d=\"12\" ; D=x; dd=y; d_ms=z; note=\"a, b; c\" ; flag ;");
        assert_eq!(hop.downstream, figure(12_000_000, 1_000_000));
        assert_eq!(hop.upstream, None);
    }

    #[test]
    fn a_given_resolution_overrides_in_any_position() {
        for text in ["a;q=4;d=12.345;u=10", "a;d=12.345;u=10;q=4.0"] {
            let hop = good(text);
            assert_eq!(hop.downstream, figure(12_345_000, 4_000_000), "{text}");
            assert_eq!(hop.upstream, figure(10_000_000, 4_000_000), "{text}");
        }
        let twice = parse_insight_hop(b"a;d=1;q=4;q=5");
        assert_eq!((twice.malformed, twice.timing.unwrap().downstream), (true, figure(1_000_000, 4_000_000)));
        assert_eq!(good("a;d=1;q=0").downstream, figure(1_000_000, 0));
        assert_eq!(good("a;d=1;q=").downstream, figure(1_000_000, 1_000_000));
    }

    #[test]
    fn upstream_tries_are_summed() {
        let hop = good("a;d_s=0.050;u_s=\"0.010, 0.020 : -\";c_s=\"-, 0.001\"");
        assert_eq!(hop.upstream, figure(30_000_000, 2_000_000));
        assert_eq!(hop.connect, figure(1_000_000, 1_000_000));
    }

    #[test]
    fn lists_that_were_written_without_quotes_are_read_as_with_them() {
        let line = "far;d=9;u=1, near;d_s=0.032;u_s=0.010, 0.020 : -;c_s=0.000, -, 0.001";
        let mut headers = HeaderMap::new();
        headers.append(SOURCE.as_str(), line.parse().unwrap());
        let mut tally = Tally::default();
        let hops = read(&headers, None, &mut tally);
        let expected = good("near;d_s=0.032;u_s=\"0.010, 0.020 : -\";c_s=\"0.000, -, 0.001\"");
        assert_eq!(hops, [expected, good("far;d=9;u=1")]);
        assert_eq!(hops[0].upstream, figure(30_000_000, 2_000_000));
        assert_eq!(tally.into_evidence(Vec::new()).malformed, []);
    }

    #[test]
    fn a_bad_try_of_a_list_without_quotes_never_leaves_the_first_one_as_the_whole() {
        for line in ["a;d=9;u=1, 2 : x", "a;d=9;u=1, -x:"] {
            let mut headers = HeaderMap::new();
            headers.append(SOURCE.as_str(), line.parse().unwrap());
            let mut tally = Tally::default();
            let hops = read(&headers, None, &mut tally);
            let nearest = hops.iter().find(|hop| hop.name == "a").unwrap();
            assert_ne!(nearest.upstream, figure(1_000_000, 1_000_000), "{line}");
            assert_eq!(tally.into_evidence(Vec::new()).malformed.len(), 1, "{line}");
        }
    }

    #[test]
    fn what_proxies_really_write_is_read() {
        // nginx 1.22.1 after a refused first try; HAProxy 2.6.12. The snippets of docs/hop-timing.md.
        let nginx = good("gateway-b;d_s=0.032;u_s=\"-, 0.032\";c_s=\"-, 0.001\"");
        assert_eq!(nginx.downstream, figure(32_000_000, 1_000_000));
        assert_eq!(nginx.upstream, figure(32_000_000, 1_000_000));
        assert_eq!(nginx.connect, figure(1_000_000, 1_000_000));
        let haproxy = good("mediary-a;d_us=33350;u=\"0 : 33\";c=0");
        assert_eq!(haproxy.downstream, figure(33_350_000, 1_000));
        assert_eq!(haproxy.upstream, figure(33_000_000, 2_000_000));
        assert_eq!(haproxy.connect, figure(0, 1_000_000));
    }

    #[test]
    fn not_reached_is_not_known_and_not_malformed() {
        for text in
            ["a;u=-", "a;u=", "a;u", "a;u=\"\"", "a;u=\"-, - : -\"", "a;u=-1", "a;u_s=-0.001", "a;d=-1"]
        {
            let hop = good(text);
            assert_eq!((hop.downstream, hop.upstream), (None, None), "{text}");
        }
    }

    #[test]
    fn a_figure_that_cannot_be_read_costs_only_itself() {
        for text in
            ["a;d=1;u=x", "a;d=1;u=\"1, x\"", "a;u=3600001;d=1", "a;d=1;q=x", "a;d=1;q=-1", "a;d=1;d_s=2"]
        {
            let parsed = parse_insight_hop(text.as_bytes());
            assert!(parsed.malformed, "{text}");
            assert_eq!(parsed.timing.unwrap().downstream, figure(1_000_000, 1_000_000), "{text}");
        }
    }

    #[test]
    fn several_tries_of_the_downstream_time_are_malformed() {
        let parsed = parse_insight_hop(b"a;d=\"1, 2\"");
        assert!(parsed.malformed);
        assert_eq!(parsed.timing.unwrap().downstream, None);
    }

    #[test]
    fn a_bad_name_costs_the_whole_element() {
        let long = format!("{};d=1", "n".repeat(65));
        for text in
            ["", ";d=1", "a b;d=1", "a/b;d=1", "\"a\";d=1", "d=1", "é;d=1", "name-alone", long.as_str()]
        {
            let parsed = parse_insight_hop(text.as_bytes());
            assert_eq!(parsed, ParsedHop { timing: None, malformed: true }, "{text}");
        }
        assert_eq!(good(&long[1..]).name.len(), 64);
    }

    #[test]
    fn an_open_quote_costs_the_whole_element() {
        assert_eq!(parse_insight_hop(b"a;d=1;u=\"2"), ParsedHop { timing: None, malformed: true });
    }

    #[test]
    fn a_forwarder_in_rust_writes_what_a_reader_reads() {
        let text =
            render_insight_hop("a", Some(Duration::from_nanos(12_345_678)), None, Some(Duration::ZERO));
        assert_eq!(text, "a;d=12.345;c=0.000");
        assert_eq!(good(&text).downstream, figure(12_345_000, 1_000));
    }
}
