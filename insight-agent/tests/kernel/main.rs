//! The committed object in the running kernel: an injected delay must come back as that delay.
//!
//! Every test talks over loopback on a port of its own and looks only at the peer group of that
//! port, so that neither the other tests nor the rest of the machine are in its figures. Bounds
//! are what the test itself measured around the delay, not constants a loaded machine would miss.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agent;
mod cost;
mod drops;
mod entries;
mod exchange;
mod forwarding;
mod hold;
#[cfg(feature = "kernel-log")]
mod lines;
mod opening;
mod qdisc_wait;
mod receive_wait;
mod resets;
mod residence;
mod retransmits;
mod room;
mod rtt;
mod runqueue_wait;
mod sampling;
mod scope;
mod seeding;
mod send_blocked;
mod softirq_held;
mod softirq_wait;
mod states;
mod support;
