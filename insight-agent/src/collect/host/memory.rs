//! How is memory used?
//!
//! **Source**: `/proc/meminfo`. An own reader: `procfs::Meminfo` knows a fixed set of fields and
//! fails where one of a dozen is missing; node_exporter's names follow from the file's own, also
//! for fields that a later kernel adds.

use crate::model::host::Figures;

/// By node_exporter's names: `Active(anon)` in kB is `Active_anon_bytes`, and what has no unit is
/// a number of pages. **None**: a line that is no field, or no field at all.
pub(super) fn parse(text: &str) -> Option<Figures> {
    let mut figures = Figures::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(field) = words.next() else { continue };
        let mut name = field.strip_suffix(':')?.replace('(', "_").replace(')', "");
        let mut value = words.next()?.parse::<u64>().ok()? as f64;
        match (words.next(), words.next()) {
            (None, _) => {}
            (Some("kB"), None) => {
                name.push_str("_bytes");
                value *= 1024.0;
            }
            _ => return None,
        }
        figures.insert(name, value);
    }
    (!figures.is_empty()).then_some(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_become_bytes_and_huge_pages_stay_numbers() {
        let text = "MemTotal:       24684084 kB\n\nActive(anon):  5 kB\nHugePages_Total:       3\nHugepagesize:    2048 kB\n";
        let figures = parse(text).unwrap();
        assert_eq!(figures["MemTotal_bytes"], 24_684_084.0 * 1024.0);
        assert_eq!(figures["Active_anon_bytes"], 5.0 * 1024.0);
        assert_eq!(figures["HugePages_Total"], 3.0);
        assert_eq!(figures["Hugepagesize_bytes"], 2_097_152.0);
    }

    #[test]
    fn another_unit_a_letter_and_a_cut_line_give_none() {
        for text in
            ["MemTotal: 1 MB\n", "MemTotal: x kB\n", "MemTotal:\n", "MemTotal 1 kB\n", "A: 1 kB 2\n", ""]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
