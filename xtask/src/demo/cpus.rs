//! What each hop's forwarder had of its CPUs, as the window's ledger tells it.

use super::ledgers::Ledgers;
use super::paint::{Palette, clip};
use super::status::{HopHost, Segment};
use ratatui::text::Line;

/// Cells of the heading.
const TITLE: usize = 14;
/// Cells of a hop's name, unless one is longer and there is room.
const NAME: usize = 13;

/// A line for each hop that tells; with `one`, for the busiest alone. Where `width` is short, names
/// are cut rather than figures.
pub fn lines(ledgers: Ledgers<'_>, one: bool, width: usize, style: Palette) -> Vec<Line<'static>> {
    let segments = || ledgers.window.into_iter().flat_map(|ledger| &ledger.segments);
    let known = |segment: &'_ Segment| Some((segment.name.strip_prefix("hop:")?.to_owned(), segment.host?));
    let mut hops: Vec<(String, HopHost)> = segments().filter_map(known).collect();
    if one {
        let busy = |(_, host): &(String, HopHost)| host.busy_ratio.unwrap_or(-1.0);
        let busiest = hops.into_iter().max_by(|one, other| busy(one).total_cmp(&busy(other)));
        hops = busiest.into_iter().collect();
    }
    let longest = hops.iter().map(|(hop, _)| hop.chars().count()).max().unwrap_or(0);
    let figures = hops.iter().map(|(_, host)| words(*host).chars().count()).max().unwrap_or(0);
    // A blank in front of the heading, and one behind the name.
    let name = longest.max(NAME).min(width.saturating_sub(1 + TITLE + 1 + figures));
    let line = |(at, (hop, host)): (usize, &(String, HopHost))| {
        let title = if at == 0 { "cpus" } else { "" };
        let text = format!(" {title:<TITLE$}{:<name$} {}", clip(hop, name), words(*host));
        Line::styled(clip(&text, width), style.faint())
    };
    hops.iter().enumerate().map(line).collect()
}

/// What is not known is a dash, never 0.
fn words(host: HopHost) -> String {
    let busy = host.busy_ratio.map_or("—".into(), |ratio| format!("{:.0}", ratio * 100.0));
    let ratio = |ratio: Option<f64>| ratio.map_or("—".into(), |ratio| format!("{ratio:.1}"));
    format!(
        "busy {busy:>3} %  throttled {:>4} s/s  run delay {:>4} s/s",
        ratio(host.throttled_ratio),
        ratio(host.run_delay_ratio)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::status::Ledger;

    fn segment(name: &str, busy: Option<f64>) -> Segment {
        let host = HopHost { busy_ratio: busy, throttled_ratio: Some(0.84), run_delay_ratio: None };
        Segment { name: name.into(), host: Some(host), ..Segment::default() }
    }

    fn shown_of(segments: Vec<Segment>, one: bool, width: usize) -> Vec<String> {
        let ledger = Ledger { segments, ..Ledger::default() };
        let ledgers = Ledgers { probe: None, window: Some(&ledger) };
        lines(ledgers, one, width, Palette { colour: false }).iter().map(ToString::to_string).collect()
    }

    fn shown(one: bool) -> Vec<String> {
        let silent = Segment { host: None, ..segment("hop:mediary-b", None) };
        let all = vec![segment("hop:mediary-a", Some(0.973)), silent, segment("hop:gateway-b", Some(0.2))];
        shown_of(all, one, 79)
    }

    #[test]
    fn each_hop_that_tells_has_a_line_and_unknown_is_no_zero() {
        let expected = [
            " cpus          mediary-a     busy  97 %  throttled  0.8 s/s  run delay    — s/s",
            "               gateway-b     busy  20 %  throttled  0.8 s/s  run delay    — s/s",
        ];
        assert_eq!(shown(false), expected);
    }

    #[test]
    fn a_hop_that_knows_none_of_its_figures_shows_dashes_and_measured_nothings_are_zeros() {
        let known = HopHost { busy_ratio: Some(0.0), throttled_ratio: Some(0.0), run_delay_ratio: Some(0.0) };
        let host = |host| Segment { host: Some(host), ..segment("hop:mediary-a", None) };
        let expected = [
            " cpus          mediary-a     busy   — %  throttled    — s/s  run delay    — s/s",
            "               mediary-a     busy   0 %  throttled  0.0 s/s  run delay  0.0 s/s",
        ];
        assert_eq!(shown_of(vec![host(HopHost::default()), host(known)], false, 79), expected);
    }

    #[test]
    fn a_name_that_is_too_long_gives_way_to_the_figures() {
        let all = || vec![segment("hop:mediary-of-the-north", Some(0.973)), segment("hop:b", Some(1.0))];
        let expected = [
            " cpus          mediary-of-t… busy  97 %  throttled  0.8 s/s  run delay    — s/s",
            "               b             busy 100 %  throttled  0.8 s/s  run delay    — s/s",
        ];
        assert_eq!(shown_of(all(), false, 79), expected);
        let expected =
            " cpus          mediary-of-the-north busy  97 %  throttled  0.8 s/s  run delay    — s/s";
        assert_eq!(shown_of(all(), false, 100)[0], expected);
        for width in [0, 20, 39, 60, 78, 79] {
            assert!(
                shown_of(all(), false, width).iter().all(|line| line.chars().count() <= width),
                "{width}"
            );
        }
    }

    #[test]
    fn where_room_is_short_the_busiest_stands_alone() {
        assert_eq!(shown(true).len(), 1);
        assert!(shown(true)[0].contains("mediary-a"));
        // One that does not know how busy it is, is not the busiest.
        let all = vec![segment("hop:mediary-b", None), segment("hop:gateway-b", Some(0.0))];
        assert!(shown_of(all, true, 79)[0].contains("gateway-b"));
    }

    #[test]
    fn where_no_hop_tells_there_is_no_line() {
        let silent = || Segment { host: None, ..segment("hop:mediary-b", None) };
        for one in [false, true] {
            assert_eq!(shown_of(vec![silent()], one, 79), Vec::<String>::new());
        }
    }
}
