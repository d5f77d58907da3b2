//! Lines that the programs write for people, passed on to `tracing`: feature `kernel-log` only.
//!
//! The object that writes them is not the committed one, whose programs have neither the map nor
//! the time for it. `cargo xtask build-ebpf --kernel-log` builds it, and the agent reads it when it
//! loads, so that building an agent with this feature needs nothing that others do not need.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Names another place for the object, for an agent that was carried to another machine.
pub const OBJECT_VARIABLE: &str = "INSIGHT_KERNEL_LOG_OBJECT";

/// Where the command that builds it puts it.
const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/insight-kernel-log.bpf.o");

/// The object with lines in it. **None**: it cannot be read, which is said.
pub fn object() -> Option<Vec<u8>> {
    let path = std::env::var_os(OBJECT_VARIABLE).map_or_else(|| PathBuf::from(OBJECT), PathBuf::from);
    std::fs::read(&path)
        .inspect_err(|error| {
            tracing::warn!(
                "read {}: {error}: the kernel half will write no lines; build it with `cargo xtask build-ebpf \
                 --kernel-log`, or name it in {OBJECT_VARIABLE}",
                path.display()
            );
        })
        .ok()
}

/// The ring buffer that the lines come through.
pub struct Lines(Mutex<EbpfLogger<Forward>>);

impl fmt::Debug for Lines {
    /// The logger has no text of its own.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    /// Takes the ring buffer out of a loaded object. **None**: it has none.
    pub fn open(ebpf: &mut Ebpf) -> Option<Self> {
        EbpfLogger::init_with_logger(ebpf, Forward).ok().map(|logger| Self(Mutex::new(logger)))
    }

    /// Passes on what was written since the last call. Never waits for more.
    pub fn forward(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }
}

/// Turns a line into an event.
pub struct Forward;

impl Log for Forward {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        // Which levels are wanted, the subscriber knows.
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (line, program) = (record.args(), record.target());
        match record.level() {
            Level::Error => tracing::error!(program, "{line}"),
            Level::Warn => tracing::warn!(program, "{line}"),
            Level::Info => tracing::info!(program, "{line}"),
            Level::Debug => tracing::debug!(program, "{line}"),
            Level::Trace => tracing::trace!(program, "{line}"),
        }
    }

    fn flush(&self) {}
}
