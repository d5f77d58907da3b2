//! Scrapes a page many times: how long, how much, at what cost to the agent?

use super::http::{Answer, Connection};
use super::page;
use super::process::Process;
use super::statistics::{median, percentile};
use anyhow::{Context, Result, bail};
use insight_lab::Interrupt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Between two scrapes: so long that each finds the agent idle, as a scraper does, and so short
/// that fifty of either kind take three seconds.
const PAUSE: Duration = Duration::from_millis(25);

/// Scrapes that are not counted: the first ones fault in memory and fill the allocator.
const WARM_UP: usize = 3;

/// How long the agent is watched for what it uses without scrapes.
const REST: Duration = Duration::from_secs(3);

/// The figures of a page.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Scrapes {
    /// Median on a connection that is kept.
    pub scrape_seconds: f64,
    /// 99th percentile (nearest rank) on a connection that is kept.
    pub scrape_p99_seconds: f64,
    /// Median on new connections, opening them included.
    pub scrape_fresh_seconds: f64,
    /// 99th percentile of the same.
    pub scrape_fresh_p99_seconds: f64,
    /// Length of the page.
    pub scrape_bytes: usize,
    /// Length of the page to a scraper that takes gzip. **None**: the agent offers none.
    pub scrape_gzip_bytes: Option<usize>,
    /// Sample lines of the page.
    pub series: usize,
    /// The agent's CPU time for a scrape, of either kind, without what it uses anyway.
    pub cpu_seconds_per_scrape: f64,
    /// Scrapes of each kind.
    pub scrapes: u32,
}

impl Scrapes {
    /// Scrapes `rounds` times on a kept connection and as often on new ones, in turns.
    ///
    /// # Errors
    /// The agent does not answer, or somebody pressed Ctrl-C.
    pub fn take(metrics: SocketAddr, agent: &Process, rounds: u32, interrupt: &Interrupt) -> Result<Self> {
        let mut connection = Connection::open(metrics)?;
        for _ in 0..WARM_UP {
            scrape(&mut connection, "")?;
        }
        let gzip = scrape(&mut connection, "Accept-Encoding: gzip\r\n")?;
        let (rest_began, rest_used) = (Instant::now(), agent.cpu_time()?);
        pause(REST, interrupt)?;
        let anyway = (agent.cpu_time()? - rest_used).as_secs_f64() / rest_began.elapsed().as_secs_f64();

        // Kept connections are closed after ten idle seconds; the rest was shorter.
        let (began, used) = (Instant::now(), agent.cpu_time()?);
        let (mut kept, mut fresh, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let answer = scrape(&mut connection, "")?;
            kept.push(nanoseconds(answer.took));
            pause(PAUSE, interrupt)?;
            let opened = Instant::now();
            last = scrape(&mut Connection::open(metrics)?, "")?.body;
            fresh.push(nanoseconds(opened.elapsed()));
            pause(PAUSE, interrupt)?;
        }
        let used = (agent.cpu_time()? - used).as_secs_f64() - anyway * began.elapsed().as_secs_f64();
        let text = String::from_utf8(last).context("read the page as text")?;
        let figures = |nanoseconds: &mut Vec<u64>| -> Result<(f64, f64)> {
            let seconds: Vec<f64> = nanoseconds.iter().map(|ns| *ns as f64 / 1e9).collect();
            let p99 = percentile(nanoseconds, 0.99).context("no scrape was asked for")?;
            Ok((median(&seconds).context("no scrape was asked for")?, p99 as f64 / 1e9))
        };
        let ((scrape_seconds, scrape_p99_seconds), (scrape_fresh_seconds, scrape_fresh_p99_seconds)) =
            (figures(&mut kept)?, figures(&mut fresh)?);
        Ok(Self {
            scrape_seconds,
            scrape_p99_seconds,
            scrape_fresh_seconds,
            scrape_fresh_p99_seconds,
            scrape_bytes: text.len(),
            scrape_gzip_bytes: gzip
                .encoding
                .is_some_and(|encoding| encoding == "gzip")
                .then_some(gzip.body.len()),
            series: page::series(&text),
            // What it uses anyway varies: of a small page nothing may be left.
            cpu_seconds_per_scrape: (used / f64::from(2 * rounds)).max(0.0),
            scrapes: rounds,
        })
    }

    /// Rows of a table.
    pub fn text(&self) -> String {
        let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
        let gzip = self.scrape_gzip_bytes.map_or("not offered".into(), |bytes| format!("{bytes} bytes"));
        format!(
            "{:<30} {} lines, {} bytes; gzip {gzip}\n\
             {:<30} median {}, p99 {}\n\
             {:<30} median {}, p99 {}\n\
             {:<30} {}\n",
            "page",
            self.series,
            self.scrape_bytes,
            "scrape, connection kept",
            ms(self.scrape_seconds),
            ms(self.scrape_p99_seconds),
            "scrape, connection opened",
            ms(self.scrape_fresh_seconds),
            ms(self.scrape_fresh_p99_seconds),
            "agent's CPU for a scrape",
            ms(self.cpu_seconds_per_scrape),
        )
    }

    /// One for tests of reports.
    #[cfg(test)]
    pub fn example() -> Self {
        Self {
            scrape_seconds: 0.004,
            scrape_p99_seconds: 0.009,
            scrape_fresh_seconds: 0.0042,
            scrape_fresh_p99_seconds: 0.0095,
            scrape_bytes: 1_500_000,
            scrape_gzip_bytes: None,
            series: 10_050,
            cpu_seconds_per_scrape: 0.0038,
            scrapes: 50,
        }
    }
}

/// One page.
///
/// # Errors
/// The agent does not answer.
pub fn scrape(connection: &mut Connection, headers: &str) -> Result<Answer> {
    connection.get("/metrics", headers)
}

/// Waits.
///
/// # Errors
/// Somebody pressed Ctrl-C.
pub fn pause(time: Duration, interrupt: &Interrupt) -> Result<()> {
    if interrupt.wait(time) {
        bail!("interrupted");
    }
    Ok(())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_show_both_kinds_of_connection_and_that_gzip_is_missing() {
        let text = Scrapes::example().text();
        assert!(text.contains("10050 lines") && text.contains("gzip not offered"), "{text}");
        assert!(text.contains("median 4.00 ms, p99 9.00 ms") && text.contains("median 4.20 ms"), "{text}");
        let offered = Scrapes { scrape_gzip_bytes: Some(70_000), ..Scrapes::example() };
        assert!(offered.text().contains("gzip 70000 bytes"));
    }
}
