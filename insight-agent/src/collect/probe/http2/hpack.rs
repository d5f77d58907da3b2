//! Header fields on the wire: HPACK, as much of it as a client needs that keeps thousands of connections.
//!
//! This end writes fields without a dynamic table, so that what a probe asks is the same bytes on every
//! connection, written once. It tells its peers to keep none either (SETTINGS_HEADER_TABLE_SIZE = 0), and reads
//! one all the same: until they have heard of that, they may use the 4 KiB of the default.
//!
//! **Source**: RFC 7541.

use super::huffman;
use std::collections::VecDeque;

/// Most bytes of a dynamic table: the default, which is never raised.
const TABLE_MOST: usize = 4096;
/// What an entry counts besides its texts. **Source**: section 4.1.
pub(super) const ENTRY_OVERHEAD: usize = 32;

/// **Source**: appendix A.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""),
    ("cache-control", ""), ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""),
    ("content-length", ""), ("content-location", ""), ("content-range", ""), ("content-type", ""),
    ("cookie", ""), ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""),
    ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""),
    ("retry-after", ""), ("server", ""), ("set-cookie", ""), ("strict-transport-security", ""),
    ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

/// Fields that no hop shall put into a table: their values are secrets.
const SECRET: [&[u8]; 3] = [b"authorization", b"proxy-authorization", b"cookie"];

// ---- reading --------------------------------------------------------------------------------

/// A header block that cannot be read. The connection cannot go on: whatever comes behind it may refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadBlock(pub(super) &'static str);

/// What is remembered from block to block.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    /// The name, and the value behind it.
    text: Box<[u8]>,
    name: usize,
}

impl Entry {
    fn size(&self) -> usize {
        self.text.len() + ENTRY_OVERHEAD
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, limit: TABLE_MOST }
    }
}

impl Decoder {
    /// Reads a whole block; `field` is told each name and value, in order.
    pub(super) fn read(&mut self, block: &[u8], mut field: impl FnMut(&[u8], &[u8])) -> Result<(), BadBlock> {
        let mut rest = Rest(block);
        let (mut name, mut value) = (Vec::new(), Vec::new());
        let mut fields = 0;
        while let Some(&first) = rest.0.first() {
            if first & 0x80 != 0 {
                let index = rest.number(7)?;
                let (name, value) = self.entry(index)?;
                field(name, value);
            } else if first & 0xe0 == 0x20 {
                let limit = rest.number(5)?;
                if fields > 0 || limit > TABLE_MOST {
                    return Err(BadBlock("a table size behind a field, or larger than allowed"));
                }
                self.limit = limit;
                self.shrink(limit);
                continue;
            } else {
                let keeps = first & 0x40 != 0;
                let index = rest.number(if keeps { 6 } else { 4 })?;
                name.clear();
                value.clear();
                match index {
                    0 => rest.text(&mut name)?,
                    _ => name.extend_from_slice(self.entry(index)?.0),
                }
                rest.text(&mut value)?;
                field(&name, &value);
                if keeps {
                    self.keep(&name, &value);
                }
            }
            fields += 1;
        }
        Ok(())
    }

    /// From 1 on: the static table, and behind it the dynamic one.
    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), BadBlock> {
        let at = index.checked_sub(1).ok_or(BadBlock("field 0"))?;
        if let Some((name, value)) = STATIC.get(at) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(at - STATIC.len()).ok_or(BadBlock("a field that is in no table"))?;
        Ok(entry.text.split_at(entry.name))
    }

    fn keep(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        self.shrink(self.limit.saturating_sub(size));
        if size <= self.limit {
            self.entries.push_front(Entry { text: [name, value].concat().into(), name: name.len() });
            self.size += size;
        }
    }

    /// Drops the oldest until no more than `limit` is left.
    fn shrink(&mut self, limit: usize) {
        while self.size > limit {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.size();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }
}

/// What is left of a block.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// A number whose first bits are the last `prefix` ones of the next byte. **Source**: section 5.1.
    fn number(&mut self, prefix: u32) -> Result<usize, BadBlock> {
        const TOO_LARGE: BadBlock = BadBlock("a number beyond 28 bits");
        let mask = (1 << prefix) - 1;
        let mut number = usize::from(self.byte()?) & mask;
        if number < mask {
            return Ok(number);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(TOO_LARGE)
    }

    /// A text, onto the end of `text`. **Source**: section 5.2.
    fn text(&mut self, text: &mut Vec<u8>) -> Result<(), BadBlock> {
        let is_coded = self.0.first().is_some_and(|first| first & 0x80 != 0);
        let length = self.number(7)?;
        let (coded, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        if is_coded {
            return huffman::decode(coded, text).map_err(|_| BadBlock("a text that is no Huffman code"));
        }
        text.extend_from_slice(coded);
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, BadBlock> {
        let (first, rest) = self.0.split_first().ok_or(CUT)?;
        self.0 = rest;
        Ok(*first)
    }
}

const CUT: BadBlock = BadBlock("it ends within a field");

// ---- writing --------------------------------------------------------------------------------

/// What says that this end keeps no table. It goes before the first block of a connection; a peer that lowers
/// the limit later need not be told again.
pub(super) const NO_TABLE: u8 = 0x20;

/// Writes a field onto the end of `block`. Names are in lower case.
pub(in crate::collect::probe) fn write_field(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let of_name = || STATIC.iter().position(|(known, _)| known.as_bytes() == name);
    let whole = STATIC.iter().position(|(n, v)| (n.as_bytes(), v.as_bytes()) == (name, value));
    if let Some(at) = whole.filter(|_| !value.is_empty()) {
        return write_number(block, 0x80, 7, at + 1);
    }
    let kind = if SECRET.contains(&name) { 0x10 } else { 0 };
    match of_name() {
        Some(at) => write_number(block, kind, 4, at + 1),
        None => {
            block.push(kind);
            write_text(block, name);
        }
    }
    write_text(block, value);
}

fn write_text(block: &mut Vec<u8>, text: &[u8]) {
    write_number(block, 0, 7, text.len());
    block.extend_from_slice(text);
}

fn write_number(block: &mut Vec<u8>, kind: u8, prefix: u32, number: usize) {
    let mask = (1_usize << prefix) - 1;
    if number < mask {
        return block.push(kind | number as u8);
    }
    block.push(kind | mask as u8);
    let mut left = number - mask;
    while left >= 0x80 {
        block.push(left as u8 | 0x80);
        left >>= 7;
    }
    block.push(left as u8);
}

#[cfg(test)]
#[path = "hpack_tests.rs"]
mod tests;
