//! One-shot probes against the receiver's own record, sample by sample.

use super::Bench;
use crate::bench::statistics::percentile;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// What the receiver is asked to wait. **Unit**: ms.
const DELAYS_MS: [u64; 4] = [0, 1, 10, 100];

/// Between two samples: each finds the prober asleep, as a schedule does.
pub const INTERVAL: Duration = Duration::from_millis(3);

/// Threads that take the CPUs, for each of them.
const SPINNERS: usize = 2;

/// What else the machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Nothing.
    Idle,
    /// Every CPU has more to do than it can.
    Saturated,
}

/// The errors at one delay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub delay_seconds: f64,
    pub machine: Load,
    /// Median of the latency beyond what the receiver says that it took.
    pub error_p50_seconds: f64,
    /// 99th percentile (nearest rank) of the same.
    pub error_p99_seconds: f64,
    /// Samples whose latency the prober did not vouch for.
    pub voided: usize,
    /// Samples that are in the errors.
    pub samples: usize,
    /// Median of how long the prober's thread waited for a CPU within a sample.
    pub prober_wait_p50_seconds: f64,
    /// 99th percentile of the same.
    pub prober_wait_p99_seconds: f64,
}

impl Row {
    /// The goals: a twentieth or 20 µs in the middle, a tenth or 250 µs at the end.
    pub fn is_within(&self) -> [bool; 2] {
        let most = |part: f64, least: f64| (self.delay_seconds * part).max(least);
        [self.error_p50_seconds <= most(0.05, 20e-6), self.error_p99_seconds <= most(0.1, 250e-6)]
    }
}

/// All delays, on an idle machine and on a saturated one.
pub fn measure(bench: &Bench<'_>, samples: u32) -> Result<Vec<Row>> {
    let cpus = std::thread::available_parallelism().context("count the CPUs")?.get();
    let mut rows = Vec::new();
    for machine in [Load::Idle, Load::Saturated] {
        // A CPU that sleeps takes tens of microseconds to wake, which would pass for the prober's error.
        let stopwatch = bench.stopwatch(&[0], machine == Load::Idle)?;
        let address = stopwatch.address.to_string();
        let spinning = (machine == Load::Saturated)
            .then(|| {
                let threads = (SPINNERS * cpus).to_string();
                let arguments = ["spin", "--threads", &threads, "--seconds", "600"];
                bench.launcher.start("spin", &[], bench.launcher.lab, arguments)
            })
            .transpose()?;
        for delay_ms in DELAYS_MS {
            ensure!(!bench.interrupt.wait(Duration::ZERO), "interrupted");
            let count = if delay_ms < 100 { samples } else { (samples / 4).max(20) };
            eprintln!("{count} samples of {delay_ms} ms, {machine:?}");
            let output = Command::new(bench.agent)
                .args(["probe", &address, "--mode", "white-box", "--no-ping", "--output", "json"])
                .args(["--interval", &format!("{}ms", INTERVAL.as_millis()), "--count", &count.to_string()])
                .args(["--delay", &format!("{delay_ms}ms")])
                .output()
                .with_context(|| format!("run {} probe", bench.agent.display()))?;
            let row = read(&output.stdout, delay_ms as f64 / 1e3, machine);
            rows.push(row.with_context(|| {
                format!("insight-agent probe: {}", String::from_utf8_lossy(&output.stderr).trim())
            })?);
        }
        drop(spinning);
    }
    Ok(rows)
}

/// The row that a one-shot probe's JSON comes to.
fn read(json: &[u8], delay_seconds: f64, machine: Load) -> Result<Row> {
    let answer: Value = serde_json::from_slice(json).context("read its JSON")?;
    let all = answer["samples"].as_array().context("no samples in its JSON")?;
    let reused: Vec<_> = all.iter().filter(|sample| sample["connection"] == "reused").collect();
    let good: Vec<_> = reused.iter().filter(|sample| sample["outcome"] == "ok").collect();
    let voided = reused.iter().filter(|sample| sample["outcome"] == "voided").count();
    ensure!(good.len() + voided == reused.len(), "samples failed: {:?}", reused.last());
    let ns = |seconds: f64| (seconds * 1e9).round() as u64;
    // What loopback takes cannot be less than nothing: a sample below 0 counts by its size.
    let error = |sample: &&&Value| {
        Some(ns((sample["total_seconds"].as_f64()? - sample["service_seconds"].as_f64()?).abs()))
    };
    let mut errors: Vec<u64> = good.iter().filter_map(error).collect();
    let mut waits: Vec<u64> =
        reused.iter().filter_map(|sample| sample["prober_wait_seconds"].as_f64()).map(ns).collect();
    let mut share = |share| percentile(&mut errors, share).context("no good sample");
    let (middle, end) = (share(0.5)?, share(0.99)?);
    let wait = |waits: &mut Vec<u64>, share| percentile(waits, share).unwrap_or(0) as f64 / 1e9;
    Ok(Row {
        delay_seconds,
        machine,
        error_p50_seconds: middle as f64 / 1e9,
        error_p99_seconds: end as f64 / 1e9,
        voided,
        samples: errors.len(),
        prober_wait_p50_seconds: wait(&mut waits, 0.5),
        prober_wait_p99_seconds: wait(&mut waits, 0.99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(samples: &[(&str, &str, f64)]) -> Vec<u8> {
        let samples = samples.iter().map(|(connection, outcome, total)| {
            json!({"connection": connection, "outcome": outcome, "total_seconds": total,
                   "service_seconds": 0.010, "prober_wait_seconds": 0.001})
        });
        json!({ "samples": samples.collect::<Vec<_>>() }).to_string().into_bytes()
    }

    #[test]
    fn errors_are_of_good_reused_samples_and_against_the_receivers_record() {
        let samples = [
            ("fresh", "ok", 9.0),
            ("reused", "ok", 0.0101),
            ("reused", "ok", 0.0103),
            ("reused", "voided", 7.0),
        ];
        let row = read(&answer(&samples), 0.01, Load::Idle).unwrap();
        assert_eq!((row.samples, row.voided), (2, 1));
        assert!((row.error_p99_seconds - 0.0003).abs() < 1e-9, "{row:?}");
        assert_eq!(row.is_within(), [true, true]);
    }

    #[test]
    fn a_failed_sample_is_no_figure() {
        assert!(read(&answer(&[("reused", "failed", 0.01)]), 0.01, Load::Idle).is_err());
        assert!(read(b"{}", 0.01, Load::Idle).is_err());
    }

    #[test]
    fn goals_have_a_floor_for_short_delays_and_a_share_for_long_ones() {
        let row = |delay_seconds, error: f64| Row {
            delay_seconds,
            machine: Load::Saturated,
            error_p50_seconds: error,
            error_p99_seconds: error,
            voided: 0,
            samples: 1,
            prober_wait_p50_seconds: 0.0,
            prober_wait_p99_seconds: 0.0,
        };
        assert_eq!(row(0.0, 19e-6).is_within(), [true, true]);
        assert_eq!(row(0.0, 21e-6).is_within(), [false, true]);
        assert_eq!(row(0.1, 4.9e-3).is_within(), [true, true]);
        assert_eq!(row(0.1, 11e-3).is_within(), [false, false]);
    }
}
