//! Tables below a table: fixed ones, lists of them, and those under names that the user chooses.

use super::{Table, describe};
use crate::config::errors::{Complaint, Findings, Site, Stated};
use crate::config::schema::{self, Kind};
use toml::Spanned;
use toml::de::DeValue;

impl<'t> Table<'t> {
    /// A table whose keys the user chooses: name, value (text) and place of each, ordered by name.
    ///
    /// Values are not part of the places: metadata may carry credentials.
    pub fn pairs(&self, key: &str, findings: &mut Findings<'_>) -> Vec<(String, Stated<String>)> {
        let mut pairs = Vec::new();
        for (name, site, value) in self.named(key, findings) {
            match value.get_ref() {
                DeValue::String(text) => pairs.push((name, Stated { value: text.to_string(), site })),
                other => {
                    let what = format!("expected a string, found {}", describe(other));
                    findings.error(&site, what, "write the value in quotes");
                }
            }
        }
        pairs
    }

    /// The tables below a key, under names that the user chooses.
    pub fn named_tables(&self, key: &str, findings: &mut Findings<'_>) -> Vec<(String, Table<'t>)> {
        let schema_path = format!("{}.{key}.NAME", self.rows.path);
        let mut tables = Vec::new();
        for (name, site, value) in self.named(key, findings) {
            match value.get_ref() {
                DeValue::Table(entries) => {
                    let table = Table::new(&schema_path, site.key, Some(entries), site.line, findings);
                    tables.push((name, table));
                }
                other => {
                    let keys = schema::section(&schema_path).map(|rows| rows.keys).unwrap_or_default();
                    let fields: Vec<_> =
                        keys.iter().map(|row| format!("{} = {}", row.name, row.example)).collect();
                    let what = format!("expected a table, found {}", describe(other));
                    findings.error(&site, what, format!("write {{ {} }}", fields.join(", ")));
                }
            }
        }
        tables
    }

    fn named(&self, key: &str, findings: &mut Findings<'_>) -> Vec<(String, Site, &'t Spanned<DeValue<'t>>)> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let DeValue::Table(entries) = entry.get_ref() else {
            self.complain_of_type(key, entry, findings);
            return Vec::new();
        };
        let path = self.key_path(key);
        let place = |name: &str, value: &Spanned<DeValue<'_>>| Site {
            key: format!("{path}.{name}"),
            line: findings.line(value.span().start),
            value: None,
            written: true,
        };
        entries
            .iter()
            .map(|(name, value)| (name.get_ref().to_string(), place(name.get_ref(), value), value))
            .collect()
    }

    /// A table below this one; an empty one if it is absent.
    pub fn table_or_defaults(&self, key: &str, findings: &mut Findings<'_>) -> Table<'t> {
        let absent = |findings: &mut Findings<'_>| {
            Table::new(&self.below(key), self.key_path(key), None, self.line, findings)
        };
        self.table(key, findings).unwrap_or_else(|| absent(findings))
    }

    /// A table below this one. **None**: absent or refused.
    pub fn table(&self, key: &str, findings: &mut Findings<'_>) -> Option<Table<'t>> {
        let entry = self.entry(key)?;
        let DeValue::Table(entries) = entry.get_ref() else {
            self.complain_of_type(key, entry, findings);
            return None;
        };
        let line = findings.line(entry.span().start);
        Some(Table::new(&self.below(key), self.key_path(key), Some(entries), line, findings))
    }

    /// The tables of a list, such as every `[[probe]]`.
    pub fn tables(&self, key: &str, findings: &mut Findings<'_>) -> Vec<Table<'t>> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let DeValue::Array(entries) = entry.get_ref() else {
            self.complain_of_type(key, entry, findings);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for entry in entries.iter() {
            match entry.get_ref() {
                DeValue::Table(table) => {
                    let line = findings.line(entry.span().start);
                    tables.push(Table::new(
                        &self.below(key),
                        self.key_path(key),
                        Some(table),
                        line,
                        findings,
                    ));
                }
                _ => self.complain_of_type(key, entry, findings),
            }
        }
        tables
    }

    fn below(&self, key: &str) -> String {
        if self.rows.path.is_empty() { key.into() } else { format!("{}.{key}", self.rows.path) }
    }

    fn complain_of_type(&self, key: &str, entry: &Spanned<DeValue<'_>>, findings: &mut Findings<'_>) {
        let row = self.row(key);
        let site = self.site_of_entry(row, entry, findings);
        let path = self.below(key);
        let complaint = match (row.kind, entry.get_ref()) {
            (Kind::Tables, DeValue::Table(_)) => Complaint::new(
                format!("one table stands where a list of them belongs ([{path}] instead of [[{path}]])"),
                format!("write [[{path}]], once for each {path}"),
            ),
            (Kind::Table, DeValue::Array(_)) => Complaint::new(
                format!("a list of tables stands where one belongs ([[{path}]] instead of [{path}])"),
                format!("write [{path}] once, with single brackets"),
            ),
            (_, found) => Complaint::new(
                format!("expected {}, found {}", row.kind.expected(), describe(found)),
                format!("write {} and its keys on the lines below", schema::header(&path)),
            ),
        };
        findings.complain(&site, complaint);
    }
}
