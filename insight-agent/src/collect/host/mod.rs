//! Readers of the host: /proc and /sys, never anything remote.

pub mod schedstat;
