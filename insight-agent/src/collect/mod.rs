//! What is measured by asking: everything here produces values of `model` and nothing else.

pub mod discovery;
pub mod doctor;
pub mod file_watch;
pub mod host;
pub mod kernel;
pub mod nodes;
pub mod probe;
mod tls;

pub use tls::{TlsError, TlsFiles, tls_files, watch_tls_files};
