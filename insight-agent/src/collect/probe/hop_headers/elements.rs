//! Where does one value of a list header end and the next one begin?
//!
//! RFC 9110 section 5.6.1 lists: several header lines and commas within one line mean the same,
//! and a comma inside a quoted string separates nothing. Proxies join lines blindly, so a hop
//! that forgets to close a quote must not swallow the values of its neighbours: an element whose
//! quotes do not fit ends at its first comma, whatever stands around it.
//!
//! One source needs more: see [`Commas::OrTries`].

use super::tries::{begins_with_try, ends_in_tries};
use super::{MAX_BYTES, MAX_ELEMENTS, Malformed};
use std::borrow::Cow;
use std::collections::VecDeque;

/// One element of a list header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// Its bytes, without white space around them.
    pub(super) text: &'a [u8],
    /// False when its quotes do not fit: `text` is only its beginning.
    pub(super) whole: bool,
}

/// What a comma outside quotes means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commas {
    /// Always that the next element begins.
    Separate,
    /// The same, unless the value before it is a list that an nginx configuration wrote without
    /// quotes, and its next try follows: `a;u_s=0.010, 0.020;c_s=-, 0.001`. Taken apart there, the
    /// first try would pass for the whole time, which is wrong and not just malformed.
    OrTries,
}

// ---- budget ---------------------------------------------------------------------------------

/// What one source may still be read of.
pub(super) struct Budget {
    bytes: usize,
    elements: usize,
    commas: Commas,
    /// Elements left out so far. Where a long line is cut, each comma counts as one; what is
    /// given up behind too many open quotes counts as one in all.
    pub(super) capped: u32,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self::with(Commas::Separate)
    }

    pub(super) fn with(commas: Commas) -> Self {
        Self { bytes: MAX_BYTES, elements: MAX_ELEMENTS, commas, capped: 0 }
    }

    /// The elements of `lines`, last one first, as far as the budget reaches.
    pub(super) fn nearest_first<'a>(
        &mut self,
        lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> Vec<Element<'a>> {
        let mut nearest = Vec::new();
        for line in lines.rev() {
            let line = self.cut(line);
            nearest.extend(self.last_of(line).into_iter().rev());
        }
        nearest
    }

    /// The end of `line` that the byte budget allows, from the start of an element.
    fn cut<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        let Some(excess) = line.len().checked_sub(self.bytes).filter(|excess| *excess > 0) else {
            self.bytes -= line.len();
            return line;
        };
        self.bytes = 0;
        // A cut right behind a comma costs nothing more; any other one costs the element it is in.
        let start = line.iter().skip(excess - 1).position(|byte| *byte == b',').map(|at| excess + at);
        let kept = start.and_then(|start| line.get(start..)).unwrap_or_default();
        let left_out = line.len() - kept.len();
        let commas = line.iter().take(left_out).filter(|byte| **byte == b',').count();
        self.leave_out(if start.is_some() { commas } else { commas + 1 });
        kept
    }

    /// The last elements of one line, in its order.
    fn last_of<'a>(&mut self, line: &'a [u8]) -> VecDeque<Element<'a>> {
        let mut kept = VecDeque::new();
        let mut broken = 0;
        for element in Elements::of(line, self.commas) {
            kept.push_back(element);
            if kept.len() > self.elements {
                kept.pop_front();
                self.leave_out(1);
            }
            // Each broken element may cost one more walk to the end of the line; this bound keeps
            // 8 KiB of quotes at half a million steps instead of ten million.
            broken += usize::from(!element.whole);
            if broken > MAX_ELEMENTS {
                self.leave_out(1);
                break;
            }
        }
        self.elements -= kept.len();
        kept
    }

    fn leave_out(&mut self, elements: usize) {
        self.capped = self.capped.saturating_add(u32::try_from(elements).unwrap_or(u32::MAX));
    }
}

// ---- elements of a line ---------------------------------------------------------------------

/// The elements of one line, in its order. Empty ones are skipped, as RFC 9110 asks.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
    commas: Commas,
}

impl<'a> Elements<'a> {
    fn of(line: &'a [u8], commas: Commas) -> Self {
        Self { rest: Some(line), commas }
    }

