//! Series of a path: the users' own latency figure, and the ledger that takes it apart. White-box
//! probes have a ledger, and black-box ones whose service writes `grpc-server-stats-bin`.

use super::{Kind, Label, Series, closed, configured};
use crate::model::ledger::{Evidence, LedgerKind};

pub(super) const SOURCE: Label = configured("source", "this agent's region");
pub(super) const TARGET: Label = configured("target", "the probes' target regions");
const PROBE: Label = configured("probe", "the probes' names");
const LEDGER_KIND: Label = closed("ledger", &LedgerKind::NAMES);
const SEGMENT: Label =
    configured("segment", "link:A>B, hop:NAME for the routes' hops, service, transfer, unexplained");

/// The users' own series: absent when the last window had no success.
pub const CROSS_REGION_LATENCY: Series = Series {
    name: "cross_region_latency_ms",
    help: "Median latency from one region to another over the last complete window, in milliseconds: successful small-payload samples on reused connections, white-box if there are any. Absent without a success.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET],
    bound: "target regions",
};

/// One entry of a probe's ledger.
pub const LEDGER: Series = Series {
    name: "insight_path_ledger_seconds",
    help: "One entry of a ledger (link, hop, service, transfer, unexplained) over the last complete window, in seconds: its mean, or its smallest round trip where evidence is rtt_floor or link_probe. ledger=probe is of the probe's own requests, ledger=window of what the nodes on its path measured. Absent when the window holds no evidence for it.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, LEDGER_KIND, SEGMENT, closed("evidence", &Evidence::NAMES)],
    bound: "probes with a ledger x 2 ledgers x (2 x hops + 4, and a merged link for each stretch that fell silent) x evidence kinds that occur (1 to 2 a segment)",
};

/// How many requests an entry's mean is of.
pub const LEDGER_SAMPLES: Series = Series {
    name: "insight_path_ledger_samples",
    help: "Number of requests, reads or round trips in the last complete window that gave evidence for the ledger's entry.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, LEDGER_KIND, SEGMENT],
    bound: "probes with a ledger x 2 ledgers x (2 x hops + 4, and a merged link for each stretch that fell silent)",
};

/// End to end, as the ledger's sum must give it.
pub const LEDGER_END_TO_END: Series = Series {
    name: "insight_path_ledger_end_to_end_seconds",
    help: "Mean over the last complete window of request + wait + response of the probes that the ledger is made of, in seconds.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, LEDGER_KIND],
    bound: "probes with a ledger x 2 ledgers",
};

/// The rest of the telescoped sum.
pub const LEDGER_RESIDUAL: Series = Series {
    name: "insight_path_ledger_residual_seconds",
    help: "Mean over the last complete window of first-byte time minus the telescoped sum of hop headers, in seconds; it closes by construction, so it holds rounding only.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE],
    bound: "probes with a ledger",
};

/// How old what the nodes told is.
pub const LEDGER_AGE: Series = Series {
    name: "insight_path_ledger_age_seconds",
    help: "Age at the window's end of the evidence for an entry of the ledger that the nodes measured, in seconds; of an entry without a figure, for how long the node beside it has been silent.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, SEGMENT],
    bound: "probes with a ledger x (2 x hops + 4, and a merged link for each stretch that fell silent)",
};

/// The hops' names.
const HOP: Label = configured("hop", "the routes' hops");

/// How busy a hop's CPUs were.
pub const HOP_BUSY: Series = Series {
    name: "insight_path_hop_busy_ratio",
    help: "Busy share of the CPUs that the forwarder of a hop may run on, from 0 to 1, as the agent on that hop read it last; of several forwarders, the highest. Absent when that agent does not tell.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, HOP],
    bound: "paths x hops",
};

/// How far a hop was held back.
pub const HOP_THROTTLED: Series = Series {
    name: "insight_path_hop_throttled_ratio",
    help: "Time for which the control groups of a hop's forwarders were held back, in seconds per second, as the agent on that hop read it last; above 1 with several threads. Absent when that agent does not tell.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, HOP],
    bound: "paths x hops",
};

/// How long a hop's threads stood in line.
pub const HOP_RUN_DELAY: Series = Series {
    name: "insight_path_hop_run_delay_ratio",
    help: "Time for which the threads of a hop's forwarders could have run and had no CPU, in seconds per second, as the agent on that hop read it last; above 1 with several threads. Absent when that agent does not tell.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, HOP],
    bound: "paths x hops",
};

/// Entries that cannot be.
pub const LEDGER_INCONSISTENT: Series = Series {
    name: "insight_path_ledger_inconsistent_total",
    help: "Ledger entries that were negative beyond the resolution of their sources.",
    kind: Kind::Counter,
    labels: &[SOURCE, TARGET, PROBE, LEDGER_KIND, SEGMENT],
    bound: "probes with a ledger x 2 ledgers x (2 x hops + 4, and a merged link for each stretch that fell silent)",
};

/// This file's families.
pub const SERIES: &[Series] = &[
    CROSS_REGION_LATENCY,
    LEDGER,
    LEDGER_SAMPLES,
    LEDGER_END_TO_END,
    LEDGER_RESIDUAL,
    LEDGER_AGE,
    HOP_BUSY,
    HOP_THROTTLED,
    HOP_RUN_DELAY,
    LEDGER_INCONSISTENT,
];
