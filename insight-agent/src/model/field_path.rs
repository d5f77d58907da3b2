//! Which part of a message does a rule speak of? `items[0].name`, `labels["region"]`.
//!
//! A path is names joined by points; a list's element is its index in brackets, from 0 on, and a map's
//! value its key as JSON text in brackets (or like a name, where it looks like one).

use serde_json::Value;
use std::fmt;

/// Longest path in bytes: twice the deepest that real messages have. It bounds what errors repeat.
pub const PATH_MOST: usize = 256;

/// One step further into a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A field, or a map's key that looks like one.
    Name(String),
    /// An element of a list, from 0 on.
    Index(usize),
    /// A map's key.
    Key(String),
}

/// A place in a message. At least one step, the first of which is a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

/// A text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at character {at}")]
pub struct PathError {
    /// What was found, or is missing.
    pub what: &'static str,
    /// The place, from 1 on; one behind the end where something is missing.
    pub at: usize,
}

impl FieldPath {
    /// Reads a path.
    ///
    /// # Errors
    /// The first place that fits no path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let error = |what, rest: &str| {
            let read = text.len() - rest.len();
            Err(PathError { what, at: text[..read].chars().count() + 1 })
        };
        if text.len() > PATH_MOST {
            return error("the path is longer than 256 bytes", "");
        }
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            let name = rest.len() - rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
            if name == 0 {
                return error("a field's name is missing", rest);
            }
            steps.push(Step::Name(rest[..name].to_owned()));
            rest = &rest[name..];
            while let Some(inner) = rest.strip_prefix('[') {
                let (step, behind) = match bracketed(inner) {
                    Ok(found) => found,
                    Err(what) => return error(what, inner),
                };
                steps.push(step);
                let Some(behind) = behind.strip_prefix(']') else {
                    return error("a closing bracket is missing", behind);
                };
                rest = behind;
            }
            if rest.is_empty() {
                return Ok(Self(steps));
            }
            match rest.strip_prefix('.') {
                Some(further) => rest = further,
                None => return error("neither a point nor a bracket stands", rest),
            }
        }
    }

    /// Its steps, from the message's own field on.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The last name in it: what the value is called.
    pub fn last_name(&self) -> &str {
        let names = self.0.iter().rev().filter_map(|step| match step {
            Step::Name(name) | Step::Key(name) => Some(name.as_str()),
            Step::Index(_) => None,
        });
        names.into_iter().next().unwrap_or_default()
    }

    /// What stands there. **None**: the message has no such element, key or set field.
    pub fn find<'a>(&self, message: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(message, |value, step| match step {
            Step::Name(name) | Step::Key(name) => value.get(name.as_str()),
            Step::Index(index) => value.get(*index),
        })
    }
}

impl From<Vec<Step>> for FieldPath {
    fn from(steps: Vec<Step>) -> Self {
        Self(steps)
    }
}

/// An index or a key in front of its closing bracket, and what stands behind it.
fn bracketed(inner: &str) -> Result<(Step, &str), &'static str> {
    if inner.starts_with('"') {
        let mut keys = serde_json::Deserializer::from_str(inner).into_iter::<String>();
        let key = keys.next().and_then(Result::ok).ok_or("a key in brackets is no JSON string")?;
        return Ok((Step::Key(key), &inner[keys.byte_offset()..]));
    }
    let digits = inner.len() - inner.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let index = inner[..digits].parse().map_err(|_| "neither an index nor a key in quotes stands")?;
    Ok((Step::Index(index), &inner[digits..]))
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if at == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => write!(f, "[{}]", Value::from(key.as_str()))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_path_finds_fields_elements_and_keys() {
        let message = json!({ "items": [{ "name": "a" }, { "name": "b", "at": { "x.y": 7 } }] });
        let found = |path: &str| FieldPath::parse(path).unwrap().find(&message).cloned();
        assert_eq!(found("items[1].name"), Some(json!("b")));
        assert_eq!(found("items[1].at[\"x.y\"]"), Some(json!(7)));
        assert_eq!((found("items[2].name"), found("items.name"), found("other")), (None, None, None));
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_place() {
        let places = [
            ("", 1),
            (".a", 1),
            ("a.", 3),
            ("a..b", 3),
            ("a[", 3),
            ("a[x]", 3),
            ("a[-1]", 3),
            ("a[1", 4),
            ("a[1]b", 5),
            ("ä b", 2),
            ("a[\"k", 3),
            ("a[\"k\"", 6),
            ("[0]", 1),
            ("a[99999999999999999999]", 3),
        ];
        for (text, at) in places {
            assert_eq!(FieldPath::parse(text).map_err(|error| error.at), Err(at), "{text}");
        }
        assert!(FieldPath::parse(&"a".repeat(257)).is_err());
    }

    #[test]
    fn the_last_name_is_what_a_value_is_called() {
        let last = |path: &str| FieldPath::parse(path).unwrap().last_name().to_owned();
        assert_eq!((last("a.tokens[3]").as_str(), last("a[\"k\"]").as_str()), ("tokens", "k"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_within_it(text in "\\PC{0,40}|[a-c.\\[\\]\"0-9]{0,20}") {
            match FieldPath::parse(&text) {
                Ok(path) => {
                    prop_assert_eq!(FieldPath::parse(&path.to_string()).unwrap(), path);
                }
                Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.at)),
            }
        }
    }
}
