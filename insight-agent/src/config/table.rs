//! Reads one table of the file along its rows of the schema: types, ranges, defaults, unknown keys.
//!
//! Works on the parsed tree rather than through derived deserialisation, which stops at the
//! first error: here every finding of every table is reported at once, each with its line.

mod nested;
pub mod tree;

use super::errors::{Complaint, Findings, Site, Stated, offer};
use super::near_miss::near_miss;
use super::schema::{self, Fallback, Key, Kind, Section};
use super::{duration, size};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table of the file (or an absent one, of which all keys have their defaults).
pub(super) struct Table<'t> {
    /// Prefix of the keys in messages, such as `route.tls`.
    path: String,
    rows: &'static Section,
    entries: Option<&'t DeTable<'t>>,
    line: usize,
}

impl<'t> Table<'t> {
    /// The whole file.
    pub fn root(entries: &'t DeTable<'t>, findings: &mut Findings<'_>) -> Self {
        Self::new("", String::new(), Some(entries), 1, findings)
    }

    /// A table whose keys have been held against its rows before.
    pub fn again(schema_path: &str, path: String, entries: &'t DeTable<'t>, line: usize) -> Self {
        let rows = schema::section(schema_path).unwrap_or(&schema::SECTIONS[0]);
        Self { path, rows, entries: Some(entries), line }
    }

    fn new(
        schema_path: &str,
        path: String,
        entries: Option<&'t DeTable<'t>>,
        line: usize,
        findings: &mut Findings<'_>,
    ) -> Self {
        let rows = schema::section(schema_path).unwrap_or(&schema::SECTIONS[0]);
        debug_assert_eq!(rows.path, schema_path, "a table that is read has its rows");
        let table = Self { path, rows, entries, line };
        table.reject_unknown(findings);
        table
    }

    /// The table itself, for findings about what it lacks.
    pub fn site(&self) -> Site {
        Site { key: self.path.clone(), line: self.line, value: None, written: true }
    }

    /// The place of a key that is not stated.
    pub fn site_of(&self, key: &str) -> Site {
        Site { key: self.key_path(key), line: self.line, value: None, written: false }
    }

    /// Its line in the file.
    pub fn line(&self) -> usize {
        self.line
    }

    /// All that the file states in it.
    pub fn entries(&self) -> Option<&'t DeTable<'t>> {
        self.entries
    }

