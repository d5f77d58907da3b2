//! The table of sockets that the other kernel measurements rest on.

use super::kernel::ROLE;
use super::{Kind, Series};

/// Connections that are older than the programs.
pub const SEEDED: Series = Series {
    name: "insight_sockets_seeded_total",
    help: "TCP connections that were open before the kernel measurements began, and are measured since.",
    kind: Kind::Counter,
    labels: &[ROLE],
    bound: "roles (2)",
};

/// This file's families.
pub const SERIES: &[Series] = &[SEEDED];
