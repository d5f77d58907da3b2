//! Reads the kernel's description of its own types, BTF, out of bytes.
//!
//! Where a member lies, how many arguments a tracepoint has and what number an enum's name stands
//! for differ between kernels; the programs are told before they are loaded. Nothing here trusts
//! the bytes: every access is checked, every chain of types is bounded.
//!
//! **Source**: <https://docs.kernel.org/bpf/btf.html>. **Cost**: a few ms for the 5 MB of a kernel.

mod query;
#[cfg(test)]
mod tests;

pub use query::{Member, Parameter};

/// Where the running kernel describes itself.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// First two bytes, in the byte order of the machine that wrote the file.
const MAGIC: u16 = 0xeb9f;

/// Bytes of the header's part that is read here.
const HEADER: usize = 24;

/// Why the description does not say what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The bytes are no BTF of this machine.
    #[error("read kernel types: {0}")]
    Malformed(&'static str),
    /// A kind of type that is newer than this reader; its length is unknown, so nothing behind it
    /// can be read.
    #[error("read kernel types: type {id} is of unknown kind {kind}: this kernel is newer than this reader")]
    UnknownKind {
        /// Which type.
        id: usize,
        /// Its kind.
        kind: u32,
    },
    /// There is no such type in this kernel.
    #[error("find {what} {name:?} in the kernel's types: there is none")]
    Absent {
        /// A struct, a tracepoint, an enum.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The type has no such member.
    #[error("find member {member:?} of {structure:?} in the kernel's types: there is none")]
    NoMember {
        /// The struct.
        structure: String,
        /// The member, or a path to it.
        member: String,
    },
}

/// Kinds of types, as numbered by the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Pointer,
    Array,
    /// A struct or a union.
    Composite,
    /// 32 or 64 bits per value.
    Enum {
        wide: bool,
    },
    Typedef,
    /// `const`, `volatile`, `restrict`, or a tag: another name for the same bytes.
    Qualifier,
    Prototype,
    /// Of no interest here.
    Other,
}

/// One type.
#[derive(Debug, Clone, Copy)]
struct Type {
    name: u32,
    kind: Kind,
    /// Members, values or parameters.
    count: usize,
    /// Members carry a bit size; enum values are signed.
    flag: bool,
    /// Size in bytes, or the type that this one refers to.
    size_or_type: u32,
    /// Where what follows the fixed part begins, in the type section.
    extra: usize,
}

/// The types of a kernel.
#[derive(Debug)]
pub struct Btf<'a> {
    section: &'a [u8],
    strings: &'a [u8],
    /// By type id, less one: id 0 is `void`.
    types: Vec<Type>,
}

impl<'a> Btf<'a> {
    /// Takes a BTF file apart. Names are looked at only when asked for.
    ///
    /// # Errors
    /// [`BtfError::Malformed`], [`BtfError::UnknownKind`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let short = BtfError::Malformed("the header is cut short");
        let header = bytes.get(..HEADER).ok_or(short.clone())?;
        if u16::from_ne_bytes([header[0], header[1]]) != MAGIC {
            return Err(BtfError::Malformed("the magic number is another one"));
        }
        let field = |at| word(header, at).map(|value| value as usize).ok_or(short.clone());
        let start = field(4)?;
        let section = |offset: usize, length: usize| {
            let from = start.checked_add(offset)?;
            bytes.get(from..from.checked_add(length)?)
        };
        let outside = BtfError::Malformed("a section lies outside the file");
        let types = section(field(8)?, field(12)?).ok_or(outside.clone())?;
        let strings = section(field(16)?, field(20)?).ok_or(outside)?;
        Ok(Self { section: types, strings, types: parse_types(types)? })
    }

    fn get(&self, id: u32) -> Option<&Type> {
        self.types.get((id as usize).checked_sub(1)?)
    }

    /// The name at `offset`; empty when there is none, or it is no text.
    fn name(&self, offset: u32) -> &'a str {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(0);
        std::str::from_utf8(&rest[..end]).unwrap_or_default()
    }

    /// Word number `index` behind the fixed part of `ty`.
    fn extra(&self, ty: &Type, index: usize) -> Option<u32> {
        word(self.section, ty.extra.checked_add(index.checked_mul(4)?)?)
    }
}

/// The 32-bit number at byte `at`.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn parse_types(section: &[u8]) -> Result<Vec<Type>, BtfError> {
    let cut = BtfError::Malformed("a type is cut short");
    let mut types = Vec::with_capacity(section.len() / 24);
    let mut at = 0;
    while at < section.len() {
        let field = |index: usize| word(section, at + index * 4).ok_or(cut.clone());
        let (name, info, size_or_type) = (field(0)?, field(1)?, field(2)?);
        let count = (info & 0xffff) as usize;
        let number = (info >> 24) & 0x1f;
        let (kind, length) = match number {
            1 => (Kind::Int, 4),
            2 => (Kind::Pointer, 0),
            3 => (Kind::Array, 12),
            4 | 5 => (Kind::Composite, 12 * count),
            6 => (Kind::Enum { wide: false }, 8 * count),
            7 | 12 | 16 => (Kind::Other, 0),
            8 => (Kind::Typedef, 0),
            9..=11 | 18 => (Kind::Qualifier, 0),
            13 => (Kind::Prototype, 8 * count),
            14 | 17 => (Kind::Other, 4),
            15 => (Kind::Other, 12 * count),
            19 => (Kind::Enum { wide: true }, 12 * count),
            kind => return Err(BtfError::UnknownKind { id: types.len() + 1, kind }),
        };
        let extra = at + 12;
        if section.len() - at < 12 + length {
            return Err(cut);
        }
        types.push(Type { name, kind, count, flag: info >> 31 != 0, size_or_type, extra });
        at = extra + length;
    }
    Ok(types)
}
