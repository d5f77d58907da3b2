//! Files that the configuration names: resolved against its folder, and readable now rather than
//! at the first use, which may be hours after the start.

use super::errors::{Complaint, Findings, Site, Stated};
use super::table::Table;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Longest content of a token file that is looked at: tokens are a few dozen bytes, and a
/// mistaken path may be a log of gigabytes.
const TOKEN_READ_BYTES: u64 = 4096;

/// A readable file. **None**: not stated, or refused.
pub(super) fn readable(
    table: &Table<'_>,
    key: &str,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<Stated<PathBuf>> {
    let is_known = findings.knows_files();
    table.text(key, findings, |text| {
        let path = path(base, text)?;
        if is_known {
            return Ok(path);
        }
        let refused = |error: std::io::Error| {
            let place = path.display();
            Complaint::new(
                format!("cannot read {place}: {error}"),
                "correct the path (relative ones start at the folder of this file), or make the file readable \
                 for the agent's user",
            )
        };
        let attributes = fs::metadata(&path).map_err(refused)?;
        if !attributes.is_file() {
            return Err(Complaint::new(format!("{} is not a regular file", path.display()), "name a file"));
        }
        File::open(&path).map_err(refused)?;
        Ok(path)
    })
}

/// A file that need not exist yet. **None**: not stated, or refused.
pub(super) fn planned(
    table: &Table<'_>,
    key: &str,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<Stated<PathBuf>> {
    table.text(key, findings, |text| path(base, text))
}

/// A stated path, from the configuration's folder on.
fn path(base: &Path, text: &str) -> Result<PathBuf, Complaint> {
    if text.is_empty() {
        return Err(Complaint::new("the path is empty", "write the path of a file, or remove the key"));
    }
    Ok(base.join(text))
}

/// A readable file whose content is a secret: warns if everyone on this host may read it.
pub(super) fn secret(
    table: &Table<'_>,
    key: &str,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<Stated<PathBuf>> {
    let file = readable(table, key, base, findings)?;
    if findings.knows_files() {
        return Some(file);
    }
    if let Some(warning) = open_to_all(&file.value) {
        findings.warn(&file.site, warning.what, warning.advice);
    }
    Some(file)
}

/// What is said of a secret that everyone on this host may read. **None**: nothing, or there is no such file.
pub(super) fn open_to_all(path: &Path) -> Option<Complaint> {
    let mode = fs::metadata(path).map(|attributes| attributes.permissions().mode()).unwrap_or(0);
    let what = format!("every user of this host may read it (mode {:04o})", mode & 0o7777);
    (mode & 0o004 != 0).then(|| Complaint::new(what, format!("run chmod o-rwx {}", path.display())))
}

/// Refuses a token file without a token. Its content is never repeated.
pub(super) fn require_token(path: &Path, site: &Site, findings: &mut Findings<'_>) {
    if content(path).is_some_and(|content| content.trim_ascii().is_empty()) {
        findings.error(
            site,
            "the file holds no token",
            "write a token into it, for example with: openssl rand -hex 32",
        );
    }
}

/// Refuses a file without a token, or with one that no header can carry.
pub(super) fn require_sendable_token(path: &Path, site: &Site, findings: &mut Findings<'_>) {
    if findings.knows_files() {
        return;
    }
    require_token(path, site, findings);
    let Some(content) = content(path) else { return };
    if content.trim_ascii().iter().any(|byte| !byte.is_ascii_graphic()) {
        findings.error(
            site,
            "the file holds more than one word of visible ASCII, which no header can carry",
            "write one line with the token and nothing else",
        );
    }
}

/// The beginning of a token file. **None**: unreadable, which `readable` has reported.
fn content(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(TOKEN_READ_BYTES).read_to_end(&mut content));
    read.is_ok().then_some(content)
}
