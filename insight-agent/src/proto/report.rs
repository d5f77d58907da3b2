//! Reports on the wire: from `model::report` to `insight.v1.NodeReport` and back.
//!
//! What comes from another agent is not trusted to be well formed: reading has caps, and refuses
//! what contradicts itself instead of guessing.

use crate::model::report::{Distribution, FLOOR_SECONDS, MeasurementReport, NodeReport as Report, SeriesKey};
use crate::model::status::MeasurementState;
use crate::proto::v1;
use insight_common::histogram::EXPORT_BUCKETS;
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;

/// Largest report, in bytes. A poll each second of ten nodes is then at most 640 KB/s, and in
/// practice a tenth of that; half of it would not hold 64 peer groups.
pub const MAX_REPORT_BYTES: usize = 64 * 1024;
/// Most series that are read from one report; 64 KiB cannot hold more than about this many.
const MAX_SERIES: usize = 4096;
/// Most measurements that are read from one report.
const MAX_MEASUREMENTS: usize = 256;
/// Longest name or label value that is read, in bytes.
const MAX_NAME: usize = 128;

/// A report that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the report of node {node:?} cannot be used: {what}")]
pub struct BadReport {
    /// The node as it calls itself.
    pub node: String,
    /// What is wrong with it.
    pub what: String,
}

/// Writes a report; series with the fewest events are left out until it fits
/// [`MAX_REPORT_BYTES`], and counted.
pub fn write_report(report: &Report) -> v1::NodeReport {
    let mut written = v1::NodeReport {
        node: report.node.clone(),
        region: report.region.clone(),
        epoch: report.epoch,
        uptime_ns: u64::try_from(report.uptime.as_nanos()).unwrap_or(u64::MAX),
        series: report.series.iter().map(|(key, series)| write_series(key, series)).collect(),
        measurements: report.measurements.iter().map(write_measurement).collect(),
        series_left_out: report.series_left_out,
    };
    let mut bytes = written.encoded_len();
    while bytes > MAX_REPORT_BYTES {
        let Some(least) = (0..written.series.len()).min_by_key(|i| written.series[*i].count) else { break };
        // Tag and length of a repeated message take a few bytes more: those are asked for again.
        bytes = bytes.saturating_sub(written.series.remove(least).encoded_len());
        written.series_left_out += 1;
        if bytes <= MAX_REPORT_BYTES {
            bytes = written.encoded_len();
        }
    }
    written
}

fn write_series(key: &SeriesKey, series: &Distribution) -> v1::SeriesReport {
    let mut last = 0;
    let steps = series.buckets.keys().map(|bucket| bucket - std::mem::replace(&mut last, *bucket));
    v1::SeriesReport {
        measurement: key.measurement.clone(),
        labels: key
            .labels
            .iter()
            .map(|(name, value)| v1::SeriesLabel { name: name.clone(), value: value.clone() })
            .collect(),
        count: series.count,
        sum_ns: series.sum_ns,
        bucket_steps: steps.collect(),
        bucket_counts: series.buckets.values().copied().collect(),
        floors: series
            .floors
            .iter()
            .map(|(second, floor_ns)| v1::Floor { second: *second, floor_ns: *floor_ns })
            .collect(),
    }
}

fn write_measurement(measurement: &MeasurementReport) -> v1::MeasurementReport {
    v1::MeasurementReport {
        measurement: measurement.measurement.clone(),
        state: measurement.state.as_str().to_owned(),
        reason: measurement.reason.clone(),
    }
}

/// Reads a report.
///
/// # Errors
/// It breaks a rule of `node.proto`; the text says which.
pub fn read_report(written: v1::NodeReport) -> Result<Report, BadReport> {
    let node: String = written.node.chars().take(MAX_NAME).collect();
    let bad = |what: String| BadReport { node: node.clone(), what };
    check_name(&written.node).and_then(|()| check_name(&written.region)).map_err(bad)?;
    if written.epoch == 0 {
        return Err(bad("its epoch is 0".into()));
    }
    if written.series.len() > MAX_SERIES || written.measurements.len() > MAX_MEASUREMENTS {
        return Err(bad(format!("{} series are too many", written.series.len())));
    }
    let mut series = BTreeMap::new();
    for entry in written.series {
        let (key, distribution) = read_series(entry).map_err(bad)?;
        if series.insert(key, distribution).is_some() {
            return Err(bad("a series is in it twice".into()));
        }
    }
    let measurements =
        written.measurements.into_iter().map(read_measurement).collect::<Result<_, _>>().map_err(bad)?;
    Ok(Report {
        node: written.node,
        region: written.region,
        epoch: written.epoch,
        uptime: Duration::from_nanos(written.uptime_ns),
        series,
        measurements,
        series_left_out: written.series_left_out,
    })
}

