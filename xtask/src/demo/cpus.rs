//! What each hop's forwarder had of its CPUs, as the window's ledger tells it.

use super::ledgers::Ledgers;
use super::paint::Palette;
use super::status::{HopHost, Segment};
use ratatui::text::Line;

/// A line for each hop that tells; with `one`, for the busiest alone.
pub fn lines(ledgers: Ledgers<'_>, one: bool, style: Palette) -> Vec<Line<'static>> {
    let segments = || ledgers.window.into_iter().flat_map(|ledger| &ledger.segments);
    let known = |segment: &'_ Segment| Some((segment.name.strip_prefix("hop:")?.to_owned(), segment.host?));
    let mut hops: Vec<(String, HopHost)> = segments().filter_map(known).collect();
    if one {
        let busy = |(_, host): &(String, HopHost)| host.busy_ratio.unwrap_or(-1.0);
        let busiest = hops.into_iter().max_by(|one, other| busy(one).total_cmp(&busy(other)));
        hops = busiest.into_iter().collect();
    }
    let line = |(at, (hop, host)): (usize, &(String, HopHost))| {
        let title = if at == 0 { "cpus" } else { "" };
        Line::styled(format!(" {title:<14}{hop:<14}{}", words(*host)), style.faint())
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

    fn shown(one: bool) -> Vec<String> {
        let silent = Segment { host: None, ..segment("hop:mediary-b", None) };
        let segments =
            vec![segment("hop:mediary-a", Some(0.973)), silent, segment("hop:gateway-b", Some(0.2))];
        let ledger = Ledger { segments, ..Ledger::default() };
        let ledgers = Ledgers { probe: None, window: Some(&ledger) };
        lines(ledgers, one, Palette { colour: false }).iter().map(ToString::to_string).collect()
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
    fn where_room_is_short_the_busiest_stands_alone() {
        assert_eq!(shown(true).len(), 1);
        assert!(shown(true)[0].contains("mediary-a"));
    }
}
