//! `x-insight-service`: the receiver's own duration, taken once more when it writes its trailers.

use super::elements::Parameters;
use super::number::{Reading, Unit, parse_reading};
use crate::model::figure::Figure;

/// Reads `d=<milliseconds>` from the trailer's value; other keys are ignored.
///
/// **Unit**: the bound is one unit of the last written digit, in both directions. **None**: there
/// is no `d`, or it cannot be read, is negative, or is more than an hour.
pub fn parse_service_trailer(value: &[u8]) -> Option<Figure> {
    for parameter in Parameters::of(value) {
        let (key, value) = parameter.ok()?;
        if key == b"d" {
            return parse_reading(&value, Unit::Milliseconds).ok()?.map(Reading::figure);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_come_back_with_their_resolution() {
        let figure = Some(Figure { ns: 12_345_678, below_ns: 1, above_ns: 1 });
        assert_eq!(parse_service_trailer(b"d=12.345678"), figure);
        assert_eq!(parse_service_trailer(b" later=1 ; d=12.345678"), figure);
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        for text in ["", "d", "d=", "d=x", "d=-1", "12", "d=3600001", "d=\"1"] {
            assert_eq!(parse_service_trailer(text.as_bytes()), None, "{text}");
        }
    }
}
