//! The result, as a table and as one JSON object.

use super::accuracy::{Load, Row};
use super::floor::Floor;
use super::scale::Scale;
use crate::bench::machine::Machine;
use serde::Serialize;
use std::fmt::Write;

/// Everything that one run found out.
pub struct Report {
    pub machine: Machine,
    /// Of a bare socket on the idle machine.
    pub floor: Floor,
    pub rows: Vec<Row>,
    /// **None**: nobody asked for it.
    pub scale: Option<Scale>,
}

#[derive(Serialize)]
struct Json<'a> {
    bench: &'static str,
    #[serde(flatten)]
    scale: Option<&'a Scale>,
    floor: &'a Floor,
    rows: &'a [Row],
    #[serde(flatten)]
    machine: &'a Machine,
}

impl Report {
    /// One JSON object, in one line.
    ///
    /// # Errors
    /// A figure is no number that JSON can hold.
    pub fn json(&self) -> serde_json::Result<String> {
        let Self { machine, floor, rows, scale } = self;
        serde_json::to_string(&Json { bench: "probe", scale: scale.as_ref(), floor, rows, machine })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "insight-agent ({} build) against a receiver that knows what it took, over loopback\n{}\n\n",
            self.machine.agent_build,
            self.machine.text()
        );
        text += "machine    delay, ms   error, us: p50       p99   samples  voided   prober waited, us: p50       p99\n";
        for row in &self.rows {
            let machine = match row.machine {
                Load::Idle => "idle",
                Load::Saturated => "saturated",
            };
            let marks = row.is_within().map(|within| if within { ' ' } else { '!' });
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{machine:<10} {:>9} {:>16.1}{} {:>8.1}{} {:>8} {:>7} {:>24.1} {:>9.1}",
                row.delay_seconds * 1e3,
                row.error_p50_seconds * 1e6,
                marks[0],
                row.error_p99_seconds * 1e6,
                marks[1],
                row.samples,
                row.voided,
                row.prober_wait_p50_seconds * 1e6,
                row.prober_wait_p99_seconds * 1e6,
            );
        }
        let _ = writeln!(
            text,
            "a bare socket on the idle machine: p50 {:.1} us, p99 {:.1} us; what the prober has beyond that is its own",
            self.floor.p50_seconds * 1e6,
            self.floor.p99_seconds * 1e6
        );
        text += "!: beyond max(5 %, 20 us) in the middle, or max(10 %, 250 us) at the 99th percentile\n";
        if let Some(scale) = &self.scale {
            let lag = scale.lag_p99_seconds.map_or("beyond 1 s".into(), |lag| format!("{} ms", lag * 1e3));
            let _ = write!(
                text,
                "\n{} targets on reused connections: {:.0} probes a second, {:.0} for each second of CPU time\n\
                 resident memory for each target more: {:.1} KiB, and {:.1} KiB over TLS\n\
                 schedule lag at {:.0} probes a second, half of a core: p99 at most {lag}; {} samples lost\n",
                scale.targets,
                scale.probes_per_second,
                scale.probes_per_second_per_core,
                scale.bytes_per_target / 1024.0,
                scale.bytes_per_tls_target / 1024.0,
                scale.half_load_probes_per_second,
                scale.lost,
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let row = Row {
            delay_seconds: 0.001,
            machine: Load::Saturated,
            error_p50_seconds: 30e-6,
            error_p99_seconds: 300e-6,
            voided: 2,
            samples: 98,
            prober_wait_p50_seconds: 1e-6,
            prober_wait_p99_seconds: 2e-3,
        };
        let scale = Scale {
            targets: 10_000,
            probes_per_second_per_core: 15_000.0,
            bytes_per_target: 20_480.0,
            bytes_per_tls_target: 51_200.0,
            lag_p99_seconds: Some(0.002),
            probes_per_second: 9_990.0,
            half_load_probes_per_second: 7_500.0,
            lost: 0.0,
        };
        let floor = Floor { p50_seconds: 12e-6, p99_seconds: 45e-6 };
        Report { machine: Machine::example(), floor, rows: vec![row], scale: Some(scale) }
    }

    #[test]
    fn json_has_the_documented_keys() {
        let json: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        assert_eq!(json["probes_per_second_per_core"], 15_000.0);
        assert_eq!((&json["bytes_per_target"], &json["lag_p99_seconds"]), (&20_480.0.into(), &0.002.into()));
        assert_eq!(json["floor"]["p99_seconds"], 45e-6);
        let row = &json["rows"][0];
        assert_eq!((row["machine"].as_str(), row["voided"].as_u64()), (Some("saturated"), Some(2)));
        for key in ["delay_seconds", "error_p50_seconds", "error_p99_seconds"] {
            assert!(row[key].is_f64(), "{key}");
        }
    }

    #[test]
    fn text_marks_what_is_beyond_its_goal() {
        let text = report().text();
        assert!(text.contains("30.0 ") && text.contains("300.0!"), "{text}");
        assert!(text.contains("p50 12.0 us, p99 45.0 us"), "{text}");
        assert!(text.contains("20.0 KiB") && text.contains("p99 at most 2 ms"), "{text}");
    }
}
