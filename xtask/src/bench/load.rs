//! The load of a half: h2load in a closed loop, and what its log says.
//!
//! h2load 1.52 prints only the extremes, the mean and the deviation of the latencies, so
//! percentiles come out of its per-request log (`--log-file`).

use super::statistics::percentile;
use anyhow::{Context, Result, bail, ensure};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Connections, each with one request under way: no two requests of a caller share a read, so a
/// request causes more events than it does with several streams on a connection.
pub const CONNECTIONS: u32 = 16;

/// Left out at the start: connections are opened, on the upstream side too, and caches warm up.
pub const WARM_UP: Duration = Duration::from_millis(500);

/// A gRPC message of no bytes: not compressed, length 0 in four bytes.
pub const EMPTY_MESSAGE: [u8; 5] = [0; 5];

/// Failed requests that still leave figures: one in a thousand.
const MOST_FAILED: f64 = 0.001;

/// The arguments of h2load. Its log is appended to what is at `log`.
pub fn arguments(
    target: SocketAddr,
    connections: u32,
    seconds: f64,
    message: &Path,
    log: &Path,
) -> Vec<String> {
    let whole_ms = (Duration::from_secs_f64(seconds) + WARM_UP).as_millis();
    vec![
        format!("--clients={connections}"),
        "--threads=1".into(),
        "--max-concurrent-streams=1".into(),
        format!("--duration={whole_ms}ms"),
        format!("--data={}", message.display()),
        "--header=content-type: application/grpc".into(),
        "--header=te: trailers".into(),
        format!("--log-file={}", log.display()),
        format!("http://{target}/insight.bench.v1.Bench/Do"),
    ]
}

/// What one half came to.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Load {
    /// Answered requests per second after the warm-up.
    pub throughput: f64,
    /// 99th percentile of their latencies. **Unit**: µs.
    pub p99_us: u64,
    /// Every request of the half, warm-up included.
    pub requests: u64,
    /// Those without an HTTP status of 200.
    pub failed: u64,
}

impl Load {
    /// Reads h2load's log: start in µs, HTTP status, µs until the end of the response.
    ///
    /// # Errors
    /// A line is not like that, nothing was answered after the warm-up, or too much failed.
    pub fn parse(log: &str, seconds: f64) -> Result<Self> {
        let mut rows = Vec::new();
        for (number, line) in log.lines().enumerate() {
            let row = parse_row(line);
            rows.push(row.with_context(|| format!("h2load's log, line {}: {line:?}", number + 1))?);
        }
        let first = rows.iter().map(|row| row.start_us).min().context("h2load's log is empty")?;
        let from = first + WARM_UP.as_micros() as u64;
        let until = from + (seconds * 1e6) as u64;
        let measured =
            rows.iter().filter(|row| row.ok && (from..until).contains(&(row.start_us + row.took_us)));
        let mut latencies: Vec<u64> = measured.map(|row| row.took_us).collect();
        let failed = rows.iter().filter(|row| !row.ok).count();
        ensure!(
            failed as f64 <= MOST_FAILED * rows.len() as f64,
            "{failed} of {} requests failed: the path is broken",
            rows.len()
        );
        let Some(p99_us) = percentile(&mut latencies, 0.99) else {
            bail!("no request was answered after the first {WARM_UP:?}");
        };
        Ok(Self {
            throughput: latencies.len() as f64 / seconds,
            p99_us,
            requests: rows.len() as u64,
            failed: failed as u64,
        })
    }
}

/// How long each request took, by h2load's log. **Unit**: µs.
///
/// # Errors
/// A line is of another form, or its request failed.
pub fn latencies_us(log: &str) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    for (number, line) in log.lines().enumerate() {
        let row = parse_row(line).filter(|row| row.ok);
        let row = row.with_context(|| format!("h2load's log, line {}: {line:?}: no answer", number + 1))?;
        latencies.push(row.took_us);
    }
    Ok(latencies)
}

struct Row {
    start_us: u64,
    took_us: u64,
    ok: bool,
}

fn parse_row(line: &str) -> Option<Row> {
    let mut fields = line.split('\t');
    let start_us = fields.next()?.parse().ok()?;
    let status: i32 = fields.next()?.parse().ok()?;
    // Later versions may add columns.
    let took_us = fields.next()?.parse().ok()?;
    Some(Row { start_us, took_us, ok: status == 200 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` requests, one each 1 ms, from 1 s on.
    fn log(count: u64, took_us: impl Fn(u64) -> u64, status: impl Fn(u64) -> i32) -> String {
        let row = |n| format!("{}\t{}\t{}\n", 1_000_000 + n * 1000, status(n), took_us(n));
        (0..count).map(row).collect()
    }

    #[test]
    fn the_warm_up_and_what_ends_late_do_not_count() {
        // 2.5 s: half a second of slow warm-up, one second that counts, one beyond.
        let text = log(2500, |n| if n < 480 { 9_000 } else { 100 }, |_| 200);
        let load = Load::parse(&text, 1.0).unwrap();
        assert_eq!((load.throughput, load.p99_us), (1000.0, 100));
        assert_eq!((load.requests, load.failed), (2500, 0));
    }

    #[test]
    fn the_slowest_hundredth_is_above_the_p99() {
        let text = log(2500, |n| if n % 100 == 0 { 7_000 } else { 100 + n % 50 }, |_| 200);
        assert_eq!(Load::parse(&text, 2.0).unwrap().p99_us, 149);
        let text = log(2500, |n| if n % 50 == 0 { 7_000 } else { 100 }, |_| 200);
        assert_eq!(Load::parse(&text, 2.0).unwrap().p99_us, 7_000);
    }

    #[test]
    fn a_failure_is_counted_and_many_are_an_error() {
        let text = log(2500, |_| 100, |n| if n == 700 { -1 } else { 200 });
        assert_eq!(Load::parse(&text, 2.0).unwrap().failed, 1);
        let text = log(2500, |_| 100, |n| if n % 100 == 0 { 502 } else { 200 });
        let error = Load::parse(&text, 2.0).unwrap_err().to_string();
        assert!(error.contains("25 of 2500"), "{error}");
    }

    #[test]
    fn latencies_are_of_answered_requests_and_a_failed_one_is_an_error() {
        assert_eq!(latencies_us("1\t200\t30\n2\t200\t20\n").unwrap(), [30, 20]);
        let error = latencies_us("1\t200\t30\n2\t502\t20\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_log_of_another_form_is_refused_with_its_line() {
        assert!(Load::parse("", 1.0).is_err());
        let error = Load::parse("1\t200\t3\nfinished\n", 1.0).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("finished"), "{error}");
    }
}