    /// Where the element ends that `rest` begins with, and whether its quotes fit.
    fn end(&self, rest: &[u8]) -> (usize, bool) {
        let mut end = 0;
        let mut in_tries = false;
        loop {
            let part = rest.get(end..).unwrap_or_default();
            let Ok(length) = find_end(part, b',') else {
                let comma = part.iter().position(|byte| *byte == b',').unwrap_or(part.len());
                return (end + comma, false);
            };
            in_tries = ends_in_tries(part.get(..length).unwrap_or_default(), in_tries);
            end += length;
            let after = rest.get(end + 1..).unwrap_or_default();
            if self.commas == Commas::Separate || !in_tries || !begins_with_try(after) {
                return (end, true);
            }
            end += 1;
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            let rest = self.rest?;
            let (end, whole) = self.end(rest);
            let (text, after) = rest.split_at(end);
            self.rest = after.get(1..);
            let text = text.trim_ascii();
            if !text.is_empty() {
                return Some(Element { text, whole });
            }
        }
    }
}

// ---- parts of an element --------------------------------------------------------------------

/// Splits an element at its first `;`: its name, and its parameters.
pub(super) fn split_name(element: &[u8]) -> (&[u8], Parameters<'_>) {
    let end = element.iter().position(|byte| *byte == b';').unwrap_or(element.len());
    let (name, after) = element.split_at(end);
    (name.trim_ascii(), Parameters { rest: after.get(1..) })
}

/// The `key=value` parameters of an element, in its order; empty ones are skipped.
///
/// A parameter without `=` has an empty value. An item is an error when its quotes do not fit;
/// it is the last one then.
pub(super) struct Parameters<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Parameters<'a> {
    /// The parameters of a text that has no name in front of them.
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { rest: Some(text) }
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(&'a [u8], Cow<'a, [u8]>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest?;
            let Ok(end) = find_end(rest, b';') else {
                self.rest = None;
                return Some(Err(Malformed));
            };
            let (parameter, after) = rest.split_at(end);
            self.rest = after.get(1..);
            let parameter = parameter.trim_ascii();
            if parameter.is_empty() {
                continue;
            }
            let equals = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
            let (key, value) = parameter.split_at(equals);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            return Some(Ok((key.trim_ascii(), unquote(value))));
        }
    }
}

/// Where the first `separator` outside a quoted string stands; the length of `text` without one.
///
/// A quoted string begins right behind a `=` and must be followed by `;`, `,` or the end. The
/// second half of that rule is what finds a forgotten quote: the next hop's opening quote would
/// close it, and then a digit follows.
fn find_end(text: &[u8], separator: u8) -> Result<usize, Malformed> {
    let mut at = 0;
    let mut behind_equals = false;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' if behind_equals => {
                at = quoted_end(text, at)?;
                let next = text.iter().skip(at).find(|byte| !matches!(byte, b' ' | b'\t'));
                if !matches!(next, None | Some(b';' | b',')) {
                    return Err(Malformed);
                }
                behind_equals = false;
                continue;
            }
            byte if byte == separator => return Ok(at),
            b'=' => behind_equals = true,
            b' ' | b'\t' => {}
            _ => behind_equals = false,
        }
        at += 1;
    }
    Ok(text.len())
}

/// The position behind the closing quote of the string that opens at `open`.
fn quoted_end(text: &[u8], open: usize) -> Result<usize, Malformed> {
    let mut at = open + 1;
    loop {
        match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return Err(Malformed),
        }
    }
}

