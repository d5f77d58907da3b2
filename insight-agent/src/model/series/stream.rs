//! Series of streams of answers: how many messages came, and how evenly.

use super::path::{SOURCE, TARGET};
use super::probe::{CONNECTION, PROBE};
use super::{Kind, Label, Series};

const LABELS: &[Label] = &[SOURCE, TARGET, PROBE, CONNECTION];
const BOUND: &str = "probes of server-streaming methods x connections (2)";

/// How many messages came.
pub const MESSAGES: Series = Series {
    name: "insight_probe_stream_messages_total",
    help: "Messages that came in the answers of server-streaming methods, also of streams that broke.",
    kind: Kind::Counter,
    labels: LABELS,
    bound: BOUND,
};

/// How long until the first one.
pub const FIRST_MESSAGE: Series = Series {
    name: "insight_probe_stream_first_message_seconds",
    help: "Time from the start of a request to the first message of its stream, of good answers, in seconds: sum and count, for means.",
    kind: Kind::Summary,
    labels: LABELS,
    bound: BOUND,
};

/// How long it was quiet.
pub const LARGEST_GAP: Series = Series {
    name: "insight_probe_stream_largest_gap_seconds",
    help: "Longest time between one message of a stream and the next, of good answers with two or more, in seconds: sum and count, for means.",
    kind: Kind::Summary,
    labels: LABELS,
    bound: BOUND,
};

/// This file's families.
pub const SERIES: &[Series] = &[MESSAGES, FIRST_MESSAGE, LARGEST_GAP];
