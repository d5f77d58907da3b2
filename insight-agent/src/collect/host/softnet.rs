//! What did each CPU do with the packets it was given?
//!
//! **Source**: `/proc/net/softnet_stat`, hexadecimal, a line per online CPU: field 1 processed, 2
//! dropped, 3 times squeezed, 13 the CPU's number (since 5.10). `procfs` has no reader for it.

use crate::model::host::{MAX_CPUS, SoftnetTotals};
use std::collections::BTreeMap;

/// The column of the CPU's number.
const NUMBER: usize = 12;

/// By CPU number; without that column by position. **None**: a line with less than three numbers,
/// or no line.
pub(super) fn parse(text: &str) -> Option<BTreeMap<u32, SoftnetTotals>> {
    let mut cpus = BTreeMap::new();
    for (line, position) in text.lines().zip(0..MAX_CPUS) {
        let words = line.split_ascii_whitespace().map(|word| u64::from_str_radix(word, 16).ok());
        let fields: Vec<u64> = words.collect::<Option<_>>()?;
        let &[processed, dropped, times_squeezed, ..] = fields.as_slice() else { return None };
        let number = match fields.get(NUMBER) {
            Some(&number) => u32::try_from(number).ok().filter(|number| *number < MAX_CPUS)?,
            None => position,
        };
        cpus.insert(number, SoftnetTotals { processed, dropped, times_squeezed });
    }
    (!cpus.is_empty()).then_some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thirteenth_field_is_the_cpu() {
        let text = "0000000a 00000001 00000018 0 0 0 0 0 0 1 0 0 00000003 0 0\n0000000b 0 0 0 0 0 0 0 0 1 0 0 00000005 0 0\n";
        let cpus = parse(text).unwrap();
        assert_eq!(cpus[&3], SoftnetTotals { processed: 10, dropped: 1, times_squeezed: 24 });
        assert_eq!(cpus[&5].processed, 11);
    }

    #[test]
    fn an_old_kernels_lines_are_counted_through() {
        assert_eq!(parse("1 0 0\n2 0 0\n").unwrap().keys().copied().collect::<Vec<_>>(), [0, 1]);
        for text in ["", "1 0\n", "1 0 g\n", "\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
