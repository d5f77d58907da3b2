//! What a measurement needs of a kernel.

use super::hooks::Hook;
use insight_common::kernel::loss::Measurement;

/// An offset that the programs read through: the global, the struct, the path in it.
pub type Offset = (&'static str, &'static str, &'static str);

/// One measurement's needs.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Which one.
    pub measurement: Measurement,
    /// The programs, beside those of the socket table.
    pub hooks: &'static [Hook],
    /// The offsets, beside those of the socket table.
    pub offsets: &'static [Offset],
    /// It measures forwarders only.
    pub needs_forwarder: bool,
}

macro_rules! list {
    ($($name:ident $kind:ident $default:ident $about:literal [$($distribution:ident)*] [$($counter:ident)*];)*) => {
        /// Every measurement, by its number; the socket table itself is [`super::sockets::SPEC`].
        pub const ALL: [&Spec; Measurement::ALL.len() - 1] = [$(&super::$name::SPEC,)*];
    };
}
insight_common::measurements!(list);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurements_file_speaks_of_itself() {
        let listed: Vec<_> = ALL.iter().map(|spec| spec.measurement).collect();
        assert_eq!(listed, Measurement::ALL[1..]);
    }
}
