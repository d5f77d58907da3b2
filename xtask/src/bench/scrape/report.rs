//! The result, as a table and as one JSON object.

use super::accuracy::{Accuracy, Compared, Figure, Quarter};
use super::setting;
use crate::bench::machine::Machine;
use crate::bench::rounds::Slot;
use crate::bench::scrapes::Scrapes;
use serde::Serialize;
use std::fmt::Write;

const ERROR: Figure = |quarter| quarter.error_seconds;
const LAG: Figure = |quarter| quarter.lag_seconds;

/// Everything that one run found out.
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Probes that make series.
    pub probes: u32,
    /// What scrapes cost.
    pub scrapes: Scrapes,
    /// What they did to the measured probe.
    pub accuracy: Accuracy,
    /// Of the order and of the intervals.
    pub seed: u64,
}

#[derive(Serialize)]
struct Json<'a> {
    bench: &'static str,
    #[serde(flatten)]
    scrapes: &'a Scrapes,
    probes: u32,
    probe_delay_seconds: f64,
    probe_error_idle_seconds: Option<f64>,
    probe_error_scraped_seconds: Option<f64>,
    probe_error: Option<Compared>,
    probe_lag_idle_seconds: Option<f64>,
    probe_lag_scraped_seconds: Option<f64>,
    probe_lag: Option<Compared>,
    seed: u64,
    #[serde(flatten)]
    machine: &'a Machine,
    quarters: Vec<JsonQuarter>,
}

#[derive(Serialize)]
struct JsonQuarter {
    round: usize,
    slot: Slot,
    #[serde(flatten)]
    quarter: Quarter,
}

impl Report {
    /// One JSON object, in one line.
    ///
    /// # Errors
    /// A figure is no number that JSON can hold.
    pub fn json(&self) -> serde_json::Result<String> {
        let accuracy = &self.accuracy;
        let quarters = accuracy.quarters().map(|(round, slot, quarter)| JsonQuarter { round, slot, quarter });
        serde_json::to_string(&Json {
            bench: "scrape",
            scrapes: &self.scrapes,
            probes: self.probes,
            probe_delay_seconds: setting::DELAY_MS as f64 / 1e3,
            probe_error_idle_seconds: accuracy.idle(ERROR),
            probe_error_scraped_seconds: accuracy.middle(ERROR, Slot::With),
            probe_error: accuracy.compared(ERROR, self.seed),
            probe_lag_idle_seconds: accuracy.idle(LAG),
            probe_lag_scraped_seconds: accuracy.middle(LAG, Slot::With),
            probe_lag: accuracy.compared(LAG, self.seed),
            seed: self.seed,
            machine: &self.machine,
            quarters: quarters.collect(),
        })
    }

    /// The table.
    pub fn text(&self) -> String {
        let mut text = format!(
            "agent ({} build) with {} probes, scraped {} times on either kind of connection\n{}\n\n{}",
            self.machine.agent_build,
            self.probes,
            self.scrapes.scrapes,
            self.machine.text(),
            self.scrapes.text(),
        );
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n{:<30} {:>8} {:>8} {:>8}  {:<18}{:<18}two idle quarters\n",
            "probe, us", "idle", "scraped", "more", "95 % interval", "lowest, highest"
        );
        let beyond = format!("mean beyond {} ms", setting::DELAY_MS);
        for (name, figure) in [(beyond.as_str(), ERROR), ("start after schedule, mean", LAG)] {
            text += &self.row(name, figure);
        }
        text.trim_end().to_owned()
    }

    fn row(&self, name: &str, figure: Figure) -> String {
        let (idle, scraped) = (self.accuracy.idle(figure), self.accuracy.middle(figure, Slot::With));
        let compared = self.accuracy.compared(figure, self.seed);
        let (Some(idle), Some(scraped), Some(compared)) = (idle, scraped, compared) else {
            return format!("{name:<30} not measured\n");
        };
        let us = |seconds: f64| seconds * 1e6;
        let between = |[low, high]: [f64; 2]| format!("{:.0} to {:.0}", us(low), us(high));
        let Compared { scraped_less_idle: more, identical_quarters: null } = compared;
        format!(
            "{name:<30} {:>8.0} {:>8.0} {:>8.0}  {:<18}{:<18}{:.0}, {}\n",
            us(idle),
            us(scraped),
            us(more.median),
            between(more.interval),
            between(more.range),
            us(null.median),
            between(null.range),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rounds: usize) -> Report {
        let quarter = |error_seconds| Quarter { error_seconds, lag_seconds: 0.001, scrapes: 0 };
        let round = vec![
            (Slot::With, quarter(0.0015)),
            (Slot::Without, quarter(0.0012)),
            (Slot::NullWith, quarter(0.0012)),
            (Slot::NullWithout, quarter(0.0012)),
        ];
        Report {
            machine: Machine::example(),
            probes: 24,
            scrapes: Scrapes::example(),
            accuracy: Accuracy::of(vec![round; rounds]),
            seed: 1,
        }
    }

    #[test]
    fn the_json_object_has_the_promised_keys() {
        let json: serde_json::Value = serde_json::from_str(&report(3).json().unwrap()).unwrap();
        assert_eq!(json["scrape_seconds"], 0.004);
        assert_eq!(json["scrape_p99_seconds"], 0.009);
        assert_eq!(json["scrape_bytes"], 1_500_000);
        assert_eq!(json["series"], 10_050);
        assert_eq!(json["cpu_seconds_per_scrape"], 0.0038);
        assert_eq!(json["probe_error_idle_seconds"], 0.0012);
        assert_eq!(json["probe_error_scraped_seconds"], 0.0015);
        assert_eq!(json["probe_error"]["identical_quarters"]["median"], 0.0);
        assert!(json["scrape_gzip_bytes"].is_null());
        assert_eq!(json["agent_build"], "debug");
        assert_eq!(json["quarters"].as_array().unwrap().len(), 12);
    }

    #[test]
    fn the_table_shows_the_change_beside_that_of_two_idle_quarters() {
        let text = report(3).text();
        let row = text.lines().find(|line| line.starts_with("mean beyond 10 ms")).unwrap();
        let cells: Vec<&str> = row.split_whitespace().skip(4).collect();
        assert_eq!(cells[..3], ["1200", "1500", "300"], "{row}");
        assert!(row.ends_with("0, 0 to 0"), "{row}");
    }

    #[test]
    fn without_rounds_the_probe_is_said_to_be_unmeasured() {
        assert!(report(0).text().contains("mean beyond 10 ms              not measured"));
        let json: serde_json::Value = serde_json::from_str(&report(0).json().unwrap()).unwrap();
        assert!(json["probe_error"].is_null() && json["probe_error_idle_seconds"].is_null());
    }
}
