//! Descriptor sets that the configuration names. Many probes may name one file, a template once for each
//! endpoint: it is read when it has changed, and held once.

use crate::model::method::{DESCRIPTOR_BYTES_MOST, DescriptorSet, MethodError};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// A descriptor set that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// It holds something else.
    #[error("{0} is no descriptor set: {1}")]
    Content(PathBuf, MethodError),
}

/// What tells one content of a file from the next: device, inode, length, and when it was written, in ns.
type Stamp = (u64, u64, u64, i128);

/// What was read, as long as anybody holds it.
type Held = HashMap<PathBuf, (Stamp, Weak<DescriptorSet>)>;

static READ: LazyLock<Mutex<Held>> = LazyLock::new(Mutex::default);

/// The set in a file. Blocking. `is_known`: it has been loaded for the same configuration, so nobody looks at
/// the file again while somebody holds what was read.
///
/// # Errors
/// It cannot be read, or holds something else.
pub fn load(path: &Path, is_known: bool) -> Result<Arc<DescriptorSet>, LoadError> {
    let unreadable = |error| LoadError::Read(path.to_owned(), error);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    let held = read.get(path).and_then(|(stamp, set)| Some((*stamp, set.upgrade()?)));
    if let Some((_, set)) = held.as_ref().filter(|_| is_known) {
        return Ok(Arc::clone(set));
    }
    let file = File::open(path).map_err(unreadable)?;
    let attributes = file.metadata().map_err(unreadable)?;
    let written = i128::from(attributes.mtime()) * 1_000_000_000 + i128::from(attributes.mtime_nsec());
    let stamp = (attributes.dev(), attributes.ino(), attributes.len(), written);
    if let Some((_, set)) = held.filter(|(held, _)| *held == stamp) {
        return Ok(set);
    }
    let mut bytes = Vec::new();
    // One more than may be, so that more is seen to be too much.
    file.take(DESCRIPTOR_BYTES_MOST as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let set =
        DescriptorSet::parse(path, bytes).map_err(|error| LoadError::Content(path.to_owned(), error))?;
    let set = Arc::new(set);
    read.retain(|_, (_, set)| set.strong_count() > 0);
    read.insert(path.to_owned(), (stamp, Arc::downgrade(&set)));
    Ok(set)
}
