use super::*;
use proptest::prelude::*;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, BadBlock> {
    let mut fields = Vec::new();
    decoder.read(block, |name, value| fields.push((name.to_vec(), value.to_vec()))).map(|()| fields)
}

fn assert_reads(decoder: &mut Decoder, hex: &str, fields: &[(&str, &str)], size: usize) {
    let read = read(decoder, &bytes(hex)).unwrap();
    let read: Vec<_> = read
        .iter()
        .map(|(n, v)| (std::str::from_utf8(n).unwrap(), std::str::from_utf8(v).unwrap()))
        .collect();
    assert_eq!(read, fields);
    assert_eq!(decoder.size, size);
}

#[test]
fn requests_of_the_specification_are_read() {
    // RFC 7541, appendix C.3.
    let mut decoder = Decoder::default();
    let common = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
    assert_reads(&mut decoder, "828684410f7777772e6578616d706c652e636f6d", &common, 57);
    let with_cache = [&common[..], &[("cache-control", "no-cache")]].concat();
    assert_reads(&mut decoder, "828684be58086e6f2d6361636865", &with_cache, 110);
    let last = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ];
    assert_reads(&mut decoder, "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", &last, 164);
}

#[test]
fn responses_of_the_specification_are_read_and_drop_the_oldest() {
    // RFC 7541, appendix C.6, whose table has 256 bytes.
    let mut decoder = Decoder { limit: 256, ..Decoder::default() };
    let rest = [
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ];
    assert_reads(
        &mut decoder,
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff
         6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        &[&[(":status", "302")], &rest[..]].concat(),
        222,
    );
    assert_reads(&mut decoder, "4883640effc1c0bf", &[&[(":status", "307")], &rest[..]].concat(), 222);
    let last = [
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ];
    assert_reads(
        &mut decoder,
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960
         d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        &last,
        215,
    );
}

#[test]
fn a_table_that_is_switched_off_is_empty_and_takes_nothing() {
    let mut decoder = Decoder::default();
    read(&mut decoder, &bytes("400161 0162")).unwrap();
    assert_eq!(decoder.size, 34);
    assert_eq!(read(&mut decoder, &bytes("20 400161 0162")).unwrap(), [(b"a".to_vec(), b"b".to_vec())]);
    assert_eq!((decoder.size, decoder.entries.len()), (0, 0));
    assert_eq!(read(&mut decoder, &bytes("be")), Err(BadBlock("a field that is in no table")));
}

#[test]
fn what_is_against_the_rules_is_refused() {
    for (hex, why) in [
        ("80", "field 0"),
        ("be", "a field that is in no table"),
        ("40", "it ends within a field"),
        ("400561", "it ends within a field"),
        ("ff", "it ends within a field"),
        ("ffffffffff7f", "a number beyond 28 bits"),
        ("3fe21f", "a table size behind a field, or larger than allowed"),
        ("8220", "a table size behind a field, or larger than allowed"),
        ("0081ff00", "a text that is no Huffman code"),
    ] {
        assert_eq!(read(&mut Decoder::default(), &bytes(hex)), Err(BadBlock(why)), "{hex}");
    }
    // 4096, the largest that is allowed.
    assert_eq!(read(&mut Decoder::default(), &bytes("3fe11f")), Ok(Vec::new()));
}

#[test]
fn known_fields_are_short_and_secrets_are_marked() {
    let mut block = Vec::new();
    write_field(&mut block, b":method", b"POST");
    assert_eq!(block, [0x83]);
    block.clear();
    write_field(&mut block, b"authorization", b"x");
    assert_eq!(block, [0x1f, 8, 1, b'x']);
    block.clear();
    write_field(&mut block, b"te", b"trailers");
    assert_eq!(block, [&[0, 2][..], b"te", &[8], b"trailers"].concat());
}

proptest! {
    #[test]
    fn what_was_written_is_read_again(
        fields in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 1..40), prop::collection::vec(any::<u8>(), 0..400)), 0..20,
        ),
    ) {
        let mut block = vec![NO_TABLE];
        fields.iter().for_each(|(name, value)| write_field(&mut block, name, value));
        prop_assert_eq!(read(&mut Decoder::default(), &block), Ok(fields));
    }

    #[test]
    fn coded_texts_are_read(name in "[a-z-]{1,30}", value in "[ -~]{0,100}") {
        let mut block = vec![0x40];
        for text in [&name, &value] {
            let coded = huffman::tests::encode(text.as_bytes());
            write_number(&mut block, 0x80, 7, coded.len());
            block.extend(coded);
        }
        let field = vec![(name.into_bytes(), value.into_bytes())];
        prop_assert_eq!(read(&mut Decoder::default(), &block), Ok(field));
    }

    #[test]
    fn no_block_makes_it_panic_or_grow(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let mut decoder = Decoder::default();
        for block in blocks {
            let _ = decoder.read(&block, |_, _| ());
            let size: usize = decoder.entries.iter().map(Entry::size).sum();
            prop_assert!(decoder.size == size && size <= TABLE_MOST);
        }
    }
}
