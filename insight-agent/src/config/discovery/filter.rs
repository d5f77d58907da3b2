//! Which endpoints of a roster a template takes: conditions that must all hold.
//!
//! ```text
//! condition = field | "!" field | field operator value
//! field     = "name" | "host" | "port" | "address" | "meta." KEY
//! operator  = "=" | "!=" | "~" | "!~"
//! value     = text without spaces at its ends | "'" any text with '' for each ' "'"
//! ```
//!
//! A field alone holds where the endpoint has it; `!` in front turns that round. `=` compares the whole text,
//! `~` compares it with a pattern of `*` and `?`. `!=` and `!~` hold wherever `=` and `~` do not, so where the
//! field is missing too. Spaces around the operator are free.

use super::field::Field;
use crate::config::errors::Complaint;
use crate::model::discovery::Endpoint;
use crate::model::glob::Glob;

/// Conditions that must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(Vec<Condition>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    field: Field,
    test: Test,
    /// What the test must give.
    wanted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Present,
    Is(String),
    Like(Glob),
}

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// The character at which it stops being one, from 1 on.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl Filter {
    /// Of these conditions. Without any, every endpoint passes.
    pub fn new(conditions: Vec<Condition>) -> Self {
        Self(conditions)
    }

    /// Whether an endpoint passes.
    pub fn passes(&self, endpoint: &Endpoint) -> bool {
        self.0.iter().all(|condition| condition.holds(endpoint))
    }
}

impl Condition {
    /// Reads one; see the head of this module.
    ///
    /// # Errors
    /// What is wrong, and at which character.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let error = |offset: usize, complaint: Complaint| FilterError {
            at: 1 + text[..offset].chars().count(),
            what: complaint.what,
            advice: complaint.advice,
        };
        let start = text.len() - text.trim_start().len();
        let (negated, start) = match text[start..].strip_prefix('!') {
            Some(rest) => (true, text.len() - rest.trim_start().len()),
            None => (false, start),
        };
        let end = text[start..].find(['=', '!', '~']).map_or(text.len(), |length| start + length);
        let word = text[start..end].trim_end();
        if word.is_empty() {
            let advice = "write a condition such as \"meta.region = sg\"";
            return Err(error(start, Complaint::new("a field is missing", advice)));
        }
        let field = Field::parse(word).map_err(|complaint| error(start, complaint))?;
        if end == text.len() {
            return Ok(Self { field, test: Test::Present, wanted: !negated });
        }
        let rest = &text[end..];
        let operators = [("!=", false), ("!~", false), ("=", true), ("~", true)];
        let Some((operator, wanted)) = operators.into_iter().find(|(operator, _)| rest.starts_with(operator))
        else {
            return Err(error(end, Complaint::new("no such operator", "use =, !=, ~ or !~")));
        };
        if negated {
            let advice = format!("drop the ! in front, or write {} as operator", opposite(operator));
            return Err(error(start, Complaint::new("a ! in front belongs to a field alone", advice)));
        }
        let after = &rest[operator.len()..];
        let value_at = text.len() - after.trim_start().len();
        let value = value(after.trim()).map_err(|complaint| error(value_at, complaint))?;
        let test = if operator.ends_with('~') { Test::Like(Glob::parse(&value)) } else { Test::Is(value) };
        Ok(Self { field, test, wanted })
    }

    fn holds(&self, endpoint: &Endpoint) -> bool {
        let value = self.field.of(endpoint);
        let given = match &self.test {
            Test::Present => value.is_some(),
            Test::Is(text) => value.is_some_and(|value| value == text.as_str()),
            Test::Like(glob) => value.is_some_and(|value| glob.matches(&value)),
        };
        given == self.wanted
    }
}

/// The operator that holds where this one does not.
fn opposite(operator: &str) -> &'static str {
    match operator {
        "=" => "!=",
        "~" => "!~",
        "!=" => "=",
        _ => "~",
    }
}

fn value(text: &str) -> Result<String, Complaint> {
    let quotes = "write '' for nothing, and '' inside quotes for one quote";
    let Some(quoted) = text.strip_prefix('\'') else {
        return match text {
            "" => Err(Complaint::new("a value is missing", quotes)),
            // A second operator is a slip of the keyboard, and an equals sign in a value is rare.
            _ if text.starts_with(['=', '~', '!']) => Err(Complaint::new(
                "two operators follow each other",
                "write one, or put the value into '...'",
            )),
            _ => Ok(text.to_owned()),
        };
    };
    let Some(inner) = quoted.strip_suffix('\'') else {
        return Err(Complaint::new("a quote has no partner", quotes));
    };
    let pieces: Vec<&str> = inner.split("''").collect();
    if pieces.iter().any(|piece| piece.contains('\'')) {
        return Err(Complaint::new("something follows the closing quote", quotes));
    }
    Ok(pieces.join("'"))
}

#[cfg(test)]
mod tests;
