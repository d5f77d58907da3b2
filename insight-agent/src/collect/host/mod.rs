//! Readers of the host: /proc and /sys, never anything remote.
//!
//! Each file has a reader that takes a [`Root`] and gives `None` for what is not there. A file that
//! is there and makes no sense is dropped whole and counted: a figure beside a mangled one is not
//! believed either. [`HostReader`] puts all of them together.

mod conntrack;
mod cpu;
mod devices;
mod load;
mod memory;
mod netstat;
mod pressure;
mod reader;
mod root;
pub mod schedstat;
mod sockstat;
mod softnet;
mod stat;
mod uname;

pub use reader::{HostReader, HostSettings};
pub use root::Root;
