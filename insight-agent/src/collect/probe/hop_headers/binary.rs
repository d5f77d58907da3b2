//! Which bytes does a `-bin` header carry?

use super::tally::Tally;
use super::{MAX_BYTES, Malformed, lines_of};
use crate::model::hop::HopSource;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;

/// What gRPC demands of readers: base64 with or without padding. Bits that are left over in the
/// last character are let pass, as other implementations do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The bytes of one value.
pub(super) fn decode(value: &[u8]) -> Result<Vec<u8>, Malformed> {
    BASE64.decode(value.trim_ascii()).map_err(|_| Malformed)
}

/// The value that the service itself wrote: the first one, since whoever forwards it appends.
/// Trailers first; an answer without a body has everything in its headers.
///
/// **None**: there is none, or it is longer than the cap (which is counted). Further values are
/// counted as malformed: there is one service.
pub(super) fn first_value<'a>(
    headers: &'a HeaderMap,
    trailers: Option<&'a HeaderMap>,
    name: &str,
    source: HopSource,
    tally: &mut Tally,
) -> Option<&'a [u8]> {
    let holder = trailers.filter(|trailers| trailers.contains_key(name)).unwrap_or(headers);
    let mut values = lines_of(holder, name);
    let first = values.next()?;
    values.for_each(|_| tally.malformed(source));
    if first.len() > MAX_BYTES {
        tally.capped(source, 1);
        return None;
    }
    Some(first)
}
