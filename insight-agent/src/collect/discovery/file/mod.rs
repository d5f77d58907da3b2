//! Endpoints out of files on this host: what another program writes there.
//!
//! Files are looked at as [`crate::collect::file_watch`] does, and read when they are other ones. One that
//! cannot be used keeps the endpoints that it had, and is named with the line; the others go on.

pub mod parse;

use super::{Outlet, Source, Watching};
use crate::collect::file_watch::{Seen, another};
use crate::model::discovery::{Endpoint, FilePlan, LookupClass, LookupFailure};
use crate::model::glob::Glob;
use parse::{Format, parse};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest file that is read: ten thousand endpoints with a kilobyte each, and half as much again. A log
/// under a mistaken name is larger.
const LENGTH_MOST: u64 = 16 << 20;

/// Most files that patterns may lead to.
const FILES_MOST: usize = 1_000;

/// Files that are watched.
#[derive(Debug)]
pub struct FileSource {
    plan: FilePlan,
}

impl FileSource {
    /// **plan**: where they are.
    pub fn new(plan: FilePlan) -> Self {
        Self { plan }
    }
}

impl Source for FileSource {
    fn watch(self: Box<Self>, outlet: Outlet) -> Watching {
        Box::pin(watch(self.plan, outlet))
    }
}

/// The files that a plan leads to at an instant. **None** for a file: it is not there. An error: a folder
/// cannot be read.
type Looked = Result<BTreeMap<PathBuf, Option<Seen>>, LookupFailure>;

/// What is known of a file.
#[derive(Debug, Default)]
struct Known {
    /// What it was when it was read.
    seen: Option<Seen>,
    /// What the last content that could be used told.
    endpoints: Vec<Endpoint>,
    /// What is wrong with the content of now.
    failure: Option<LookupFailure>,
}

async fn watch(plan: FilePlan, outlet: Outlet) {
    let mut files = BTreeMap::new();
    let mut told: Option<Vec<Endpoint>> = None;
    let mut looked = look(&plan).await;
    loop {
        let failure;
        (files, failure) = take(files, looked.clone()).await;
        let roster: Vec<_> = files.values().flat_map(|file: &Known| file.endpoints.clone()).collect();
        // Where nothing can be read there is nobody to tell of, and not nobody there.
        let is_known = failure.is_none() || !roster.is_empty();
        if is_known && told.as_ref() != Some(&roster) {
            outlet.roster(roster.clone()).await;
            told = Some(roster);
        } else if failure.is_none() {
            outlet.unchanged().await;
        }
        let is_good = failure.is_none();
        if let Some(failure) = failure {
            outlet.failed(failure).await;
        }
        let unchanged = || async {
            if is_good {
                outlet.unchanged().await;
            }
        };
        looked = another(&looked, || look(&plan), unchanged).await;
    }
}

async fn look(plan: &FilePlan) -> Looked {
    let plan = plan.clone();
    let looked = tokio::task::spawn_blocking(move || look_now(&plan)).await;
    looked.unwrap_or_else(|_| Err(failure(LookupClass::Unreachable, "looking at the files broke".to_owned())))
}

/// Blocking: some system calls for each file.
fn look_now(plan: &FilePlan) -> Looked {
    let mut files = BTreeMap::new();
    for path in &plan.paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let pattern = Glob::parse(name);
        if !pattern.is_pattern() {
            files.insert(path.clone(), Seen::at(path));
            continue;
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let refused = |error: std::io::Error| {
            failure(LookupClass::Unreachable, format!("read the folder {}: {error}", folder.display()))
        };
        for entry in std::fs::read_dir(folder).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let found = entry.file_name();
            // A hidden file is one that is being written, or an editor's.
            if !found.to_str().is_some_and(|found| !found.starts_with('.') && pattern.matches(found)) {
                continue;
            }
            let path = entry.path();
            if let Some(seen) = Seen::at(&path) {
                files.insert(path, Some(seen));
            }
            if files.len() > FILES_MOST {
                let detail = format!("{} leads to more than {FILES_MOST} files", path_text(&plan.paths));
                return Err(failure(LookupClass::TooMany, detail));
            }
        }
    }
    Ok(files)
}

fn path_text(paths: &[PathBuf]) -> String {
    let texts: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    texts.join(", ")
}

/// Reads what is another one than before. A file that is not there any more takes its endpoints with it if a
/// pattern led to it; one that is named keeps them, since whoever replaces it may be about to write it.
async fn take(
    known: BTreeMap<PathBuf, Known>,
    looked: Looked,
) -> (BTreeMap<PathBuf, Known>, Option<LookupFailure>) {
    let seen = match looked {
        Ok(seen) => seen,
        Err(failure) => return (known, Some(failure)),
    };
    let read = tokio::task::spawn_blocking(move || read_changed(known, seen)).await;
    let files = read.unwrap_or_default();
    let bad: Vec<_> = files.values().filter_map(|file| file.failure.clone()).collect();
    let mut failure = bad.first().cloned();
    if let (Some(failure), more @ 1..) = (&mut failure, bad.len().saturating_sub(1)) {
        failure.detail.push_str(&format!(" (and {more} more)"));
    }
    (files, failure)
}

/// Blocking: reads files.
fn read_changed(
    mut known: BTreeMap<PathBuf, Known>,
    looked: BTreeMap<PathBuf, Option<Seen>>,
) -> BTreeMap<PathBuf, Known> {
    let mut files = BTreeMap::new();
    for (path, seen) in looked {
        let mut file = known.remove(&path).unwrap_or_default();
        if seen.is_none() || seen != file.seen {
            file.seen = seen;
            match read(&path) {
                Ok(endpoints) => (file.endpoints, file.failure) = (endpoints, None),
                Err(failure) => file.failure = Some(failure),
            }
        }
        files.insert(path, file);
    }
    files
}

/// Blocking: reads a file.
fn read(path: &Path) -> Result<Vec<Endpoint>, LookupFailure> {
    let place = path.display().to_string();
    let refused = |error: std::io::Error| {
        let class = match error.kind() {
            std::io::ErrorKind::PermissionDenied => LookupClass::Denied,
            _ => LookupClass::Unreachable,
        };
        failure(class, format!("read {place}: {error}"))
    };
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LENGTH_MOST + 1).read_to_end(&mut content))
        .map_err(refused)?;
    if content.len() as u64 > LENGTH_MOST {
        return Err(failure(
            LookupClass::TooMany,
            format!("{place} is longer than {} MiB", LENGTH_MOST >> 20),
        ));
    }
    let mut endpoints = parse(Format::of(path), &content).map_err(|error| {
        let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
        failure(LookupClass::Malformed, format!("{place}{line}: {}", error.what))
    })?;
    for endpoint in &mut endpoints {
        endpoint.meta.entry("file.path".to_owned()).or_insert_with(|| place.clone());
    }
    Ok(endpoints)
}

fn failure(class: LookupClass, detail: String) -> LookupFailure {
    LookupFailure { class, detail }
}

#[cfg(test)]
mod tests;
