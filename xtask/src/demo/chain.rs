//! The path as one line of nodes, with the time in each node and on each link below it.

use super::paint::{Palette, clip, milliseconds};
use super::status::Ledger;
use ratatui::text::Line;

/// The lab's path, for as long as no ledger says what it is.
const EXPECTED: [&str; 5] = ["eu", "mediary-a", "mediary-b", "gateway-b", "service"];

/// The ends of the link that crosses the regions.
const WAN: (&str, &str) = ("mediary-a", "mediary-b");

/// The nodes in path order, and the links between them.
#[derive(Debug, PartialEq)]
struct Chain {
    nodes: Vec<(String, Option<f64>)>,
    /// One less than nodes: seconds on the link behind each node but the last.
    links: Vec<Option<f64>>,
}

impl Chain {
    /// Follows the ledger's links; hops and the service give their nodes a time.
    fn of(ledger: Option<&Ledger>) -> Self {
        let mut chain = Self { nodes: Vec::new(), links: Vec::new() };
        for segment in ledger.iter().flat_map(|ledger| &ledger.segments) {
            let (kind, rest) = segment.name.split_once(':').unwrap_or((&segment.name, ""));
            match kind {
                "link" => {
                    let (from, to) = rest.split_once('>').unwrap_or((rest, "?"));
                    if chain.nodes.is_empty() {
                        chain.nodes.push((from.into(), None));
                    }
                    chain.links.push(segment.seconds);
                    chain.nodes.push((to.into(), None));
                }
                "hop" => {
                    if let Some(node) = chain.nodes.iter_mut().find(|(name, _)| name == rest) {
                        node.1 = segment.seconds;
                    }
                }
                "service" => {
                    if let Some(node) = chain.nodes.last_mut() {
                        node.1 = segment.seconds;
                    }
                }
                _ => {} // the transfer is not a place
            }
        }
        if chain.nodes.is_empty() {
            chain.nodes = EXPECTED.map(|name| (name.to_owned(), None)).into();
            chain.links = vec![None; EXPECTED.len() - 1];
        }
        chain
    }
}

/// Two lines: names joined by links, and the milliseconds below.
pub fn lines(ledger: Option<&Ledger>, width: usize, style: Palette) -> Vec<Line<'static>> {
    let chain = Chain::of(ledger);
    let time = |seconds: Option<f64>| if ledger.is_some() { milliseconds(seconds) } else { String::new() };
    let cells: Vec<(String, String)> = chain
        .nodes
        .iter()
        .enumerate()
        // The first node is the prober, where no time of the path is spent.
        .map(|(index, (name, seconds))| {
            (name.clone(), if index == 0 { String::new() } else { time(*seconds) })
        })
        .collect();
    let width_of = |(name, time): &(String, String)| name.chars().count().max(time.chars().count());
    let taken: usize = cells.iter().map(width_of).sum::<usize>() + 2;
    // A link needs room for its time and for ` WAN ` in its line.
    let link = (width.saturating_sub(taken) / chain.links.len().max(1)).clamp(9, 24);
    let (mut names, mut times) = (String::from(" "), String::from(" "));
    for (index, cell) in cells.iter().enumerate() {
        let wide = width_of(cell);
        names += &format!("{:^wide$}", cell.0);
        times += &format!("{:^wide$}", cell.1);
        if let Some(seconds) = chain.links.get(index) {
            let next = cells.get(index + 1).map_or("", |(name, _)| name);
            names += &match (cell.0.as_str(), next) == WAN {
                true => format!(" {:═^1$} ", " WAN ", link - 2),
                false => format!(" {:─^1$} ", "", link - 2),
            };
            times += &format!("{:^link$}", time(*seconds));
        }
    }
    let times = Line::styled(clip(times.trim_end(), width), style.faint());
    vec![Line::styled(clip(&names, width), style.strong()), times]
}
