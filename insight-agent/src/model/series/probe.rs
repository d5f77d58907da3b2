//! Series of the probes: latency, phases, success, and how honest the prober's own clock was.

use super::path::{SOURCE, TARGET};
use super::{Kind, Label, Series, closed, configured};
use crate::model::connection_event::{EventKind, EventReason};
use crate::model::outcome::{FailureClass, FailurePhase, GrpcStatus};
use crate::model::plan::{Connection, Mode};
use crate::model::sample::Phases;

pub(super) const PROBE: Label =
    configured("probe", "the probes' names; of endpoints, at most max_probes for each template");
const MODE: Label = closed("mode", &Mode::NAMES);
pub(super) const CONNECTION: Label = closed("connection", &Connection::NAMES);

/// Bucket bounds of probe latencies, in seconds: 1-1.5-2-3-5-7 a decade around the latencies of
/// continents (1 ms to 1 s), coarser outside. With half of them a p99 of 150 ms would be off by up
/// to 60 ms; with double, every probe would cost twice the 31 series it costs now.
pub const LATENCY_BOUNDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07,
    0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0,
];

/// Bucket bounds of schedule lag, in seconds: the prober's timer resolves 1 ms.
const LAG_BOUNDS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0];

/// With more probes than this, [`DURATION`] and [`SCHEDULE_LAG`] are of a path and not of a probe: their `probe`
/// is empty. At 31 and 13 series each, half as many probes more would be a page of 100,000 series.
pub const HISTOGRAM_PROBES_MOST: usize = 500;

/// The full latency distribution.
pub const DURATION: Series = Series {
    name: "insight_probe_duration_seconds",
    help: "Latency of successful probes from the first phase to the trailers, in seconds; late answers with their true duration, failures never. With more than 500 probes one per path, without probe.",
    kind: Kind::Histogram(LATENCY_BOUNDS),
    labels: &[SOURCE, TARGET, PROBE, MODE, CONNECTION],
    bound: "probes but link ones (500), or paths x modes (2), x connections (2)",
};

/// Each phase apart.
pub const PHASE: Series = Series {
    name: "insight_probe_phase_seconds",
    help: "Duration of each phase of successful probes, in seconds: sum and count, for means.",
    kind: Kind::Summary,
    labels: &[SOURCE, TARGET, PROBE, MODE, CONNECTION, closed("phase", &Phases::NAMES)],
    bound: "probes but link ones x (3 phases on reused + 8 on fresh connections)",
};

/// How probes ended.
pub const RESULTS: Series = Series {
    name: "insight_probe_results_total",
    help: "Probes that ended, by gRPC status; OK includes late and voided answers, UNKNOWN those that are OK and not what is expected, while a failure that is voided is in none. Of link probes, fresh are the handshakes and reused the PINGs.",
    kind: Kind::Counter,
    labels: &[SOURCE, TARGET, PROBE, MODE, CONNECTION, closed("status", &GrpcStatus::NAMES)],
    bound: "probes x connections (2) x statuses that occurred (17)",
};

/// Who is named by failures.
pub const FAILURES: Series = Series {
    name: "insight_probe_failures_total",
    help: "Failed probes by failure class, who or what is named by the way in which they failed, and by the phase in which they ended.",
    kind: Kind::Counter,
    labels: &[
        SOURCE,
        TARGET,
        PROBE,
        MODE,
        CONNECTION,
        closed("class", &FailureClass::NAMES),
        closed("phase", &FailurePhase::NAMES),
    ],
    bound: "probes x connections (2) x pairs of class (17) and phase (10) that occurred, at most 32 of which go together",
};

/// What happened to connections, besides answers.
pub const CONNECTION_EVENTS: Series = Series {
    name: "insight_probe_connection_events_total",
    help: "What next hops did to the probes' connections, besides answering: GOAWAY and RST_STREAM frames by error code, SETTINGS after the first ones by parameter, and requests that could not be sent at once by what held them.",
    kind: Kind::Counter,
    labels: &[
        SOURCE,
        TARGET,
        PROBE,
        MODE,
        CONNECTION,
        closed("event", &EventKind::NAMES),
        closed("reason", &EventReason::NAMES),
    ],
    bound: "probes x connections (2) x events with their reasons that occurred (40)",
};

/// How far PINGs were backed off.
pub const PING_INTERVAL: Series = Series {
    name: "insight_probe_ping_interval_seconds",
    help: "Least time between two PINGs of a probe whose next hop asked for fewer (GOAWAY with ENHANCE_YOUR_CALM), in seconds; doubled each time. Absent while none did.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE],
    bound: "probes whose next hop objected",
};

/// Answers after the deadline.
pub const LATE: Series = Series {
    name: "insight_probe_late_total",
    help: "Good answers that came after the deadline, within the drain time.",
    kind: Kind::Counter,
    labels: &[SOURCE, TARGET, PROBE, MODE, CONNECTION],
    bound: "probes but link ones x connections (2)",
};

/// Scheduled and never sent.
pub const SKIPPED: Series = Series {
    name: "insight_probe_skipped_total",
    help: "Scheduled probes that were not sent because too many of their kind were still under way; a path that hangs shows here first.",
    kind: Kind::Counter,
    labels: &[SOURCE, TARGET, PROBE, MODE, CONNECTION],
    bound: "probes x connections (2)",
};

/// How often connections had to be opened.
pub const CONNECTIONS: Series = Series {
    name: "insight_probe_connections_total",
    help: "Connections that probes opened; on reused connections every one after the first is a reconnect.",
    kind: Kind::Counter,
    labels: &[SOURCE, TARGET, PROBE, MODE, CONNECTION],
    bound: "probes x connections (2)",
};

/// How late probes started.
pub const SCHEDULE_LAG: Series = Series {
    name: "insight_probe_schedule_lag_seconds",
    help: "How much later than scheduled probes started, in seconds. With more than 500 probes one per path, without probe.",
    kind: Kind::Histogram(LAG_BOUNDS),
    labels: &[SOURCE, TARGET, PROBE, MODE, CONNECTION],
    bound: "probes (500), or paths x modes (3), x connections (2)",
};

/// Success share of the last window, for alerts that need no rate.
pub const SUCCESS_RATIO: Series = Series {
    name: "insight_probe_success_ratio",
    help: "Share of the probes that ended in the last complete window with a good answer, 0 to 1; absent when none ended.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, MODE, CONNECTION],
    bound: "probes x connections (2)",
};

/// The rulers that end nearer than the RPC.
pub const RULER: Series = Series {
    name: "insight_probe_ruler_seconds",
    help: "Round trips on the probe's own connection that end at the next hop, in seconds, median of the last complete window: handshake and ack by its kernel, ping by its event loop.",
    kind: Kind::Gauge,
    labels: &[SOURCE, TARGET, PROBE, CONNECTION, closed("ruler", &RULERS)],
    bound: "probes x (3 rulers on reused + 2 on fresh connections)",
};

/// Names of the rulers.
pub const RULERS: [&str; 4] = ["handshake", "ack", "ack_min", "ping"];

/// This file's families.
pub const SERIES: &[Series] = &[
    DURATION,
    PHASE,
    RESULTS,
    FAILURES,
    LATE,
    SKIPPED,
    CONNECTIONS,
    CONNECTION_EVENTS,
    PING_INTERVAL,
    SCHEDULE_LAG,
    SUCCESS_RATIO,
    RULER,
];
