//! What is common to the answers of registries in JSON.

use serde::{Deserialize, Deserializer};

/// An answer that is not what the protocol says.
#[derive(Debug, thiserror::Error)]
#[error("not {expected}: {source}")]
pub struct ParseError {
    /// What it should have been.
    pub(super) expected: &'static str,
    /// Where it is not, by line and column.
    pub(super) source: serde_json::Error,
}

/// Reads a whole text.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8], expected: &'static str) -> Result<T, ParseError> {
    serde_json::from_slice(text).map_err(|source| ParseError { expected, source })
}

/// Registries written in Go say `null` for what is empty.
pub(super) fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A name out of parts, in the letters that names of probes may have; what is none of them becomes `-`. Parts are
/// joined by `_`, which neither addresses nor names in Kubernetes contain.
pub(super) fn name(parts: &[&str]) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    parts.join("_").chars().map(|c| if fits(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_letters_of_probe_names() {
        assert_eq!(name(&["orders", "2001:db8::1", "443"]), "orders_2001-db8--1_443");
        assert_eq!(name(&["a b/c"]), "a-b-c");
    }
}
