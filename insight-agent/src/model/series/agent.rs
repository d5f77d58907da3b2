//! Series of the agent itself.

use super::{Kind, Label, Series, Values, closed, configured};
use crate::model::status::MeasurementState;

const fn constant(name: &'static str, what: &'static str) -> Label {
    Label { name, values: Values::Constant(what) }
}

/// Why a measurement is not active. The closed set of the `reason` label.
pub const REASONS: [&str; 19] = [
    "",
    "off",
    "warming_up",
    "no_answer",
    "no_evidence",
    "no_forwarder",
    "no_device",
    "no_btf",
    "hook_absent",
    "member_absent",
    "refused",
    "permission",
    "no_cgroup",
    "no_namespace",
    "unscoped",
    "stopped",
    "stale",
    "unreadable",
    "duplicate",
];

/// Which program runs.
pub const BUILD_INFO: Series = Series {
    name: "insight_build_info",
    help: "Always 1; the labels name the running program.",
    kind: Kind::Gauge,
    labels: &[
        constant("version", "the program's version"),
        constant("region", "this agent's region"),
        constant("node", "this agent's name"),
    ],
    bound: "1",
};

/// State of each measurement.
pub const MEASUREMENT_STATE: Series = Series {
    name: "insight_measurement_state",
    help: "1 for the state and reason that each measurement is in; other states are absent.",
    kind: Kind::Gauge,
    labels: &[
        configured("node", "this agent's name, the routes' hops and the links' ends"),
        configured("measurement", "the agent's measurements"),
        closed("state", &MeasurementState::NAMES),
        closed("reason", &REASONS),
    ],
    bound: "1 per measurement and node",
};

/// Start of the process.
pub const START_TIME: Series = Series {
    name: "insight_start_time_seconds",
    help: "When the agent started, in seconds since the Unix epoch.",
    kind: Kind::Gauge,
    labels: &[],
    bound: "1",
};

/// Length of the aggregation window.
pub const WINDOW: Series = Series {
    name: "insight_window_seconds",
    help: "Length of the window over which gauges are aggregated, in seconds.",
    kind: Kind::Gauge,
    labels: &[],
    bound: "1",
};

/// Whether the last reload succeeded; named as Prometheus names its own.
pub const RELOAD_SUCCESSFUL: Series = Series {
    name: "insight_config_last_reload_successful",
    help: "1 if the configuration that was read last is used, 0 if it was refused and nothing has changed.",
    kind: Kind::Gauge,
    labels: &[],
    bound: "1",
};

/// When a configuration was used last.
pub const RELOAD_SUCCESS_TIME: Series = Series {
    name: "insight_config_last_reload_success_timestamp_seconds",
    help: "When a configuration was last read and used, in seconds since the Unix epoch; at first, at the start.",
    kind: Kind::Gauge,
    labels: &[],
    bound: "1",
};

/// Whether the agent runs otherwise than its file says.
pub const RESTART_REQUIRED: Series = Series {
    name: "insight_config_restart_required",
    help: "1 if the configuration that was used last says something that counts only after a restart, else 0.",
    kind: Kind::Gauge,
    labels: &[],
    bound: "1",
};

/// This file's families.
pub const SERIES: &[Series] = &[
    BUILD_INFO,
    MEASUREMENT_STATE,
    START_TIME,
    WINDOW,
    RELOAD_SUCCESSFUL,
    RELOAD_SUCCESS_TIME,
    RESTART_REQUIRED,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernel::Reason;

    #[test]
    fn the_kernel_measurements_reasons_are_in_the_table() {
        assert!(Reason::ALL.iter().all(|reason| REASONS.contains(&reason.name())));
    }
}
