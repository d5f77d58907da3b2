//! What duration does a decimal text say, and how finely does it say it?
//!
//! The text itself tells its resolution: `12` ms was counted in milliseconds, `12.000` ms in
//! microseconds. So numbers are read digit by digit; a float would lose that.

use super::Malformed;
use crate::model::figure::Figure;

/// The longest duration that is believed: one hour. Nobody waits longer for a probe, and a larger
/// value is a point in time, or a unit mixed up.
pub(super) const MAX_NS: u64 = 3_600_000_000_000;

/// The unit a key is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
}

impl Unit {
    /// How many decimal places lie between this unit and a nanosecond.
    const fn places(self) -> u32 {
        match self {
            Self::Seconds => 9,
            Self::Milliseconds => 6,
            Self::Microseconds => 3,
        }
    }
}

/// A duration that was read, with one unit of its last written digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) ns: i64,
    pub(super) quantum_ns: u64,
}

impl Reading {
    /// Both ends of the duration were cut to the quantum, in either direction by less than one.
    pub(super) fn figure(self) -> Figure {
        Figure { ns: self.ns, below_ns: self.quantum_ns, above_ns: self.quantum_ns }
    }
}

/// A figure that may be the sum of several tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) figure: Figure,
    /// How many readings it was made of; at least 1.
    pub(super) tries: u32,
}

impl Sum {
    /// The figure when each of its readings has the resolution `quantum_ns` (`None`: as written).
    pub(super) fn with_quantum(self, quantum_ns: Option<u64>) -> Figure {
        let Some(quantum_ns) = quantum_ns else { return self.figure };
        let bound = quantum_ns.saturating_mul(u64::from(self.tries));
        Figure { below_ns: bound, above_ns: bound, ..self.figure }
    }
}

/// Reads one duration: digits, and perhaps a point and more digits.
///
/// **None**: not known, which proxies write as an empty text, `-` (nginx) or a negative number
/// (HAProxy). **Errors**: anything else that is no such number, or more than an hour.
pub(super) fn parse_reading(text: &[u8], unit: Unit) -> Result<Option<Reading>, Malformed> {
    let text = text.trim_ascii();
    if matches!(text, b"" | b"-") {
        return Ok(None);
    }
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mut ns: u64 = 0;
    let mut places_left = unit.places();
    let mut in_fraction = false;
    // A digit must stand on both sides of the point, and at the end.
    let mut behind_digit = false;
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                behind_digit = true;
                if in_fraction && places_left == 0 {
                    // Finer than a nanosecond: below every bound of ours.
                    continue;
                }
                places_left -= u32::from(in_fraction);
                ns = ns.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
            }
            b'.' if behind_digit && !in_fraction => {
                behind_digit = false;
                in_fraction = true;
            }
            _ => return Err(Malformed),
        }
    }
    if !behind_digit {
        return Err(Malformed);
    }
    if negative {
        return Ok(None);
    }
    let quantum_ns = 10_u64.pow(places_left);
    let ns = ns.saturating_mul(quantum_ns);
    if ns > MAX_NS {
        return Err(Malformed);
    }
    let ns = i64::try_from(ns).map_err(|_| Malformed)?;
    Ok(Some(Reading { ns, quantum_ns }))
}

/// Reads the sum of nginx's upstream tries: separated by `,` within a group and by `:` between
/// groups, `-` for a try that did not get that far.
///
/// **None**: no try got that far. **Errors**: one of the tries cannot be read, or their sum is
/// more than an hour.
pub(super) fn parse_tries(text: &[u8], unit: Unit) -> Result<Option<Sum>, Malformed> {
    let mut sum: Option<Sum> = None;
    for one in text.split(|byte| matches!(byte, b',' | b':')) {
        let Some(reading) = parse_reading(one, unit)? else { continue };
        let figure = reading.figure();
        sum = Some(match sum {
            None => Sum { figure, tries: 1 },
            Some(sum) => Sum { figure: sum.figure.plus(figure), tries: sum.tries.saturating_add(1) },
        });
    }
    match sum {
        Some(sum) if u64::try_from(sum.figure.ns).map_or(true, |ns| ns > MAX_NS) => Err(Malformed),
        sum => Ok(sum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Unit::{Microseconds, Milliseconds, Seconds};

    fn read(text: &str, unit: Unit) -> Result<Option<(i64, u64)>, Malformed> {
        Ok(parse_reading(text.as_bytes(), unit)?.map(|reading| (reading.ns, reading.quantum_ns)))
    }

    #[test]
    fn the_last_written_digit_is_the_resolution() {
        assert_eq!(read("12", Milliseconds), Ok(Some((12_000_000, 1_000_000))));
        assert_eq!(read("12.345", Milliseconds), Ok(Some((12_345_000, 1_000))));
        assert_eq!(read("0.012", Seconds), Ok(Some((12_000_000, 1_000_000))));
        assert_eq!(read("12.000", Milliseconds), Ok(Some((12_000_000, 1_000))));
        assert_eq!(read("7", Microseconds), Ok(Some((7_000, 1_000))));
        assert_eq!(read("0", Milliseconds), Ok(Some((0, 1_000_000))));
    }

    #[test]
    fn digits_below_a_nanosecond_are_cut() {
        assert_eq!(read("0.0015999", Microseconds), Ok(Some((1, 1))));
        assert_eq!(read(&format!("1.{}", "9".repeat(400)), Seconds), Ok(Some((1_999_999_999, 1))));
    }

    #[test]
    fn what_proxies_write_for_not_reached_is_not_known() {
        for text in ["", " ", "-", "-1", "-1.000", "-0"] {
            assert_eq!(read(text, Milliseconds), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_plain_decimal_is_malformed() {
        for text in ["x", "1x", ".5", "5.", ".", "+1", "1e3", "1.2.3", "--1", "-x", "1 2", "0x10", "NaN", "١"]
        {
            assert_eq!(read(text, Milliseconds), Err(Malformed), "{text:?}");
        }
    }

    #[test]
    fn more_than_an_hour_is_malformed() {
        assert_eq!(read("3600", Seconds), Ok(Some((3_600_000_000_000, 1_000_000_000))));
        assert_eq!(read("3600.000000001", Seconds), Err(Malformed));
        assert_eq!(read(&"9".repeat(400), Microseconds), Err(Malformed));
    }

    #[test]
    fn tries_add_up_with_their_bounds() {
        let sum = parse_tries(b"0.010, 0.002 : -, 0.1", Seconds).unwrap().unwrap();
        assert_eq!(sum.tries, 3);
        assert_eq!(sum.figure, Figure { ns: 112_000_000, below_ns: 102_000_000, above_ns: 102_000_000 });
    }

    #[test]
    fn no_reached_try_is_not_known() {
        assert_eq!(parse_tries(b"-, - : -", Seconds), Ok(None));
        assert_eq!(parse_tries(b"", Seconds), Ok(None));
    }

    #[test]
    fn one_bad_try_spoils_the_sum() {
        assert_eq!(parse_tries(b"0.010, oops", Seconds), Err(Malformed));
        assert_eq!(parse_tries(b"3000, 3000", Seconds), Err(Malformed));
    }

    #[test]
    fn a_given_resolution_counts_once_per_try() {
        let sum = parse_tries(b"1, 2", Milliseconds).unwrap().unwrap();
        assert_eq!(sum.with_quantum(Some(4)), Figure { ns: 3_000_000, below_ns: 8, above_ns: 8 });
        assert_eq!(sum.with_quantum(None), sum.figure);
    }
}
