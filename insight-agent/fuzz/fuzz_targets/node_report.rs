//! A report of another agent, any bytes: read within its bounds or refused, and never a panic. What
//! was read can be written again, and reads the same.
#![no_main]

use insight_agent::model::report::FLOOR_SECONDS;
use insight_agent::proto::report::{is_name, read_report, write_report};
use insight_agent::proto::v1::NodeReport;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let Ok(written) = NodeReport::decode(data) else { return };
    let Ok(report) = read_report(written) else { return };
    assert!(report.epoch != 0 && is_name(&report.node) && is_name(&report.region));
    for (key, series) in &report.series {
        assert!(key.labels.is_sorted_by(|a, b| a.0 < b.0));
        assert!(series.floors.len() <= FLOOR_SECONDS);
    }
    let again = write_report(&report);
    if again.series_left_out == report.series_left_out {
        assert_eq!(read_report(again), Ok(report));
    }
});
