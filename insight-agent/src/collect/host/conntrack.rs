//! How full is the table of tracked connections, and what did it lose?
//!
//! **Source**: `/proc/sys/net/netfilter/nf_conntrack_{count,max}` and
//! `/proc/net/stat/nf_conntrack`: a line of names, then hexadecimal figures of each CPU. `procfs`
//! has no reader for them.

use super::root::Source;
use crate::model::host::Figures;

/// All figures by node_exporter's names. **None**: the kernel does not track connections.
pub(super) fn read(source: &Source<'_>) -> Option<Figures> {
    let mut figures = source.read("proc/net/stat/nf_conntrack", parse).unwrap_or_default();
    for (name, file) in [("entries", "nf_conntrack_count"), ("entries_limit", "nf_conntrack_max")] {
        let value = source.number(format!("proc/sys/net/netfilter/{file}"));
        figures.extend(value.map(|value| (name.to_owned(), value as f64)));
    }
    (!figures.is_empty()).then_some(figures)
}

/// The figures added up over the CPUs, `stat_` before their names. **None**: no names, or a line
/// that has another number of figures.
pub(super) fn parse(text: &str) -> Option<Figures> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let mut sums = vec![0.0; names.len()];
    for line in lines {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if words.len() != names.len() {
            return None;
        }
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum += u64::from_str_radix(word, 16).ok()? as f64;
        }
    }
    let figures: Figures = names.into_iter().map(|name| format!("stat_{name}")).zip(sums).collect();
    (!figures.is_empty()).then_some(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_added_up_by_name() {
        let figures = parse("entries clashres found insert_failed\n0a 0 1 10\n0a 0 2 01\n").unwrap();
        assert_eq!((figures["stat_found"], figures["stat_insert_failed"]), (3.0, 17.0));
    }

    #[test]
    fn another_number_of_figures_gives_none() {
        for text in ["", "\n", "entries found\n0a\n", "entries found\n0a 1 2\n", "entries found\n0a xy\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
