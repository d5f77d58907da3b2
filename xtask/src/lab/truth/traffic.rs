//! The callers of a row: h2load, and what its log says.

use super::ground::Ground;
use super::rows::{Pattern, Proxy, Row};
use super::setting::BURN_HEADER;
use crate::bench::load;
use crate::bench::process::Process;
use crate::bench::statistics::percentile;
use anyhow::{Context, Result, ensure};
use insight_lab::call::{STREAM, WORK};
use insight_lab::service::stream::{BYTES, INTERVAL_US, MESSAGES};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What requests may take beyond their time, also where packets are lost.
const OVERTIME: Duration = Duration::from_secs(30);

/// What the callers have seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Requests, all of them answered.
    pub requests: f64,
    /// Connections that they were on.
    pub connections: f64,
    /// From the request to the end of its answer, median. **Unit**: s.
    pub median: f64,
}

/// Connections begin one after the other: else all would ask at the same instant, again and again.
const STAGGERED: [&str; 2] = ["--rate=1", "--rate-period=17ms"];

/// Callers at work.
pub struct Traffic {
    process: Process,
    log: PathBuf,
    requests: u32,
    connections: u32,
    patience: Duration,
}

/// How many connections and requests make `seconds` of a pattern.
fn amount(pattern: Pattern, seconds: u32) -> (u32, u32) {
    match pattern {
        Pattern::Unary { connections, rate } => (connections, connections * rate * seconds),
        // A turn of all streams takes about 30 ms.
        Pattern::Streams(streams) => (1, streams * 30 * seconds),
        Pattern::PerRequest(rate) => (rate * seconds, rate * seconds),
        Pattern::Streaming { connections, every, .. } => {
            let each = (f64::from(seconds) / every.as_secs_f64()).ceil() as u32;
            (connections, connections * each.max(1))
        }
    }
}

/// The arguments of h2load.
fn arguments(
    row: Row,
    target: SocketAddr,
    seconds: u32,
    burns: bool,
    folder: &str,
    log: &str,
) -> Vec<String> {
    let (connections, requests) = amount(row.pattern(), seconds);
    let mut arguments = vec![
        "--threads=1".into(),
        format!("--clients={connections}"),
        format!("--requests={requests}"),
        format!("--data={folder}/message"),
        "--header=content-type: application/grpc".into(),
        "--header=te: trailers".into(),
        format!("--log-file={log}"),
    ];
    let mut path = WORK;
    match row.pattern() {
        Pattern::Unary { rate, .. } => {
            arguments.extend(["--max-concurrent-streams=1".into(), format!("--rps={rate}")]);
            arguments.extend(STAGGERED.map(Into::into));
        }
        Pattern::Streams(streams) => arguments.push(format!("--max-concurrent-streams={streams}")),
        Pattern::PerRequest(rate) => {
            let period = format!("--rate-period={}ms", 1000 / rate);
            arguments.extend(["--max-concurrent-streams=1".into(), "--rate=1".into(), period]);
        }
        Pattern::Streaming { every, messages, bytes, interval, .. } => {
            path = STREAM;
            arguments.extend([
                "--max-concurrent-streams=1".into(),
                format!("--rps={}", 1.0 / every.as_secs_f64()),
                STAGGERED[0].into(),
                format!("--rate-period={}ms", every.as_millis() / u128::from(connections)),
                format!("--header={MESSAGES}: {messages}"),
                format!("--header={BYTES}: {bytes}"),
                format!("--header={INTERVAL_US}: {}", interval.as_micros()),
            ]);
        }
    }
    if burns {
        arguments.push(format!("--header={BURN_HEADER}"));
    }
    arguments.push(format!("{}://{target}{path}", scheme(row)));
    arguments
}

fn scheme(row: Row) -> &'static str {
    if row.proxy() == Proxy::NginxTls { "https" } else { "http" }
}

impl Traffic {
    /// Starts about `seconds` of the row's traffic. `burns`: with the header that makes its proxy
    /// compute.
    ///
    /// # Errors
    /// h2load does not start.
    pub fn start(
        ground: &Ground<'_>,
        row: Row,
        target: SocketAddr,
        seconds: u32,
        burns: bool,
    ) -> Result<Self> {
        let log = ground.folder.join("requests.log");
        // h2load appends to what is there.
        let _ = fs::remove_file(&log);
        let (connections, requests) = amount(row.pattern(), seconds);
        let folder = ground.folder.display().to_string();
        let arguments = arguments(row, target, seconds, burns, &folder, &log.display().to_string());
        let process = ground.launcher().start_in(ground.site.far(), "h2load", &[], "h2load", arguments)?;
        let patience = Duration::from_secs(u64::from(seconds)) + OVERTIME;
        Ok(Self { process, log, requests, connections, patience })
    }

    /// One answer of 48 MiB, as fast as it is taken.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn bulk(ground: &Ground<'_>, row: Row, target: SocketAddr) -> Result<Self> {
        let log = ground.folder.join("requests.log");
        let _ = fs::remove_file(&log);
        let arguments = vec![
            "--requests=1".into(),
            format!("--data={}", ground.folder.join("message").display()),
            "--header=content-type: application/grpc".into(),
            "--header=te: trailers".into(),
            format!("--header={MESSAGES}: 1536"),
            format!("--header={BYTES}: 32768"),
            format!("--log-file={}", log.display()),
            format!("{}://{target}{STREAM}", scheme(row)),
        ];
        let process = ground.launcher().start_in(ground.site.far(), "bulk", &[], "h2load", arguments)?;
        Ok(Self { process, log, requests: 1, connections: 1, patience: OVERTIME })
    }

    /// The process.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until the last answer is there.
    ///
    /// # Errors
    /// A request failed, h2load took too long, or somebody pressed Ctrl-C.
    pub fn finish(mut self, ground: &Ground<'_>) -> Result<Seen> {
        self.process.succeed(self.patience, ground.interrupt)?;
        let text = fs::read_to_string(&self.log).with_context(|| {
            format!("read {}; h2load's output ends with:\n{}", self.log.display(), self.process.log_tail())
        })?;
        let mut took = load::latencies_us(&text)?;
        ensure!(
            took.len() == self.requests as usize,
            "{} of {} requests were answered; h2load's output ends with:\n{}",
            took.len(),
            self.requests,
            self.process.log_tail()
        );
        let median = percentile(&mut took, 0.5).context("h2load's log is empty")?;
        Ok(Seen {
            requests: f64::from(self.requests),
            connections: f64::from(self.connections),
            median: median as f64 / 1e6,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_makes_as_many_requests_as_its_rate_says() {
        assert_eq!(amount(Pattern::Unary { connections: 8, rate: 10 }, 4), (8, 320));
        assert_eq!(amount(Pattern::PerRequest(60), 4), (240, 240));
        assert_eq!(amount(Pattern::Streams(100), 1), (1, 3000));
        assert_eq!(amount(Row::Streaming.pattern(), 4), (16, 32));
    }

    #[test]
    fn only_a_row_that_burns_is_told_to_and_tls_is_a_scheme() {
        let target = "198.18.0.1:5051".parse().unwrap();
        let of = |row, burns| arguments(row, target, 1, burns, "/f", "/l").join(" ");
        assert!(of(Row::Nginx, true).contains("x-burn"));
        assert!(!of(Row::Nginx, false).contains("x-burn"));
        assert!(of(Row::Tls, true).contains("https://198.18.0.1:5051/insight.lab.v1.Work/Do"));
        assert!(of(Row::Streaming, false).contains("http://198.18.0.1:5051/insight.lab.v1.Work/Stream"));
    }
}
