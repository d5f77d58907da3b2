//! How many sockets are there, and what memory do they hold?
//!
//! **Source**: `/proc/net/sockstat` and `sockstat6` (absent without IPv6), of the reader's network
//! namespace. `procfs` has no reader for them.

use super::root::Source;
use crate::model::host::Figures;

/// All figures by node_exporter's names. **None**: neither file is there.
pub(super) fn read(source: &Source<'_>) -> Option<Figures> {
    let page_bytes = procfs::page_size();
    let parse = |text: &str| parse(text, page_bytes);
    let files = [source.read("proc/net/sockstat", parse), source.read("proc/net/sockstat6", parse)];
    files.into_iter().flatten().reduce(|mut all, more| {
        all.extend(more);
        all
    })
}

/// Lines of a protocol and pairs of name and number. `mem` is in pages, and shown in bytes too.
/// **None**: another line, or none.
pub(super) fn parse(text: &str, page_bytes: u64) -> Option<Figures> {
    let mut figures = Figures::new();
    for line in text.lines() {
        let (protocol, pairs) = line.split_once(':')?;
        let mut words = pairs.split_ascii_whitespace();
        while let Some(name) = words.next() {
            let value: i64 = words.next()?.parse().ok()?;
            figures.insert(format!("{protocol}_{name}"), value as f64);
            if name == "mem" {
                figures.insert(format!("{protocol}_mem_bytes"), value as f64 * page_bytes as f64);
            }
        }
    }
    (!figures.is_empty()).then_some(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_in_pages_and_bytes() {
        let figures = parse("sockets: used 18\nTCP: inuse 2 mem 3\nFRAG: inuse 0 memory 5\n", 4096).unwrap();
        assert_eq!(figures["sockets_used"], 18.0);
        assert_eq!((figures["TCP_mem"], figures["TCP_mem_bytes"]), (3.0, 12_288.0));
        assert_eq!(figures["FRAG_memory"], 5.0);
    }

    #[test]
    fn a_name_without_a_number_gives_none() {
        for text in ["", "TCP: inuse\n", "TCP: inuse x\n", "TCP inuse 1\n"] {
            assert_eq!(parse(text, 4096), None, "{text:?}");
        }
    }
}
