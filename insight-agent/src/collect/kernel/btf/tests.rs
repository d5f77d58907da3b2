//! A small description written here, the running kernel's own, and bytes that are neither.

use super::*;
use proptest::prelude::*;

/// Writes BTF, type by type.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn new() -> Self {
        Self { types: vec![], strings: vec![0] }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    fn ty(&mut self, name: &str, info: u32, size_or_type: u32, extra: &[u32]) {
        let name = self.name(name);
        for word in [name, info, size_or_type].iter().chain(extra) {
            self.types.extend(word.to_ne_bytes());
        }
    }

    fn finish(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

const fn info(kind: u32, count: u32, flag: bool) -> u32 {
    kind << 24 | count | (flag as u32) << 31
}

/// `struct outer { int first; const union { int a; struct inner b; }; int bits:5; }` and others.
fn sample() -> Vec<u8> {
    let mut w = Writer::new();
    w.ty("int", info(1, 0, false), 4, &[32]); // 1
    let [x, y] = ["x", "y"].map(|name| w.name(name));
    w.ty("inner", info(4, 2, false), 8, &[x, 1, 0, y, 1, 32]); // 2
    let [a, b] = ["a", "b"].map(|name| w.name(name));
    w.ty("", info(5, 2, false), 8, &[a, 1, 0, b, 2, 0]); // 3
    w.ty("", info(10, 0, false), 3, &[]); // 4: const union
    let [first, bits] = ["first", "bits"].map(|name| w.name(name));
    w.ty("outer", info(4, 3, true), 16, &[first, 1, 0, 0, 4, 32, bits, 1, 5 << 24 | 99]); // 5
    w.ty("", info(2, 0, false), 2, &[]); // 6: struct inner *
    w.ty("", info(13, 3, false), 0, &[0, 0, 0, 6, 0, 1]); // 7: (void *, struct inner *, int)
    w.ty("", info(2, 0, false), 7, &[]); // 8
    w.ty("btf_trace_thing", info(8, 0, false), 8, &[]); // 9
    let [p, q] = ["P", "Q"].map(|name| w.name(name));
    w.ty("small", info(6, 2, true), 4, &[p, 7, q, u32::MAX]); // 10
    w.ty("large", info(19, 1, false), 8, &[p, 1, 2]); // 11
    w.ty("loop", info(8, 0, false), 12, &[]); // 12: a typedef of itself
    w.finish()
}

#[test]
fn members_are_found_through_unnamed_unions_and_along_paths() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    let offset = |path| btf.member("outer", path).map(|member| member.offset());
    assert_eq!(offset("first"), Ok(0));
    assert_eq!(offset("a"), Ok(4));
    assert_eq!(offset("b.y"), Ok(8));
    let bits = btf.member("outer", "bits").unwrap();
    assert_eq!((bits.bit_offset, bits.bit_size), (99, Some(5)));
    assert_eq!(btf.member("outer", "first").unwrap().bit_size, None);
    assert!(matches!(offset("first.x"), Err(BtfError::NoMember { .. })));
    assert!(matches!(btf.member("gone", "x"), Err(BtfError::Absent { .. })));
}

#[test]
fn a_tracepoint_tells_its_arguments_and_their_types() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    let expected =
        [Parameter { pointer: true, type_name: "inner" }, Parameter { pointer: false, type_name: "int" }];
    assert_eq!(btf.tracepoint("thing").unwrap(), expected);
    assert_eq!(btf.tracepoint("other"), Err(BtfError::Absent { what: "tracepoint", name: "other".into() }));
}

#[test]
fn enum_values_keep_sign_and_width() {
    let bytes = sample();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.enum_value("small", "P"), Ok(7));
    assert_eq!(btf.enum_value("small", "Q"), Ok(-1));
    assert_eq!(btf.enum_value("large", "P"), Ok(2 << 32 | 1));
    assert!(btf.enum_value("large", "Q").is_err());
    assert_eq!(btf.enum_values("small").unwrap(), [("P", 7), ("Q", -1)]);
    assert_eq!(btf.enum_values("inner"), Err(BtfError::Absent { what: "enum", name: "inner".into() }));
}

#[test]
fn an_unknown_kind_is_named_and_nothing_behind_it_guessed() {
    let mut writer = Writer::new();
    writer.ty("new", info(30, 0, false), 0, &[]);
    assert_eq!(Btf::parse(&writer.finish()).unwrap_err(), BtfError::UnknownKind { id: 1, kind: 30 });
}

#[test]
fn the_running_kernel_has_the_layout_that_never_changed() {
    // A kernel without BTF has nothing to compare; the kernel tests say so loudly.
    let Ok(bytes) = std::fs::read(VMLINUX) else { return };
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.member("sock_common", "skc_daddr").unwrap().offset(), 0);
    assert_eq!(btf.member("sock_common", "skc_dport").unwrap().offset(), 12);
    assert_eq!(btf.member("sock", "__sk_common.skc_family").unwrap().offset(), 16);
    assert_eq!(btf.tracepoint("inet_sock_set_state").unwrap().len(), 3);
    assert_eq!(btf.tracepoint("tcp_destroy_sock").unwrap()[0].type_name, "sock");
    assert_eq!(btf.member("inet_connection_sock", "icsk_ca_state").unwrap().bit_size, Some(5));
}

/// Everything that can be asked; none of it may panic.
fn ask(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for name in ["outer", "inner", "loop", "small", "", "thing"] {
        let _ = (btf.member(name, "b.y"), btf.member(name, ""), btf.tracepoint(name));
        let _ = btf.enum_value(name, "P");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        ask(&bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0_usize..500, value in any::<u8>(), cut in 0_usize..600) {
        let mut bytes = sample();
        let length = bytes.len();
        bytes[at % length] = value;
        bytes.truncate(cut.max(length / 4));
        ask(&bytes);
    }
}
