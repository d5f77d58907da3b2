//! Texts with something between braces; `{{` and `}}` are literal ones.

use super::errors::Complaint;

/// A piece of such a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part<P> {
    /// As it is written; never empty.
    Fixed(String),
    /// What stood between braces.
    Open(P),
}

/// Splits a text; `open` reads what stands between two braces.
///
/// # Errors
/// A brace without a partner, or what `open` complains of. The text itself, which may carry a credential, is not
/// repeated here.
pub(super) fn split<P>(
    text: &str,
    open: impl Fn(&str) -> Result<P, Complaint>,
) -> Result<Vec<Part<P>>, Complaint> {
    let mut parts = Vec::new();
    let mut fixed = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        fixed.push_str(&rest[..at]);
        let (brace, after) = (&rest[at..=at], &rest[at + 1..]);
        if after.starts_with(brace) {
            fixed.push_str(brace);
            rest = &after[1..];
            continue;
        }
        let unpaired = || Complaint::new("a brace has no partner", "write {{ and }} for literal braces");
        if brace == "}" {
            return Err(unpaired());
        }
        let (word, after) = after.split_once('}').ok_or_else(unpaired)?;
        if !fixed.is_empty() {
            parts.push(Part::Fixed(std::mem::take(&mut fixed)));
        }
        parts.push(Part::Open(open(word)?));
        rest = after;
    }
    fixed.push_str(rest);
    if !fixed.is_empty() {
        parts.push(Part::Fixed(fixed));
    }
    Ok(parts)
}