    /// Whether the file states a key.
    pub fn states(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// The place of a key that is stated (of the table, if it is not).
    pub fn stated_site(&self, key: &str, findings: &Findings<'_>) -> Site {
        match self.entry(key) {
            Some(entry) => self.site_of_entry(self.row(key), entry, findings),
            None => self.site_of(key),
        }
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    fn row(&self, key: &str) -> &'static Key {
        let row = self.rows.keys.iter().find(|row| row.name == key);
        debug_assert!(row.is_some(), "{key} is read but no key of [{}]", self.rows.path);
        row.unwrap_or(&self.rows.keys[0])
    }

    fn entry(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.entries.and_then(|entries| entries.get(key))
    }

    // ---- values -----------------------------------------------------------------------------

    /// A string, read further by `parse`. **None**: neither stated nor defaulted, or refused.
    pub fn text<T>(
        &self,
        key: &str,
        findings: &mut Findings<'_>,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<Stated<T>> {
        self.value(key, findings, |row, value| match (value, row.kind) {
            (DeValue::String(text), Kind::Choice(words)) if !words.contains(&text.as_ref()) => {
                let quoted = words.iter().copied();
                Err(Complaint::new("no such choice", offer(text, quoted)))
            }
            (DeValue::String(text), _) => parse(text),
            _ => Err(mistyped(row, value)),
        })
    }

    /// A string as it is.
    pub fn string(&self, key: &str, findings: &mut Findings<'_>) -> Option<Stated<String>> {
        self.text(key, findings, |text| Ok(text.to_owned()))
    }

    /// true or false.
    pub fn flag(&self, key: &str, findings: &mut Findings<'_>) -> Option<Stated<bool>> {
        self.value(key, findings, |row, value| value.as_bool().ok_or_else(|| mistyped(row, value)))
    }

    /// A duration within the row's range.
    pub fn duration(&self, key: &str, findings: &mut Findings<'_>) -> Option<Stated<Duration>> {
        self.value(key, findings, |row, value| match (value, row.kind) {
            (DeValue::String(text), Kind::Duration { least, most }) => {
                let read = duration::parse(text)
                    .map_err(|error| Complaint::new(error.to_string(), error.advice()))?;
                in_range(row, read, &least, &most)
            }
            (DeValue::Integer(_) | DeValue::Float(_), _) => {
                Err(Complaint::new("a duration needs a unit, in quotes", with_unit(row, value, "s")))
            }
            _ => Err(mistyped(row, value)),
        })
    }

    /// A size in bytes within the row's range.
    pub fn bytes(&self, key: &str, findings: &mut Findings<'_>) -> Option<Stated<usize>> {
        self.value(key, findings, |row, value| match (value, row.kind) {
            (DeValue::String(text), Kind::Size { most }) => {
                let read =
                    size::parse(text).map_err(|error| Complaint::new(error.to_string(), error.advice()))?;
                let read = in_range(row, read, &0, &most)?;
                usize::try_from(read).map_err(|_| out_of_range(row))
            }
            (DeValue::Integer(_) | DeValue::Float(_), _) => {
                Err(Complaint::new("a size needs a unit, in quotes", with_unit(row, value, "B")))
            }
            _ => Err(mistyped(row, value)),
        })
    }

    /// A whole number within the row's range.
    pub fn count(&self, key: &str, findings: &mut Findings<'_>) -> Option<Stated<usize>> {
        self.value(key, findings, |row, value| match (value, row.kind) {
            (DeValue::Integer(digits), Kind::Count { least, most }) => {
                // Negative ones, and those beyond 64 bits, are as far out of range as any.
                let read =
                    u64::from_str_radix(digits.as_str(), digits.radix()).map_err(|_| out_of_range(row))?;
                let read = in_range(row, read, &least, &most)?;
                usize::try_from(read).map_err(|_| out_of_range(row))
            }
            _ => Err(mistyped(row, value)),
        })
    }

    /// A share: above 0, up to 1.
    pub fn share(&self, key: &str, findings: &mut Findings<'_>) -> Option<Stated<f64>> {
        self.value(key, findings, |row, value| {
            let read = match value {
                DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
                DeValue::Integer(digits) => digits.as_str().parse::<f64>().ok(),
                _ => return Err(mistyped(row, value)),
            };
            let zero = matches!(row.kind, Kind::Share { zero: true });
            // Written so that NaN fails too.
            read.filter(|share| (*share > 0.0 || zero && *share == 0.0) && *share <= 1.0)
                .ok_or_else(|| out_of_range(row))
        })
    }

    /// Any finite number.
    pub fn number(&self, key: &str, findings: &mut Findings<'_>) -> Option<Stated<f64>> {
        self.value(key, findings, |row, value| {
            let read = match value {
                DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
                DeValue::Integer(digits) => digits.as_str().parse::<f64>().ok(),
                _ => return Err(mistyped(row, value)),
            };
            read.filter(|number| number.is_finite()).ok_or_else(|| out_of_range(row))
        })
    }

    /// A list of strings, each with its own place. **None**: refused.
    pub fn list(&self, key: &str, findings: &mut Findings<'_>) -> Option<Stated<Vec<String>>> {
        self.value(key, findings, |row, value| {
            let entries = value.as_array().ok_or_else(|| mistyped(row, value))?;
            let texts = entries.iter().map(|entry| match entry.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                _ => Err(mistyped(row, value)),
            });
            texts.collect()
        })
    }

