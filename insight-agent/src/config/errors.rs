//! What is wrong with a configuration, and where: one line per finding, all findings at once.

use super::near_miss::near_miss;
use std::fmt;
use std::ops::Range;

/// Longest excerpt of the file that an error repeats, in characters. Twice that would wrap on
/// most terminals; half of it would cut ordinary paths and addresses.
const EXCERPT_CHARS: usize = 60;

/// One thing that is wrong, printed as `FILE:LINE: KEY = VALUE: what; what to do`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as it was named.
    pub file: String,
    /// 1-based. **None**: it concerns the file as a whole (it cannot be read).
    pub line: Option<usize>,
    /// The key with its table, such as `probe.interval`. **None**: a syntax error.
    pub key: Option<String>,
    /// The value as the file writes it. **None**: absent, too long to help, or possibly a secret.
    pub value: Option<String>,
    /// What was found and what was expected.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => write!(f, ": {key} = {value}")?,
            (Some(key), None) => write!(f, ": {key}")?,
            (None, _) => {}
        }
        write!(f, ": {}; {}", self.what, self.advice)
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong with a configuration, in the order of its lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The findings, in the order of their lines.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    /// A finding about the file as a whole.
    pub(super) fn of_file(file: String, what: String, advice: &str) -> Self {
        let advice = advice.into();
        Self(vec![ConfigError { file, line: None, key: None, value: None, what, advice }])
    }
}

impl fmt::Display for ConfigErrors {
    /// One line per finding, without a line end after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What a value's reader has against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    /// What was found and what was expected.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl Complaint {
    pub fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into() }
    }
}

/// Where something is stated, ready to be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    pub key: String,
    pub line: usize,
    /// The value as written; `None` where there is none or where it may be a secret.
    pub value: Option<String>,
    /// Whether the file states it; otherwise it is a default and `line` is its table's.
    pub written: bool,
}

/// A value and where it was stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stated<T> {
    pub value: T,
    pub site: Site,
}

/// Collects what is found in one text.
pub(super) struct Findings<'t> {
    file: &'t str,
    text: &'t str,
    /// Offsets of all line ends, in order: every value has a line, and a file may have 100,000 of them.
    line_ends: Vec<usize>,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
    /// Whether files that are named have been looked at before.
    knows_files: bool,
}

impl<'t> Findings<'t> {
    pub fn new(file: &'t str, text: &'t str) -> Self {
        let line_ends =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { file, text, line_ends, errors: Vec::new(), warnings: Vec::new(), knows_files: false }
    }

    /// For a table that is read again with other strings: without its text, and without another look at the
    /// files that it names.
    pub fn again() -> Self {
        Self { knows_files: true, ..Self::new("", "") }
    }

    pub fn knows_files(&self) -> bool {
        self.knows_files
    }

    /// What was found first. **None**: nothing is wrong.
    pub fn first_error(&self) -> Option<&ConfigError> {
        self.errors.first()
    }

    /// The 1-based line of a byte offset.
    pub fn line(&self, offset: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < offset)
    }

    /// A value as the file writes it, cut to what helps.
    pub fn excerpt(&self, span: Range<usize>) -> Option<String> {
        let written = self.text.get(span)?.trim();
        // What stands before an @ in an address may be a password.
        let first_line = written.lines().next().filter(|line| !line.contains('@'))?;
        let mut excerpt: String = first_line.chars().take(EXCERPT_CHARS).collect();
        if excerpt.len() < written.len() {
            excerpt.push('…');
        }
        Some(excerpt)
    }

    pub fn error(&mut self, site: &Site, what: impl Into<String>, advice: impl Into<String>) {
        let error = self.finding(site, what.into(), advice.into());
        self.errors.push(error);
    }

    /// As [`Findings::error`], unless this place has an error already.
    pub fn error_once(&mut self, site: &Site, what: impl Into<String>, advice: impl Into<String>) {
        let known =
            |error: &ConfigError| error.line == Some(site.line) && error.key.as_ref() == Some(&site.key);
        if !self.errors.iter().any(known) {
            self.error(site, what, advice);
        }
    }

    pub fn complain(&mut self, site: &Site, complaint: Complaint) {
        self.error(site, complaint.what, complaint.advice);
    }

    pub fn warn(&mut self, site: &Site, what: impl Into<String>, advice: impl Into<String>) {
        let warning = self.finding(site, what.into(), advice.into());
        self.warnings.push(warning);
    }

    /// Something the TOML grammar refuses; the value is left out, since it might be a secret.
    pub fn syntax(&mut self, offset: usize, message: &str) {
        let line = Some(self.line(offset));
        let what = format!("not valid TOML: {}", lower_first(message));
        let advice = "correct the syntax of this line (https://toml.io)".into();
        self.errors.push(ConfigError { file: self.file.into(), line, key: None, value: None, what, advice });
    }

    fn finding(&self, site: &Site, what: String, advice: String) -> ConfigError {
        ConfigError {
            file: self.file.into(),
            line: Some(site.line),
            key: Some(site.key.clone()),
            value: site.value.clone(),
            what,
            advice,
        }
    }

    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The warnings as lines, or every error.
    pub fn into_result(mut self) -> Result<Vec<String>, ConfigErrors> {
        if self.errors.is_empty() {
            self.warnings.sort_by_key(|warning| warning.line);
            return Ok(self.warnings.iter().map(ToString::to_string).collect());
        }
        self.errors.sort_by_key(|error| error.line);
        Err(ConfigErrors(self.errors))
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// "did you mean …; allowed here: …" for a word out of a closed set.
pub(super) fn offer<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> String {
    let allowed: Vec<&str> = allowed.into_iter().collect();
    let list = allowed.join(", ");
    match near_miss(word, allowed) {
        Some(near) => format!("did you mean \"{near}\"? allowed here: {list}"),
        None => format!("allowed here: {list}"),
    }
}
