//! blackbox_exporter, asked through its own page as Prometheus asks it.

use super::situations::{Situation, Transport};
use super::{Truth, bound, is_near, with_resolver};
use anyhow::{Context, Result, ensure};
use insight_e2e::agent::Site;
use insight_e2e::exposition::Exposition;
use insight_e2e::http;
use insight_e2e::process::Process;
use insight_e2e::wait::{PATIENCE, wait_until};
use serde::Serialize;
use std::fmt::Write;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PROGRAM: &str = "/usr/bin/prometheus-blackbox-exporter";

/// The running exporter.
pub struct Blackbox {
    _process: Process,
    address: SocketAddr,
}

/// What it said of a target.
#[derive(Debug, Clone, Serialize)]
pub struct Said {
    /// `probe_success`; false where its page did not come.
    pub success: bool,
    /// Median of `probe_duration_seconds`. **None**: its page did not come within 5 s.
    pub duration_seconds: Option<f64>,
    /// Median of `probe_dns_lookup_time_seconds`.
    pub dns_seconds: Option<f64>,
    /// Of the last one, by phase: `probe_grpc_duration_seconds`.
    pub phases: Vec<(String, f64)>,
    /// `probe_grpc_status_code`.
    pub status_code: Option<f64>,
    /// Whether that is so, as far as its figures can tell it.
    pub right: bool,
}

impl Said {
    /// Of an exporter that did not answer: as `up == 0`, that is no word about the target.
    fn nothing(truth: Truth) -> Self {
        let right = matches!(truth, Truth::Bad(_));
        let (dns_seconds, phases, status_code) = (None, Vec::new(), None);
        Self { success: false, duration_seconds: None, dns_seconds, phases, status_code, right }
    }
}

/// A module for each way to reach a target.
fn module(transport: Transport) -> String {
    match transport {
        Transport::Plain => "plain".to_owned(),
        Transport::Tls(ca, name) => format!("{ca}-{name}").replace('.', "_"),
    }
}

fn config(site: &Site) -> String {
    let mut text = "modules:\n".to_owned();
    let ways = [
        Transport::Plain,
        Transport::Tls("ca.pem", super::tls::NAME),
        Transport::Tls("ca.pem", "other.test"),
        Transport::Tls("other.pem", super::tls::NAME),
    ];
    for way in ways {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "  {}:\n    prober: grpc\n    timeout: 2s\n    grpc:\n      preferred_ip_protocol: ip4\n",
            module(way)
        );
        if let Transport::Tls(ca, name) = way {
            let ca = site.path(ca);
            let _ = write!(
                text,
                "      tls: true\n      tls_config:\n        ca_file: {}\n        server_name: {name}\n",
                ca.display()
            );
        }
    }
    text
}

impl Blackbox {
    /// Starts it, with this file for its resolver's configuration.
    ///
    /// # Errors
    /// None: what does not start panics with its log.
    pub fn start(site: &Site, resolver: &Path) -> Result<Self> {
        let address = site.loopback.at(9, 9115);
        let file = site.write("blackbox.yml", &config(site));
        let mut command = with_resolver(resolver, Path::new(PROGRAM));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--web.listen-address={address}"));
        let process = Process::start("blackbox_exporter", command, &site.path("blackbox.log"));
        wait_until("blackbox_exporter's page", PATIENCE, || {
            http::get(address, "/-/healthy", &[]).map(drop).map_err(|error| error.to_string())
        });
        Ok(Self { _process: process, address })
    }

    /// Its first line of `--version`.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn version(&self) -> Result<String> {
        let output = Command::new(PROGRAM).arg("--version").output().context("ask for its version")?;
        // Older ones say it on stderr.
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
    }

    /// Has it probe a target so often, each time on a connection of its own, as it does.
    ///
    /// # Errors
    /// Its page does not come, or is none.
    pub fn probe(&self, situation: &Situation, samples: u32) -> Result<Said> {
        let path = format!("/probe?target={}&module={}", situation.target, module(situation.transport));
        let mut pages = Vec::new();
        for _ in 0..samples {
            let answer = match http::get(self.address, &path, &[]) {
                Ok(answer) => answer,
                // A scraper that waits twice as long as the module may take has gone by now.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(Said::nothing(situation.truth));
                }
                Err(error) => return Err(error).context("ask for its page"),
            };
            ensure!(answer.status == 200, "its page: {} {}", answer.status, answer.body);
            let page = Exposition::parse(&answer.body).map_err(|error| anyhow::anyhow!("{error}"))?;
            pages.push(page);
        }
        let median = |name: &str| {
            let mut all: Vec<_> = pages.iter().filter_map(|page| page.value(name, &[])).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied()
        };
        let last = pages.last().context("no sample")?;
        let success = pages.iter().all(|page| page.value("probe_success", &[]) == Some(1.0));
        let duration_seconds = median("probe_duration_seconds").context("no probe_duration_seconds")?;
        let dns_seconds = median("probe_dns_lookup_time_seconds");
        let right = match situation.truth {
            Truth::Good(delay) => success && is_near(duration_seconds, delay),
            Truth::SlowName(delay) => {
                success && (dns_seconds.unwrap_or(0.0) - delay.as_secs_f64()).abs() <= seconds(bound(delay))
            }
            Truth::Bad(_) => !success,
        };
        Ok(Said {
            success,
            duration_seconds: Some(duration_seconds),
            dns_seconds,
            phases: last
                .samples("probe_grpc_duration_seconds", &[])
                .map(|sample| (sample.labels.get("phase").cloned().unwrap_or_default(), sample.value))
                .collect(),
            status_code: last.value("probe_grpc_status_code", &[]),
            right,
        })
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
