//! Sizes as the configuration writes them: `"512B"`, `"64KiB"`, `"4MiB"`.

use super::quantity::{QuantityError, Units};

const UNITS: Units = Units {
    sort: "size",
    units: &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)],
    // A decimal kilobyte is never meant for a buffer; the answer names the binary unit.
    misspelled: &[
        ("b", "B"),
        ("byte", "B"),
        ("bytes", "B"),
        ("k", "KiB"),
        ("kb", "KiB"),
        ("kib", "KiB"),
        ("m", "MiB"),
        ("mb", "MiB"),
        ("mib", "MiB"),
        ("g", "GiB"),
        ("gb", "GiB"),
        ("gib", "GiB"),
    ],
    likely: "B",
    smallest: "bytes",
};

/// Reads a size with its unit (B, KiB, MiB or GiB) into bytes.
///
/// **Errors**: no unit, an unknown one, no number, a fraction of a byte, or too large.
pub fn parse(text: &str) -> Result<u64, QuantityError> {
    UNITS.parse(text)
}

/// Writes a number of bytes exactly, in the largest unit that gives a whole number.
pub fn render(bytes: u64) -> String {
    UNITS.render(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_read() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("4MiB", 4 << 20),
            ("0.5KiB", 512),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_decimal_unit_is_answered_with_the_binary_one() {
        let error = parse("64kB").unwrap_err();
        assert_eq!(format!("{error}; {}", error.advice()), "\"kB\" is no unit of a size; write \"64KiB\"");
    }

    #[test]
    fn a_bare_number_is_answered_with_bytes() {
        let error = parse("512").unwrap_err();
        assert_eq!(format!("{error}; {}", error.advice()), "a size needs a unit; write \"512B\"");
    }

    #[test]
    fn a_fraction_of_a_byte_is_refused() {
        assert!(matches!(parse("0.3KiB"), Err(QuantityError::TooFine { .. })));
    }

    proptest! {
        #[test]
        fn what_is_rendered_reads_back(bytes: u64) {
            prop_assert_eq!(parse(&render(bytes)), Ok(bytes));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
