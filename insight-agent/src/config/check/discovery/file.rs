//! `[discovery.file]`: which files.

use crate::config::errors::{Complaint, Findings};
use crate::config::table::Table;
use crate::model::discovery::FilePlan;
use crate::model::glob::Glob;
use std::path::{Path, PathBuf};

/// The plan. **None**: `findings` has the reasons.
pub(super) fn read(table: &Table<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<FilePlan> {
    let stated = table.list("paths", findings)?;
    if stated.value.is_empty() {
        findings.error(&stated.site, "the list is empty", "name at least one file or pattern");
        return None;
    }
    let mut paths = Vec::new();
    let mut refused = false;
    for text in &stated.value {
        match path(base, text) {
            Ok(path) => paths.push(path),
            Err(complaint) => {
                findings.complain(&stated.site, complaint);
                refused = true;
            }
        }
    }
    (!refused).then_some(FilePlan { paths })
}

/// A path as patterns have it. Files need not be there yet: what writes them may start later.
fn path(base: &Path, text: &str) -> Result<PathBuf, Complaint> {
    let path = base.join(text);
    if text.is_empty() || text.ends_with('/') || path.file_name().is_none() {
        return Err(Complaint::new(
            format!("\"{text}\" names no file"),
            "write a path such as \"targets/*.json\"",
        ));
    }
    let folder = path.parent().unwrap_or(base).to_string_lossy();
    if Glob::parse(&folder).is_pattern() {
        let what = format!("in \"{text}\" a folder is a pattern");
        return Err(Complaint::new(what, "use * and ? behind the last slash only"));
    }
    let readable = ["toml", "json", "yaml", "yml"];
    if !readable.iter().any(|ending| text.ends_with(&format!(".{ending}"))) {
        return Err(Complaint::new(
            format!("\"{text}\" does not tell how the file is written"),
            "end it in .toml, .json, .yaml or .yml",
        ));
    }
    Ok(path)
}
