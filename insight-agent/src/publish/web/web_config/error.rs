//! What can be wrong with a web configuration.

use std::io;
use std::path::PathBuf;

/// A web configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {
    /// The file cannot be read.
    #[error("read web configuration {}", path.display())]
    Read {
        /// The web configuration.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not YAML, or a key that does not exist, or a value of the wrong type.
    #[error("{}: not a web configuration", path.display())]
    Yaml {
        /// The web configuration.
        path: PathBuf,
        /// The key or type, with line and column.
        #[source]
        source: serde_yaml_ng::Error,
    },
    /// A key whose value cannot be used.
    #[error("{}: {key}: {problem}", path.display())]
    Key {
        /// The web configuration.
        path: PathBuf,
        /// The key, with the keys above it.
        key: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// A file that a key names cannot be used.
    #[error("{}: {key} = {:?}: {problem}", path.display(), file.display())]
    File {
        /// The web configuration.
        path: PathBuf,
        /// The key, with the keys above it.
        key: &'static str,
        /// The file as it was looked for.
        file: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}