    fn value<T>(
        &self,
        key: &str,
        findings: &mut Findings<'_>,
        read: impl FnOnce(&'static Key, &DeValue<'_>) -> Result<T, Complaint>,
    ) -> Option<Stated<T>> {
        let row = self.row(key);
        let site = self.stated_site(key, findings);
        let result = match (self.entry(key), row.fallback) {
            (Some(entry), _) => read(row, entry.get_ref()),
            // Defaults go through the same reading and the same checks as what users write.
            (None, Fallback::Value(text)) => read(row, DeValue::parse(text).ok()?.get_ref()),
            (None, Fallback::Derived(_)) => return None,
            // The typo that stands in its place has been answered with the right name.
            (None, Fallback::Required) if self.is_misspelled(row) => return None,
            (None, Fallback::Required) => {
                let advice = format!("add a line such as {} = {}", row.name, row.example);
                Err(Complaint::new(format!("required in {}", schema::header(self.rows.path)), advice))
            }
        };
        match result {
            Ok(value) => Some(Stated { value, site }),
            Err(complaint) => {
                findings.complain(&site, complaint);
                None
            }
        }
    }

    fn site_of_entry(&self, row: &Key, entry: &Spanned<DeValue<'_>>, findings: &Findings<'_>) -> Site {
        let value = match row.kind {
            Kind::Secret | Kind::Pairs | Kind::Table | Kind::Tables => None,
            _ => findings.excerpt(entry.span()),
        };
        Site { key: self.key_path(row.name), line: findings.line(entry.span().start), value, written: true }
    }

    // ---- unknown keys -----------------------------------------------------------------------

    /// A typo must not silently disable a probe: every key without a row is an error.
    ///
    /// Its value is not repeated: `token = "…"` is a likely mistake.
    fn reject_unknown(&self, findings: &mut Findings<'_>) {
        for (name, _) in self.entries.into_iter().flatten() {
            let (span, name) = (name.span(), name.get_ref());
            if self.rows.keys.iter().any(|row| row.name == name) {
                continue;
            }
            let line = findings.line(span.start);
            let site = Site { key: self.key_path(name), line, value: None, written: true };
            if let Some(advice) = schema::successor(self.rows.path, name) {
                findings.error(&site, "unknown key", advice);
                continue;
            }
            let offered = offer(name, self.rows.keys.iter().map(|row| row.name));
            let elsewhere = self.elsewhere(name);
            if elsewhere.is_empty() || offered.starts_with("did you mean") {
                findings.error(&site, "unknown key", offered);
            } else {
                let advice = format!("move it there; {offered}");
                findings.error(
                    &site,
                    format!("unknown key; it belongs to {}", elsewhere.join(" or ")),
                    advice,
                );
            }
        }
    }

    /// Whether a key that is absent stands there with a typo.
    fn is_misspelled(&self, row: &Key) -> bool {
        let known = || self.rows.keys.iter().map(|row| row.name);
        let unknown = self.entries.into_iter().flatten().map(|(name, _)| name.get_ref());
        unknown
            .filter(|name| !known().any(|known| known == name.as_ref()))
            .any(|name| near_miss(name, known()) == Some(row.name))
    }

    /// Headers of the tables that do have the key.
    fn elsewhere(&self, name: &str) -> Vec<String> {
        let knows =
            |section: &&Section| !section.path.is_empty() && section.keys.iter().any(|row| row.name == name);
        schema::SECTIONS.iter().filter(knows).map(|section| schema::header(section.path)).collect()
    }
}

fn in_range<T: PartialOrd>(row: &Key, value: T, least: &T, most: &T) -> Result<T, Complaint> {
    if value < *least || value > *most { Err(out_of_range(row)) } else { Ok(value) }
}

fn out_of_range(row: &Key) -> Complaint {
    let range = row.kind.range().unwrap_or_default();
    Complaint::new("out of range", format!("write a value in the range {range}"))
}

/// Advice for a bare number where a quantity belongs: the number itself with the likely unit.
fn with_unit(row: &Key, value: &DeValue<'_>, unit: &str) -> String {
    match value {
        DeValue::Integer(digits) if digits.as_str().bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("write \"{}{unit}\"", digits.as_str())
        }
        _ => format!("write {}", row.example),
    }
}

fn mistyped(row: &Key, found: &DeValue<'_>) -> Complaint {
    Complaint::new(
        format!("expected {}, found {}", row.kind.expected(), describe(found)),
        format!("write {} = {}", row.name, row.example),
    )
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
