//! The Huffman code of header fields, read.
//!
//! The code is canonical: within a length, codes follow the order of the bytes that they stand for, and each
//! length goes on where the one before ended. So the lengths alone describe it.
//!
//! **Source**: RFC 7541, section 5.2 and appendix B.

/// Bits of the code of each byte.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const LONGEST: usize = 30;
/// Codes of up to so many bits are looked up at once: those of all but rare bytes.
const DIRECT: usize = 8;

struct Code {
    /// All bytes, in the order of their codes.
    bytes: [u8; 256],
    /// Of each length: its first code, how many there are, and where their bytes begin.
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    offset: [u32; LONGEST + 1],
    /// Of each beginning: the byte, and the bits of its code. 0 bits: the code is longer.
    direct: [(u8, u8); 1 << DIRECT],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut code = Code {
        bytes: [0; 256],
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
        direct: [(0, 0); 1 << DIRECT],
    };
    let (mut length, mut next, mut filled) = (1, 0_u32, 0_usize);
    while length <= LONGEST {
        next <<= 1;
        code.first[length] = next;
        code.offset[length] = filled as u32;
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                code.bytes[filled] = byte as u8;
                if length <= DIRECT {
                    let mut at = (next as usize) << (DIRECT - length);
                    let end = ((next as usize) + 1) << (DIRECT - length);
                    while at < end {
                        code.direct[at] = (byte as u8, length as u8);
                        at += 1;
                    }
                }
                code.count[length] += 1;
                next += 1;
                filled += 1;
            }
            byte += 1;
        }
        length += 1;
    }
    code
}

/// The text is no Huffman code: it names the end-of-string symbol, or is padded with anything but its
/// beginning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadCode;

/// Reads `coded` onto the end of `text`.
pub(super) fn decode(coded: &[u8], text: &mut Vec<u8>) -> Result<(), BadCode> {
    // The next bits, from the highest on, and how many of them are there.
    let (mut bits, mut held) = (0_u64, 0_usize);
    let mut rest = coded.iter();
    loop {
        while held <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        if held == 0 {
            return Ok(());
        }
        let (byte, length) = CODE.direct[(bits >> (64 - DIRECT)) as usize];
        let found = if length > 0 { Some((byte, usize::from(length))) } else { long(bits) };
        match found.filter(|(_, length)| *length <= held) {
            Some((byte, length)) => {
                text.push(byte);
                bits <<= length;
                held -= length;
            }
            // The rest is padding: fewer than eight bits, all of them set.
            None => {
                let is_padding = held < 8 && bits == !(u64::MAX >> held);
                return if is_padding { Ok(()) } else { Err(BadCode) };
            }
        }
    }
}

/// The byte of a code with more than [`DIRECT`] bits.
fn long(bits: u64) -> Option<(u8, usize)> {
    (DIRECT + 1..=LONGEST).find_map(|length| {
        let code = (bits >> (64 - length)) as u32;
        let nth = code.checked_sub(CODE.first[length]).filter(|nth| *nth < CODE.count[length])?;
        Some((CODE.bytes[(CODE.offset[length] + nth) as usize], length))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bit by bit, from the lengths.
    pub(in super::super) fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in text {
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let nth = (0..*byte).filter(|b| usize::from(LENGTHS[usize::from(*b)]) == length).count();
            let code = CODE.first[length] + u32::try_from(nth).unwrap();
            bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
        }
        bits.resize(bits.len().next_multiple_of(8), true);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, BadCode> {
        let mut text = Vec::new();
        decode(coded, &mut text).map(|()| text)
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        // RFC 7541, appendices C.4 and C.6.
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ] {
            let coded: Vec<u8> = (0..coded.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&coded[at..at + 2], 16).unwrap())
                .collect();
            assert_eq!(decoded(&coded).unwrap(), text.as_bytes());
            assert_eq!(encode(text.as_bytes()), coded);
        }
    }

    #[test]
    fn padding_that_is_none_is_refused() {
        assert_eq!(decoded(&[]), Ok(Vec::new()));
        assert_eq!(decoded(&[0xff]), Err(BadCode), "a whole byte of it");
        assert_eq!(decoded(&[0b0000_0000]), Err(BadCode), "zeros");
        assert_eq!(decoded(&[0b0000_0111]), Ok(b"0".to_vec()));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(BadCode), "the end-of-string symbol");
    }

    proptest! {
        #[test]
        fn what_was_coded_is_read_again(text in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decoded(&encode(&text)), Ok(text));
        }

        #[test]
        fn no_bytes_make_it_panic_and_none_grow_beyond_their_bound(coded in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut text = Vec::new();
            let _ = decode(&coded, &mut text);
            prop_assert!(text.len() <= coded.len() * 8 / 5);
        }
    }
}
