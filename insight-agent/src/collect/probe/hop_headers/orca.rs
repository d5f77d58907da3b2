//! `endpoint-load-metrics-bin` and `endpoint-load-metrics`: how loaded the service says it is, by
//! the open standard ORCA. It is load and no time, so it enters no ledger.
//!
//! **Source**: message `xds.data.orca.v3.OrcaLoadReport`, in base64 as all `-bin` metadata, or as
//! text behind one of the prefixes `TEXT `, `JSON ` and `BIN `.
//!
//! Load reports carry an open set of metrics; what configuration does not list is dropped here, so
//! that it can never become a label.

use super::binary::{decode, first_value};
use super::tally::Tally;
use super::{MAX_BYTES, Malformed};
use crate::model::hop::{HopSource, ServiceLoad};
use http::HeaderMap;
use prost::Message;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const SOURCE: HopSource = HopSource::Orca;

/// The report as protobuf; the other header, [`HopSource::Orca`]'s own name, has it as text.
pub const BINARY: &str = "endpoint-load-metrics-bin";

/// The field that a configured name without a field means.
const NAMED_METRICS: &str = "named_metrics";
/// The fields that hold metrics by name.
const NAMED_FIELDS: [&str; 3] = ["request_cost", "utilization", NAMED_METRICS];

/// The load that the service reports; the binary form counts where it has both.
pub(super) fn read(
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
    names: &[String],
    tally: &mut Tally,
) -> ServiceLoad {
    let binary = first_value(headers, trailers, BINARY, SOURCE, tally);
    let parsed = match binary {
        Some(value) => parse_orca_binary(value, names),
        None => match first_value(headers, trailers, SOURCE.as_str(), SOURCE, tally) {
            Some(value) => parse_orca_text(value, names),
            None => return ServiceLoad::default(),
        },
    };
    (0..parsed.malformed).for_each(|_| tally.malformed(SOURCE));
    parsed.load
}

/// What one load report says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ParsedLoad {
    /// Those of its figures that could be read.
    pub load: ServiceLoad,
    /// How many parts of it could not be read.
    pub malformed: u32,
}

impl ParsedLoad {
    fn unreadable() -> Self {
        Self { malformed: 1, ..Self::default() }
    }
}

// ---- binary ---------------------------------------------------------------------------------

/// The fields of `xds.data.orca.v3.OrcaLoadReport`, by their numbers.
#[derive(Clone, PartialEq, Message)]
struct Report {
    #[prost(double, tag = "1")]
    cpu_utilization: f64,
    #[prost(double, tag = "2")]
    mem_utilization: f64,
    /// Deprecated; of services that are older than `rps_fractional`.
    #[prost(uint64, tag = "3")]
    rps: u64,
    #[prost(btree_map = "string, double", tag = "4")]
    request_cost: BTreeMap<String, f64>,
    #[prost(btree_map = "string, double", tag = "5")]
    utilization: BTreeMap<String, f64>,
    #[prost(double, tag = "6")]
    rps_fractional: f64,
    #[prost(double, tag = "7")]
    eps: f64,
    #[prost(btree_map = "string, double", tag = "8")]
    named_metrics: BTreeMap<String, f64>,
    #[prost(double, tag = "9")]
    application_utilization: f64,
}

/// Reads a value of `endpoint-load-metrics-bin`: base64, with or without padding. Of the metrics by
/// name it keeps those in `names`.
///
/// **None** inside: 0, which protobuf does not tell from a field that is absent; but a metric by
/// name that is 0 was said to be 0. A figure that is negative or not finite is malformed and costs
/// only itself.
pub fn parse_orca_binary(value: &[u8], names: &[String]) -> ParsedLoad {
    let report = decode(value).and_then(|bytes| Report::decode(bytes.as_slice()).map_err(|_| Malformed));
    let Ok(report) = report else { return ParsedLoad::unreadable() };
    let mut found = Found::new(names);
    let rps = if report.rps_fractional == 0.0 { report.rps as f64 } else { report.rps_fractional };
    for (field, figure) in [
        ("cpu_utilization", report.cpu_utilization),
        ("mem_utilization", report.mem_utilization),
        ("application_utilization", report.application_utilization),
        ("rps_fractional", rps),
        ("eps", report.eps),
    ] {
        if figure != 0.0 {
            found.put(field, || Ok(figure));
        }
    }
    let maps = [&report.request_cost, &report.utilization, &report.named_metrics];
    for (field, map) in NAMED_FIELDS.into_iter().zip(maps) {
        map.iter().for_each(|(name, figure)| found.put_named(field, name, || Ok(*figure)));
    }
    found.finish()
}

// ---- text -----------------------------------------------------------------------------------

