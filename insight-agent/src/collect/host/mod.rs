//! Readers of the host: /proc and /sys, never anything remote.
//!
//! Each file has a reader that takes a [`Root`] and gives `None` for what is not there. A file that
//! is there and makes no sense is dropped whole and counted: a figure beside a mangled one is not
//! believed either. [`HostReader`] puts all of them together.

mod cgroup;
mod conntrack;
mod cpu;
mod detect;
mod devices;
mod duplicate;
mod forwarders;
mod listeners;
mod load;
mod memory;
mod netstat;
mod pressure;
mod process;
mod reader;
mod root;
pub mod schedstat;
mod sockstat;
mod softnet;
mod stat;
mod tally;
mod uname;

pub use detect::{Detection, detect};
pub use duplicate::{NODE_EXPORTER_PORT, node_exporter};
pub use reader::{HostReader, HostSettings};
pub use root::Root;
pub(super) use root::Source;
