//! Durations as the configuration writes them: `"250ms"`, `"5s"`, `"1m"`.

use super::quantity::{QuantityError, Units};
use std::time::Duration;

const UNITS: Units = Units {
    sort: "duration",
    units: &[
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ],
    misspelled: &[
        ("sec", "s"),
        ("secs", "s"),
        ("second", "s"),
        ("seconds", "s"),
        ("min", "m"),
        ("mins", "m"),
        ("minute", "m"),
        ("minutes", "m"),
        ("hr", "h"),
        ("hour", "h"),
        ("hours", "h"),
        ("msec", "ms"),
        ("millis", "ms"),
        ("milliseconds", "ms"),
        ("\u{b5}s", "us"),
        ("\u{3bc}s", "us"),
        ("usec", "us"),
        ("micros", "us"),
        ("nanos", "ns"),
        ("nsec", "ns"),
    ],
    likely: "s",
    smallest: "nanoseconds",
};

/// Reads a duration with its unit: ns, us, ms, s, m or h; at most 2⁶⁴ − 1 ns (584 years).
///
/// **Errors**: no unit, an unknown one, no number, digits finer than a nanosecond, or too large.
pub fn parse(text: &str) -> Result<Duration, QuantityError> {
    UNITS.parse(text).map(Duration::from_nanos)
}

/// Writes a duration exactly, in the largest unit that gives a whole number.
///
/// Durations beyond 584 years are written as that bound; none of the configuration's is near it.
pub fn render(duration: Duration) -> String {
    UNITS.render(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_read() {
        for (text, nanos) in [
            ("7ns", 7),
            ("250us", 250_000),
            ("250ms", 250_000_000),
            ("5s", 5_000_000_000),
            ("0.5s", 500_000_000),
            ("1.50s", 1_500_000_000),
            ("5 s", 5_000_000_000),
            ("1m", 60_000_000_000),
            ("1h", 3_600_000_000_000),
            ("0ms", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_answered_with_seconds() {
        let error = parse("5").unwrap_err();
        assert_eq!(format!("{error}; {}", error.advice()), "a duration needs a unit; write \"5s\"");
    }

    #[test]
    fn a_misspelled_unit_is_answered_with_the_right_one() {
        let error = parse("5 sec").unwrap_err();
        assert_eq!(format!("{error}; {}", error.advice()), "\"sec\" is no unit of a duration; write \"5s\"");
        assert!(parse("3\u{b5}s").unwrap_err().advice().contains("3us"));
        assert!(parse("3 fortnights").unwrap_err().advice().contains("ns, us, ms, s, m, h"));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "-5s", "+5s", "1..2s", "1.s", ".5s", "five", "1e3s", "1m30s"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(matches!(parse("0.5ns"), Err(QuantityError::TooFine { .. })));
        assert!(matches!(parse("99999999999999999999s"), Err(QuantityError::TooLarge { .. })));
        assert!(matches!(parse("6000000h"), Err(QuantityError::TooLarge { .. })));
    }

    #[test]
    fn zero_is_written_in_seconds() {
        assert_eq!(render(Duration::ZERO), "0s");
        assert_eq!(render(Duration::from_millis(1500)), "1500ms");
        assert_eq!(render(Duration::from_secs(120)), "2m");
    }

    proptest! {
        #[test]
        fn what_is_rendered_reads_back(nanos: u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&render(duration)), Ok(duration));
        }

        #[test]
        fn round_figures_read_back(count in 0u64..10_000, unit in 0usize..6) {
            let duration = Duration::from_nanos(count * UNITS.units[unit].1);
            prop_assert_eq!(parse(&render(duration)), Ok(duration));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn number_like_text_never_panics(text in "[0-9]{0,40}\\.?[0-9]{0,40}(ns|us|ms|s|m|h|x)?") {
            let _ = parse(&text);
        }
    }
}
