//! Questions to the types of a kernel.

use super::{Btf, BtfError, Kind, Type};

/// Types that may lie between a name and what it means. Real chains have at most five.
const MAX_CHAIN: usize = 32;

/// Where a member lies in its struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// From the start of the struct. **Unit**: bits.
    pub bit_offset: u32,
    /// Of a bit field. **None**: it is none. **Unit**: bits.
    pub bit_size: Option<u32>,
    ty: u32,
}

impl Member {
    /// From the start of the struct to the byte that holds the first bit. **Unit**: bytes.
    pub fn offset(&self) -> u32 {
        self.bit_offset / 8
    }
}

/// An argument of a tracepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Whether it is a pointer.
    pub pointer: bool,
    /// The type, or what is pointed to, without qualifiers. Empty: `void`, or a type without name.
    pub type_name: &'a str,
}

impl<'a> Btf<'a> {
    /// Where `path` lies in `structure`. The path's parts, separated by dots, are members that
    /// have a name; unnamed structs and unions on the way are looked through.
    ///
    /// # Errors
    /// [`BtfError::Absent`], [`BtfError::NoMember`].
    pub fn member(&self, structure: &str, path: &str) -> Result<Member, BtfError> {
        let root = self.find(structure, |ty| ty.kind == Kind::Composite && ty.count > 0);
        let mut inside =
            root.ok_or_else(|| BtfError::Absent { what: "struct", name: structure.to_owned() })?;
        let missing = || BtfError::NoMember { structure: structure.to_owned(), member: path.to_owned() };
        let mut found = None::<Member>;
        for part in path.split('.') {
            let from = match found {
                None => 0,
                Some(outer) => {
                    inside = self.resolve(outer.ty).ok_or_else(missing)?;
                    outer.bit_offset
                }
            };
            let member = self.member_of(inside, part, 0).ok_or_else(missing)?;
            let bit_offset = member.bit_offset.checked_add(from).ok_or_else(missing)?;
            found = Some(Member { bit_offset, ..member });
        }
        found.ok_or_else(missing)
    }

    /// The arguments of a tracepoint, without the one that every tracepoint begins with.
    ///
    /// # Errors
    /// [`BtfError::Absent`]: this kernel has no such tracepoint.
    pub fn tracepoint(&self, name: &str) -> Result<Vec<Parameter<'a>>, BtfError> {
        let absent = || BtfError::Absent { what: "tracepoint", name: name.to_owned() };
        let declared = format!("btf_trace_{name}");
        let typedef = self.find(&declared, |ty| ty.kind == Kind::Typedef).ok_or_else(absent)?;
        let pointer = self.resolve(typedef.size_or_type).filter(|ty| ty.kind == Kind::Pointer);
        let target = pointer.and_then(|pointer| self.resolve(pointer.size_or_type));
        let prototype = target.filter(|ty| ty.kind == Kind::Prototype).ok_or_else(absent)?;
        (1..prototype.count)
            .map(|index| self.extra(prototype, index * 2 + 1).map(|ty| self.parameter(ty)))
            .collect::<Option<_>>()
            .ok_or_else(absent)
    }

    /// The number that `value` stands for in `enumeration`.
    ///
    /// # Errors
    /// [`BtfError::Absent`], [`BtfError::NoMember`].
    pub fn enum_value(&self, enumeration: &str, value: &str) -> Result<i64, BtfError> {
        let found = self.enum_values(enumeration)?.into_iter().find(|(name, _)| *name == value);
        found
            .map(|(_, number)| number)
            .ok_or_else(|| BtfError::NoMember { structure: enumeration.to_owned(), member: value.to_owned() })
    }

    /// All values of `enumeration`: their names and numbers, as declared.
    ///
    /// # Errors
    /// [`BtfError::Absent`].
    pub fn enum_values(&self, enumeration: &str) -> Result<Vec<(&'a str, i64)>, BtfError> {
        let found = self.find(enumeration, |ty| matches!(ty.kind, Kind::Enum { .. }) && ty.count > 0);
        let ty = found.ok_or_else(|| BtfError::Absent { what: "enum", name: enumeration.to_owned() })?;
        let words = if ty.kind == (Kind::Enum { wide: true }) { 3 } else { 2 };
        let value = |index: usize| {
            let at = index * words;
            let name = self.name(self.extra(ty, at)?);
            let low = self.extra(ty, at + 1)?;
            if words == 3 {
                let high = self.extra(ty, at + 2)?;
                return Some((name, (u64::from(high) << 32 | u64::from(low)).cast_signed()));
            }
            Some((name, if ty.flag { i64::from(low.cast_signed()) } else { i64::from(low) }))
        };
        Ok((0..ty.count).filter_map(value).collect())
    }

    fn find(&self, name: &str, fits: impl Fn(&Type) -> bool) -> Option<&Type> {
        self.types.iter().find(|ty| fits(ty) && self.name(ty.name) == name)
    }

    /// What a type is behind its qualifiers and other names.
    fn resolve(&self, mut id: u32) -> Option<&Type> {
        for _ in 0..MAX_CHAIN {
            let ty = self.get(id)?;
            if !matches!(ty.kind, Kind::Typedef | Kind::Qualifier) {
                return Some(ty);
            }
            id = ty.size_or_type;
        }
        None
    }

    fn member_of(&self, ty: &Type, wanted: &str, depth: usize) -> Option<Member> {
        if ty.kind != Kind::Composite || depth == MAX_CHAIN {
            return None;
        }
        for index in 0..ty.count {
            let name = self.name(self.extra(ty, index * 3)?);
            let member_ty = self.extra(ty, index * 3 + 1)?;
            let place = self.extra(ty, index * 3 + 2)?;
            let (bit_offset, bits) = if ty.flag { (place & 0xff_ffff, place >> 24) } else { (place, 0) };
            if name == wanted {
                return Some(Member { bit_offset, bit_size: (bits > 0).then_some(bits), ty: member_ty });
            }
            if name.is_empty() {
                let inner =
                    self.resolve(member_ty).and_then(|inner| self.member_of(inner, wanted, depth + 1));
                if let Some(inner) = inner {
                    return Some(Member { bit_offset: bit_offset.checked_add(inner.bit_offset)?, ..inner });
                }
            }
        }
        None
    }

    fn parameter(&self, id: u32) -> Parameter<'a> {
        let mut parameter = Parameter { pointer: false, type_name: "" };
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            let Some(ty) = self.get(id) else { break };
            match ty.kind {
                Kind::Pointer => parameter.pointer = true,
                Kind::Qualifier => {}
                _ => {
                    parameter.type_name = self.name(ty.name);
                    break;
                }
            }
            id = ty.size_or_type;
        }
        parameter
    }
}
