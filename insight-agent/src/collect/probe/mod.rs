//! The active half: probes, their schedule, connections, rulers and hop headers.
//!
//! All probing happens on one thread of its own with a single-threaded runtime: nothing else of
//! the agent can delay a clock reading, and that thread's runqueue wait tells when the host did. When bytes
//! arrived is told by the kernel, so that an answer which waits for this thread to look is no slower for it.

mod access;
mod ask;
mod beat;
mod burst;
mod call;
mod calls;
mod connect;
mod event_log;
mod failure;
pub mod hop_headers;
pub mod http2;
mod link;
mod message;
mod names;
mod outbox;
mod ping;
pub mod proxy;
mod schedule;
mod session;
mod slots;
mod socket;
mod stall;
mod stamped;
mod tcp_info;

pub use access::AccessError;
pub use link::LinkProbe;
pub use schedule::{ProbeChange, ProbeControl, Prober, ProberError, ReadyProbes};
pub use session::{Probe, ProbeError};

#[cfg(test)]
mod link_tests;
#[cfg(test)]
mod reach_tests;
#[cfg(test)]
mod slots_tests;
#[cfg(test)]
mod stall_tests;
#[cfg(test)]
mod tests;
