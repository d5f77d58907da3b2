//! `Server-Timing`: figures of hops that already write the W3C header. Its names are free text,
//! so configuration maps each one to a hop and a figure; every other name is somebody else's.
//!
//! **Source**: W3C Server Timing, section 4 (grammar, first parameter of a name wins, parameter
//! names are compared without case).

use super::elements::{Budget, split_name};
use super::number::{Reading, Unit, parse_reading};
use super::tally::Tally;
use super::{Malformed, lines};
use crate::model::figure::Figure;
use crate::model::hop::{HopSource, HopTiming};
use crate::model::plan::{ServerTimingMeaning, TimingFigure};
use http::HeaderMap;
use std::collections::BTreeMap;

const SOURCE: HopSource = HopSource::ServerTiming;

/// The hops that mapped entries speak of, nearest first. Nothing is read without a mapping.
pub(super) fn read(
    headers: &HeaderMap,
    meanings: &BTreeMap<String, ServerTimingMeaning>,
    tally: &mut Tally,
) -> Vec<HopTiming> {
    let mut hops: Vec<HopTiming> = Vec::new();
    if meanings.is_empty() {
        return hops;
    }
    let mut budget = Budget::new();
    for element in budget.nearest_first(lines(headers, SOURCE)) {
        let (name, duration) = parse_server_timing(element.text);
        let Some(meaning) = std::str::from_utf8(name).ok().and_then(|name| meanings.get(name)) else {
            continue;
        };
        let Ok(duration) = (if element.whole { duration } else { Err(Malformed) }) else {
            tally.malformed(SOURCE);
            continue;
        };
        let Some(figure) = duration else { continue };
        let at = hops.iter().position(|hop| hop.name == meaning.hop).unwrap_or(hops.len());
        if at == hops.len() {
            hops.push(HopTiming {
                name: meaning.hop.clone(),
                downstream: None,
                upstream: None,
                connect: None,
                source: SOURCE,
            });
        }
        let slot = match meaning.figure {
            TimingFigure::Downstream => &mut hops[at].downstream,
            TimingFigure::Upstream => &mut hops[at].upstream,
        };
        // A second hop writes the same name: the outermost was met first and stays.
        if slot.is_some() {
            tally.malformed(SOURCE);
        }
        slot.get_or_insert(figure);
    }
    tally.capped(SOURCE, budget.capped);
    hops
}

/// The name of one element, and its `dur`.
///
/// **Unit**: milliseconds. **None**: no `dur`, an empty or a negative one. **Errors**: a `dur`
/// that is no decimal number up to an hour.
pub fn parse_server_timing(element: &[u8]) -> (&[u8], Result<Option<Figure>, Malformed>) {
    let (name, parameters) = split_name(element);
    for parameter in parameters {
        match parameter {
            Err(Malformed) => return (name, Err(Malformed)),
            Ok((key, value)) if key.eq_ignore_ascii_case(b"dur") => {
                let reading = parse_reading(&value, Unit::Milliseconds);
                return (name, reading.map(|reading| reading.map(Reading::figure)));
            }
            Ok(_) => {}
        }
    }
    (name, Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ns: i64, bound: u64) -> Option<Figure> {
        Some(Figure { ns, below_ns: bound, above_ns: bound })
    }

    fn read_line(line: &str) -> (Vec<HopTiming>, Vec<(HopSource, u32)>) {
        let meaning = |figure| ServerTimingMeaning { hop: "gateway".into(), figure };
        let meanings = [
            ("gw".to_owned(), meaning(TimingFigure::Downstream)),
            ("up".to_owned(), meaning(TimingFigure::Upstream)),
        ]
        .into();
        let mut headers = HeaderMap::new();
        headers.append("server-timing", line.parse().unwrap());
        let mut tally = Tally::default();
        let hops = read(&headers, &meanings, &mut tally);
        (hops, tally.into_evidence(Vec::new()).malformed)
    }

    #[test]
    fn dur_is_found_among_other_parameters() {
        assert_eq!(
            parse_server_timing(b"gw;desc=\"a;dur=9\";DUR=12.5"),
            (&b"gw"[..], Ok(ms(12_500_000, 100_000)))
        );
        assert_eq!(parse_server_timing(b"gw ; dur=\"3\""), (&b"gw"[..], Ok(ms(3_000_000, 1_000_000))));
    }

    #[test]
    fn the_first_dur_counts_also_when_it_is_unreadable() {
        assert_eq!(parse_server_timing(b"gw;dur=1;dur=2").1, Ok(ms(1_000_000, 1_000_000)));
        assert_eq!(parse_server_timing(b"gw;dur=x;dur=2").1, Err(Malformed));
    }

    #[test]
    fn without_a_dur_nothing_is_known() {
        for text in ["gw", "gw;desc=x", "gw;dur", "gw;dur=-1"] {
            assert_eq!(parse_server_timing(text.as_bytes()).1, Ok(None), "{text}");
        }
    }

    #[test]
    fn two_names_of_one_hop_become_one_hop() {
        let (hops, malformed) = read_line("db;dur=1, gw;dur=12, up;dur=10");
        assert_eq!(hops.len(), 1);
        assert_eq!(
            (hops[0].downstream, hops[0].upstream),
            (ms(12_000_000, 1_000_000), ms(10_000_000, 1_000_000))
        );
        assert_eq!(malformed, []);
    }

    #[test]
    fn of_two_entries_with_one_name_the_outermost_is_kept() {
        let (hops, malformed) = read_line("gw;dur=1, gw;dur=2");
        assert_eq!(hops[0].downstream, ms(2_000_000, 1_000_000));
        assert_eq!(malformed, [(SOURCE, 1)]);
    }

    #[test]
    fn an_open_quote_spoils_the_entry_also_behind_its_dur() {
        assert_eq!(read_line("gw;dur=5;desc=\"open"), (Vec::new(), vec![(SOURCE, 1)]));
    }

    #[test]
    fn only_mapped_names_can_be_malformed() {
        let (hops, malformed) = read_line("x;dur=\"open, gw;dur=bad, y;dur=bad, up;dur=4");
        assert_eq!(hops[0].upstream, ms(4_000_000, 1_000_000));
        assert_eq!(malformed, [(SOURCE, 1)]);
    }
}