/// Reads a value of `endpoint-load-metrics`: the prefix tells its format, and one without a known
/// prefix is malformed. Otherwise as [`parse_orca_binary`], but a 0 that is written is a 0.
pub fn parse_orca_text(value: &[u8], names: &[String]) -> ParsedLoad {
    let value = value.trim_ascii();
    if value.len() > MAX_BYTES {
        return ParsedLoad::unreadable();
    }
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (format, text) = value.split_at(end);
    match format {
        b"BIN" => parse_orca_binary(text, names),
        b"TEXT" => parse_pairs(text, names),
        // The depth of what it reads is bounded by serde_json itself.
        b"JSON" => match serde_json::from_slice::<Map<String, Value>>(text) {
            Ok(report) => from_json(&report, names),
            Err(_) => ParsedLoad::unreadable(),
        },
        _ => ParsedLoad::unreadable(),
    }
}

/// `cpu_utilization=0.3, named_metrics.queue_depth=7`; a colon may stand for the `=`.
fn parse_pairs(text: &[u8], names: &[String]) -> ParsedLoad {
    let mut found = Found::new(names);
    for pair in text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
        let split = std::str::from_utf8(pair).ok().and_then(|pair| pair.split_once(['=', ':']));
        let Some((key, value)) = split else {
            found.malformed += 1;
            continue;
        };
        let figure = || value.trim().parse().map_err(|_| Malformed);
        let key = key.trim();
        match NAMED_FIELDS.into_iter().find_map(|field| Some((field, in_field(key, field)?))) {
            Some((field, name)) => found.put_named(field, name, figure),
            None => found.put(key, figure),
        }
    }
    found.finish()
}

/// By protobuf's rules for JSON: names in either case, and a number may be a string.
fn from_json(report: &Map<String, Value>, names: &[String]) -> ParsedLoad {
    let mut found = Found::new(names);
    for (key, value) in report.iter().filter(|(_, value)| !value.is_null()) {
        let key = snake_case(key);
        match (NAMED_FIELDS.into_iter().find(|field| *field == key), value) {
            (Some(field), Value::Object(metrics)) => {
                metrics.iter().for_each(|(name, value)| found.put_named(field, name, || number(value)));
            }
            (Some(_), _) => found.malformed += 1,
            (None, value) => found.put(&key, || number(value)),
        }
    }
    found.finish()
}

fn number(value: &Value) -> Result<f64, Malformed> {
    match value {
        Value::Number(number) => number.as_f64().ok_or(Malformed),
        Value::String(text) => text.parse().map_err(|_| Malformed),
        _ => Err(Malformed),
    }
}

fn snake_case(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

// ---- what was found -------------------------------------------------------------------------

/// `disk` of `utilization.disk`, for the field `utilization`.
fn in_field<'a>(key: &'a str, field: &str) -> Option<&'a str> {
    key.strip_prefix(field)?.strip_prefix('.')
}

/// A load while it is put together.
struct Found<'a> {
    load: ServiceLoad,
    names: &'a [String],
    /// One for each of `names`.
    named: Vec<Option<f64>>,
    malformed: u32,
}

impl<'a> Found<'a> {
    fn new(names: &'a [String]) -> Self {
        Self { load: ServiceLoad::default(), names, named: vec![None; names.len()], malformed: 0 }
    }

    /// Takes a figure that has a field of its own. One that nobody asks for is not looked at, so it
    /// cannot be malformed either.
    fn put(&mut self, field: &str, figure: impl FnOnce() -> Result<f64, Malformed>) {
        let slot = match field {
            "cpu_utilization" | "cpu" => &mut self.load.cpu,
            "mem_utilization" | "mem" => &mut self.load.memory,
            "application_utilization" => &mut self.load.application,
            "rps_fractional" | "rps" => &mut self.load.requests_per_second,
            "eps" => &mut self.load.errors_per_second,
            _ => return,
        };
        fill(slot, figure(), &mut self.malformed);
    }

    /// Takes a metric by name, if it is listed.
    fn put_named(&mut self, field: &str, name: &str, figure: impl FnOnce() -> Result<f64, Malformed>) {
        let is_listed = |listed: &String| match in_field(listed, field) {
            Some(listed) => listed == name,
            None => {
                let bare = NAMED_FIELDS.into_iter().all(|field| in_field(listed, field).is_none());
                field == NAMED_METRICS && bare && listed == name
            }
        };
        if let Some(slot) = self.names.iter().position(is_listed).and_then(|at| self.named.get_mut(at)) {
            fill(slot, figure(), &mut self.malformed);
        }
    }

    fn finish(mut self) -> ParsedLoad {
        let named = self.names.iter().zip(self.named);
        self.load.named = named.filter_map(|(name, figure)| Some((name.clone(), figure?))).collect();
        ParsedLoad { load: self.load, malformed: self.malformed }
    }
}

/// Puts a figure where there is none yet: the first one counts.
fn fill(slot: &mut Option<f64>, figure: Result<f64, Malformed>, malformed: &mut u32) {
    match figure {
        Ok(figure) if figure.is_finite() && figure >= 0.0 && slot.is_none() => *slot = Some(figure),
        _ => *malformed += 1,
    }
}
