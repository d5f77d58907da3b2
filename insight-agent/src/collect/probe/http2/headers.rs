//! The header fields of an answer, checked.
//!
//! **Source**: RFC 9113, sections 8.1, 8.2 and 8.3.2.

use super::error::Break;
use super::hpack::{BadBlock, Decoder, ENTRY_OVERHEAD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Most bytes of the fields of one answer, or of its trailers: four times what common proxies send at most.
/// A longer list fails its stream, not the connection.
pub(in crate::collect::probe) const LIST_MOST: u32 = 256 * 1024;
/// Most bytes of a block on the wire. Beyond, the connection is given up: what is not read cannot be left out.
pub(super) const BLOCK_MOST: usize = 4 * LIST_MOST as usize;

/// Fields that are about one connection of HTTP/1.1, and have no place here.
const OF_CONNECTIONS: [&str; 5] =
    ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection"];

/// The fields of a block.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// **None**: trailers have none.
    pub(super) status: Option<StatusCode>,
    pub(super) map: HeaderMap,
}

/// Reads a block. The inner error is of its stream alone.
pub(super) fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Result<Fields, Break>, BadBlock> {
    let mut fields = Fields::default();
    let (mut size, mut bad) = (0, None);
    decoder.read(block, |name, value| {
        size += name.len() + value.len() + ENTRY_OVERHEAD;
        if size > LIST_MOST as usize {
            bad = Some(Break::TooManyHeaders);
        }
        if bad.is_none()
            && let Err(why) = add(&mut fields, name, value)
        {
            bad = Some(Break::Malformed(why));
        }
    })?;
    Ok(match bad {
        Some(bad) => Err(bad),
        None => Ok(fields),
    })
}

fn add(fields: &mut Fields, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    if name.first() == Some(&b':') {
        if name != b":status" || fields.status.is_some() || !fields.map.is_empty() {
            return Err("a pseudo-header field that has no place there");
        }
        fields.status = Some(StatusCode::from_bytes(value).map_err(|_| "a :status that is none")?);
        return Ok(());
    }
    // Upper case is refused with the rest.
    let name = HeaderName::from_lowercase(name).map_err(|_| "the name of a field")?;
    if OF_CONNECTIONS.contains(&name.as_str()) {
        return Err("a field about a connection of HTTP/1.1");
    }
    let value = HeaderValue::from_bytes(value).map_err(|_| "the value of a field")?;
    fields.map.try_append(name, value).map_err(|_| "too many fields")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::hpack;
    use super::*;

    fn read_fields(fields: &[(&str, &str)]) -> Result<Fields, Break> {
        let mut block = Vec::new();
        fields
            .iter()
            .for_each(|(name, value)| hpack::write_field(&mut block, name.as_bytes(), value.as_bytes()));
        read(&mut Decoder::default(), &block).unwrap()
    }

    #[test]
    fn an_answer_has_a_status_and_fields_in_order() {
        let fields = read_fields(&[(":status", "200"), ("a", "1"), ("b", ""), ("a", "2")]).unwrap();
        assert_eq!(fields.status, Some(StatusCode::OK));
        assert_eq!(fields.map.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(fields.map["b"], "");
        assert_eq!(read_fields(&[("grpc-status", "0")]).unwrap().status, None);
    }

    #[test]
    fn what_breaks_the_rules_is_malformed() {
        for fields in [
            &[(":status", "200"), (":status", "200")][..],
            &[("a", "1"), (":status", "200")],
            &[(":path", "/")],
            &[(":status", "ok")],
            &[(":status", "20")],
            &[("Upper", "1")],
            &[("with space", "1")],
            &[("", "1")],
            &[("a", "line\nbreak")],
            &[("connection", "close")],
            &[("transfer-encoding", "chunked")],
        ] {
            assert!(matches!(read_fields(fields), Err(Break::Malformed(_))), "{fields:?}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_read_to_its_end_and_refused() {
        let long = "x".repeat(100 * 1024);
        let fields = [("a", long.as_str()), ("b", &long), ("c", &long)];
        assert!(read_fields(&fields[..2]).is_ok());
        assert_eq!(read_fields(&fields).unwrap_err(), Break::TooManyHeaders);
    }
}