fn read_series(written: v1::SeriesReport) -> Result<(SeriesKey, Distribution), String> {
    check_name(&written.measurement)?;
    let of = format!("series {}", written.measurement);
    let mut labels = Vec::with_capacity(written.labels.len().min(16));
    for label in written.labels {
        check_name(&label.name)?;
        check_name(&label.value)?;
        if labels.last().is_some_and(|(last, _): &(String, String)| *last >= label.name) {
            return Err(format!("{of}: its labels are not sorted"));
        }
        labels.push((label.name, label.value));
    }
    if written.bucket_steps.len() != written.bucket_counts.len() {
        return Err(format!(
            "{of}: {} buckets with {} counts",
            written.bucket_steps.len(),
            written.bucket_counts.len()
        ));
    }
    let mut buckets = BTreeMap::new();
    // The buckets need not add up to `count`: both are read while they are being counted.
    let mut bucket = 0_u32;
    for (nth, (step, count)) in written.bucket_steps.into_iter().zip(written.bucket_counts).enumerate() {
        bucket = bucket.saturating_add(step);
        if bucket as usize >= EXPORT_BUCKETS || (nth > 0 && step == 0) {
            return Err(format!("{of}: bucket {bucket} is out of order or range"));
        }
        buckets.insert(bucket, count);
    }
    if written.floors.len() > FLOOR_SECONDS {
        return Err(format!("{of}: {} one-second minima are too many", written.floors.len()));
    }
    let floors = written.floors.into_iter().map(|floor| (floor.second, floor.floor_ns)).collect();
    let key = SeriesKey { measurement: written.measurement, labels };
    Ok((key, Distribution { count: written.count, sum_ns: written.sum_ns, buckets, floors }))
}

fn read_measurement(written: v1::MeasurementReport) -> Result<MeasurementReport, String> {
    check_name(&written.measurement)?;
    let state = [MeasurementState::Active, MeasurementState::Disabled, MeasurementState::Failed]
        .into_iter()
        .find(|state| state.as_str() == written.state)
        .ok_or_else(|| format!("measurement {} is in no known state", written.measurement))?;
    let reason = written.reason.chars().take(MAX_NAME).collect();
    Ok(MeasurementReport { measurement: written.measurement, state, reason })
}

/// Whether a name may travel on into labels and pages: short, visible, and of one word.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) { Ok(()) } else { Err("a name in it is empty, too long or not visible ASCII".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report(series: usize, events: u64) -> Report {
        let mut report = Report {
            node: "mediary-a".into(),
            region: "eu".into(),
            epoch: 7,
            uptime: Duration::from_millis(12_345),
            series: BTreeMap::new(),
            measurements: vec![MeasurementReport {
                measurement: "residence".into(),
                state: MeasurementState::Failed,
                reason: "refused".into(),
            }],
            series_left_out: 0,
        };
        for nth in 0..series {
            let labels = vec![("peer".into(), format!("peer-{nth}")), ("role".into(), "upstream".into())];
            let mut distribution = Distribution::default();
            for event in 0..events + nth as u64 {
                distribution.record(event * event * 1009, u32::try_from(event % 100).unwrap());
            }
            report.series.insert(SeriesKey { measurement: "receive_wait".into(), labels }, distribution);
        }
        report
    }

    #[test]
    fn what_is_written_is_read_back() {
        let report = report(5, 300);
        let written = write_report(&report);
        assert!(written.encoded_len() <= MAX_REPORT_BYTES);
        assert_eq!(read_report(written), Ok(report));
    }

    #[test]
    fn a_report_that_is_too_large_loses_its_thinnest_series_and_says_how_many() {
        let whole = report(200, 100);
        let written = write_report(&whole);
        assert!(written.encoded_len() <= MAX_REPORT_BYTES, "{}", written.encoded_len());
        let kept = written.series.len();
        assert!(kept > 10 && kept + written.series_left_out as usize == 200, "{kept}");
        let least = written.series.iter().map(|series| series.count).min().unwrap();
        assert_eq!(least, 100 + u64::from(written.series_left_out), "those with the fewest events went");
        assert!(read_report(written).is_ok());
    }

    #[test]
    fn reports_that_break_a_rule_are_refused_with_the_rule() {
        let good = || write_report(&report(1, 5));
        let break_it = |breakage: &dyn Fn(&mut v1::NodeReport)| {
            let mut written = good();
            breakage(&mut written);
            read_report(written).unwrap_err().to_string()
        };
        assert!(break_it(&|r| r.epoch = 0).contains("epoch"));
        assert!(break_it(&|r| r.node = "a\nb".into()).contains("name"));
        assert!(break_it(&|r| r.series[0].bucket_steps.push(1)).contains("counts"));
        assert!(break_it(&|r| r.series[0].bucket_steps[0] = 900).contains("range"));
        assert!(break_it(&|r| r.series[0].labels.reverse()).contains("sorted"));
        assert!(break_it(&|r| r.series.push(r.series[0].clone())).contains("twice"));
        assert!(break_it(&|r| r.measurements[0].state = "asleep".into()).contains("state"));
        let floors = vec![v1::Floor::default(); FLOOR_SECONDS + 1];
        assert!(break_it(&|r| r.series[0].floors.clone_from(&floors)).contains("minima"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(written) = v1::NodeReport::decode(bytes.as_slice()) {
                let _: Result<Report, BadReport> = read_report(written);
            }
        }

        #[test]
        fn a_damaged_report_is_read_or_refused(at in 0_usize..400, with in any::<u8>()) {
            let mut bytes = write_report(&report(2, 20)).encode_to_vec();
            let at = at % bytes.len();
            bytes[at] = with;
            if let Ok(written) = v1::NodeReport::decode(bytes.as_slice()) {
                let _: Result<Report, BadReport> = read_report(written);
            }
        }
    }
}