/// The content of a quoted string, or the value itself. Only a backslash costs an allocation.
fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(value);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut escaped = false;
    let keep = |byte: &u8| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    };
    Cow::Owned(inner.iter().copied().filter(keep).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<(String, bool)> {
        split_at(line, Commas::Separate)
    }

    fn split_at(line: &str, commas: Commas) -> Vec<(String, bool)> {
        Elements::of(line.as_bytes(), commas)
            .map(|element| (String::from_utf8(element.text.to_vec()).unwrap(), element.whole))
            .collect()
    }

    fn whole(texts: &[&str]) -> Vec<(String, bool)> {
        texts.iter().map(|text| ((*text).to_owned(), true)).collect()
    }

    #[test]
    fn commas_separate_and_empty_elements_are_skipped() {
        assert_eq!(split(" a ,, b;c=1 ,"), whole(&["a", "b;c=1"]));
        assert_eq!(split(""), whole(&[]));
    }

    #[test]
    fn a_comma_in_a_quoted_string_does_not_separate() {
        assert_eq!(
            split(r#"a;u="1, 2";c=3, b;u="x\", y""#),
            whole(&[r#"a;u="1, 2";c=3"#, r#"b;u="x\", y""#])
        );
    }

    #[test]
    fn an_open_quote_ends_at_its_first_comma() {
        assert_eq!(
            split(r#"a;u="1, b;d=2, c;u="3, 4""#),
            [(r#"a;u="1"#.to_owned(), false), ("b;d=2".to_owned(), true), (r#"c;u="3, 4""#.to_owned(), true)]
        );
    }

    #[test]
    fn a_list_of_tries_without_quotes_stays_together_only_where_it_can_be_one() {
        for line in
            ["a;u_s=0.010, 0.020", "a;u=-, 1 : -,2;d=3", "a;u_s=0.010, 0.020;c_s=-, 0.001 , 0.002;d=1"]
        {
            assert_eq!(split_at(line, Commas::OrTries), whole(&[line]), "{line}");
            assert!(split(line).len() > 1, "{line}");
        }
        for (line, parts) in [
            ("a;u=1, b;u=2, 3", &["a;u=1", "b;u=2, 3"][..]),
            ("a;d=1, 2;d=3", &["a;d=1", "2;d=3"]),
            ("a;u=\"1\", 2;d=3", &["a;u=\"1\"", "2;d=3"]),
            ("a;u=1, 10.0.0.1;d=3", &["a;u=1", "10.0.0.1;d=3"]),
            ("a;u=1,, 2", &["a;u=1", "2"]),
            ("a;u=x, 2", &["a;u=x", "2"]),
            ("a;u=1, 2 : x", &["a;u=1, 2 : x"]),
        ] {
            assert_eq!(split_at(line, Commas::OrTries), whole(parts), "{line}");
        }
    }

    #[test]
    fn an_open_quote_behind_a_list_of_tries_ends_at_its_own_first_comma() {
        let parts = split_at("a;u=1, 2;note=\"x, b;d=1", Commas::OrTries);
        assert_eq!(parts, [("a;u=1, 2;note=\"x".to_owned(), false), ("b;d=1".to_owned(), true)]);
    }

    #[test]
    fn a_quote_that_is_no_values_first_byte_opens_nothing() {
        assert_eq!(split(r#"a", b;d=1"2, c"#), whole(&[r#"a""#, r#"b;d=1"2"#, "c"]));
    }

    #[test]
    fn parameters_lose_white_space_and_quotes() {
        let (name, parameters) = split_name(b"a ; d = 1 ;; flag; u=\"x\\\"\\\\;y\"");
        let all: Vec<_> = parameters.map(|parameter| parameter.unwrap()).collect();
        assert_eq!(name, b"a");
        let expected: [(&[u8], Cow<[u8]>); 3] =
            [(b"d", Cow::Borrowed(b"1")), (b"flag", Cow::Borrowed(b"")), (b"u", Cow::Borrowed(b"x\"\\;y"))];
        assert_eq!(all, expected);
    }

    #[test]
    fn the_budget_keeps_the_last_elements() {
        let line = vec!["x"; MAX_ELEMENTS + 3].join(",");
        let mut budget = Budget::new();
        let last: &[u8] = b"y, z";
        let elements = budget.nearest_first([line.as_bytes(), last].into_iter());
        assert_eq!(elements.len(), MAX_ELEMENTS);
        assert_eq!((elements[0].text, elements[1].text), (&b"z"[..], &b"y"[..]));
        assert_eq!(budget.capped, 5);
    }

    #[test]
    fn a_long_line_is_cut_at_the_start_of_an_element() {
        let line = format!("{},b,c,d", "a".repeat(MAX_BYTES));
        let mut budget = Budget::new();
        let elements = budget.nearest_first([b"far".as_slice(), line.as_bytes()].into_iter());
        let texts: Vec<_> = elements.iter().map(|element| element.text).collect();
        assert_eq!(texts, [b"d", b"c", b"b"]);
        assert_eq!(budget.capped, 2);
    }

    #[test]
    fn a_cut_between_two_elements_loses_neither() {
        let line = format!("far,{}", "a".repeat(MAX_BYTES));
        let mut budget = Budget::new();
        let elements = budget.nearest_first([line.as_bytes()].into_iter());
        assert_eq!(elements.len(), 1);
        assert_eq!((elements[0].text.len(), budget.capped), (MAX_BYTES, 1));
    }

    #[test]
    fn a_line_of_open_quotes_is_given_up_within_the_budget() {
        let line = r#"="\","#.repeat(MAX_BYTES / 5);
        let mut budget = Budget::new();
        assert_eq!(budget.nearest_first([line.as_bytes()].into_iter()).len(), MAX_ELEMENTS);
        // One that made room for a later one, and the rest of the line as one.
        assert_eq!(budget.capped, 2);
    }
}
