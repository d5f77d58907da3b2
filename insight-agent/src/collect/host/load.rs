//! How many threads ran or wanted to?
//!
//! **Source**: `/proc/loadavg`, its first three fields. An own reader: `procfs::LoadAverage` has
//! them as `f32`, and 0.29 would be shown as 0.28999999165534973.

use crate::model::host::Load;

/// **None**: fewer than three numbers.
pub(super) fn parse(text: &str) -> Option<Load> {
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next()?.parse().ok().filter(|load: &f64| load.is_finite());
    Some(Load { one: next()?, five: next()?, fifteen: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_averages_in_their_order() {
        let load = parse("0.29 1.50 2.00 4/165 22463\n");
        assert_eq!(load, Some(Load { one: 0.29, five: 1.5, fifteen: 2.0 }));
        assert_eq!(parse("0.29 1.50"), None);
        assert_eq!(parse("0.29 1.50 inf 4/165 1"), None);
    }
}
