//! What an answer must be to count as a good one, beyond having come.
//!
//! Pure: given an answer's status, metadata and message, the first rule that it breaks. What a broken rule
//! says is seen on status pages and in logs: of what was answered it repeats at most [`SHOWN_CHARS`]
//! characters, escaped, and nothing of a value whose name says that it is a secret.

use super::field_path::FieldPath;
use super::outcome::GrpcStatus;
use http::HeaderMap;
use serde_json::Value;
use std::fmt;

/// Most characters of an answer that a failure repeats. With half of them identifiers are cut; many more
/// would carry payload onto status pages.
pub const SHOWN_CHARS: usize = 64;

/// Most rules of one probe: each is looked at in each sample, on the thread that takes the time.
pub const RULES_MOST: usize = 32;

/// What a probe expects of its answers. The default expects the status OK and nothing else.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expectations {
    /// The statuses that are good; empty: OK.
    pub statuses: Vec<GrpcStatus>,
    /// All of them must hold.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it speaks of.
    pub subject: Subject,
    /// What must hold of it. Without any of them it must exist.
    pub checks: Checks,
}

/// What a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A field of the answer's message; of a stream, of each of its messages.
    Field(FieldPath),
    /// A response header, in lower case.
    Header(String),
    /// A trailer, in lower case. An answer without a body has its trailers in its headers.
    Trailer(String),
}

/// What must hold of a value, as text: a string as it is, a number and a boolean as JSON writes them, an enum by
/// its name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checks {
    /// Exactly this.
    pub equals: Option<String>,
    /// This occurs in it.
    pub matches: Option<Pattern>,
    /// Whether it is there at all. With `Some(false)` there are no other checks.
    pub exists: Option<bool>,
    /// It is a number, and not less than this.
    pub least: Option<f64>,
    /// It is a number, and not more than this.
    pub most: Option<f64>,
}

/// A regular expression; two are equal if they are written alike.
#[derive(Debug, Clone)]
pub struct Pattern(regex::Regex);

/// A pattern that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

/// Bytes that a compiled pattern may take: one that needs more is slow to be had in each sample.
const PATTERN_BYTES: usize = 1 << 20;

impl Pattern {
    /// Compiles a pattern, in the syntax of the crate `regex`: linear time, whatever is answered.
    ///
    /// # Errors
    /// It is not valid, or larger than 1 MiB once compiled.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let compiled = regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
        compiled.map(Self).map_err(|error| {
            // The library draws the place over several lines; its last one says what is wrong.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            PatternError(last.trim_start_matches("error: ").to_owned())
        })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Expectations {
    /// Whether an answer of this status is a good one.
    pub fn takes(&self, status: GrpcStatus) -> bool {
        if self.statuses.is_empty() { status == GrpcStatus::Ok } else { self.statuses.contains(&status) }
    }

    /// The fields that its rules speak of.
    pub fn fields(&self) -> impl Iterator<Item = &FieldPath> {
        self.rules.iter().filter_map(|rule| match &rule.subject {
            Subject::Field(path) => Some(path),
            Subject::Header(_) | Subject::Trailer(_) => None,
        })
    }

    /// What the first rule says that this metadata breaks. **None**: none does.
    pub fn broken_by_metadata(&self, headers: &HeaderMap, trailers: Option<&HeaderMap>) -> Option<String> {
        self.rules.iter().find_map(|rule| {
            let (map, name) = match &rule.subject {
                Subject::Field(_) => return None,
                Subject::Header(name) => (headers, name),
                Subject::Trailer(name) => (trailers.unwrap_or(headers), name),
            };
            let values: Vec<_> =
                map.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            // What occurs several times reads as one list, as HTTP has it.
            let value = (!values.is_empty()).then(|| values.join(", "));
            rule.broken_by(value.as_deref(), name)
        })
    }

    /// What the first rule says that this message breaks. **None**: none does.
    pub fn broken_by_message(&self, message: &Value) -> Option<String> {
        self.rules.iter().find_map(|rule| {
            let Subject::Field(path) = &rule.subject else { return None };
            let value = path.find(message).map(as_text);
            rule.broken_by(value.as_deref(), path.last_name())
        })
    }
}

/// A value as rules compare it.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Rule {
    /// What it says if this value breaks it. `name`: what the value is called.
    fn broken_by(&self, value: Option<&str>, name: &str) -> Option<String> {
        let Checks { equals, matches, exists, least, most } = &self.checks;
        let Some(value) = value else {
            return (*exists != Some(false)).then(|| format!("{} is not there", self.subject));
        };
        let found = || shown(value, name);
        let broken = |must: String| Some(format!("{} is {}, and must {must}", self.subject, found()));
        if *exists == Some(false) {
            return broken("not be there".to_owned());
        }
        if let Some(wanted) = equals.as_ref().filter(|wanted| *wanted != value) {
            return broken(format!("be {}", shown(wanted, name)));
        }
        if let Some(pattern) = matches.as_ref().filter(|pattern| !pattern.0.is_match(value)) {
            return broken(format!("match {:?}", pattern.as_str()));
        }
        if least.is_none() && most.is_none() {
            return None;
        }
        let Ok(number) = value.parse::<f64>() else { return broken("be a number".to_owned()) };
        // Written so that NaN fails too.
        let fits = least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most);
        if fits {
            return None;
        }
        broken(match (least, most) {
            (Some(least), Some(most)) => format!("be from {least} to {most}"),
            (Some(least), None) => format!("be at least {least}"),
            (None, most) => format!("be at most {}", most.unwrap_or_default()),
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(path) => write!(f, "field {path}"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Trailer(name) => write!(f, "trailer {name}"),
        }
    }
}

/// Words that name what nobody wants on a status page.
const SECRET_WORDS: [&str; 8] =
    ["authorization", "cookie", "credential", "password", "passwd", "secret", "session", "token"];

/// A value as a failure may repeat it: escaped, cut, and not at all if its name says that it is secret.
fn shown(value: &str, name: &str) -> String {
    let name = name.to_lowercase();
    if SECRET_WORDS.iter().any(|word| name.contains(word)) {
        return "(not shown: its name says that it is a secret)".to_owned();
    }
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

#[cfg(test)]
#[path = "expect_tests.rs"]
mod tests;
