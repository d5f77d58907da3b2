//! `insight-agent discover`: who is there, and what would an agent make of them?

use super::print_error;
use crate::agent::discovery::{Looked, look};
use crate::config::duration;
use crate::config::{Config, Expanded};
use clap::ValueEnum;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Exit code of a configuration that cannot be used; the same as `check-config`'s.
const BAD_CONFIGURATION: u8 = 2;

/// Look up who is there once, and show what each endpoint would become
///
/// Asks the source of every discovery once, all at the same time, prints its roster, and beside each
/// endpoint the probes and nodes that its templates make of it, or why they cannot. Nothing is probed and no
/// port is opened; it is safe beside a running agent.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  every source has said who is there; there may be endpoints of which nothing is made
  1  a source does not know, in whole or in part, or has said nothing in time
  2  wrong arguments, or a configuration that is not usable; every error is on stderr

Examples:
  insight-agent discover
  insight-agent discover --config insight.toml --output json | jq -r '.discoveries[].endpoints[].address'
  insight-agent discover --output json | jq '.discoveries[].endpoints[] | select(.dropped != [])'")]
pub struct DiscoverArgs {
    /// The agent's configuration (TOML)
    #[arg(long, value_name = "FILE", default_value = "/etc/insight/insight.toml")]
    config: PathBuf,
    /// How long the sources may take altogether
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = patience)]
    timeout: Duration,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn patience(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| format!("{error}; {}", error.advice()))
}

/// Looks and prints; the exit code is documented in `--help`.
pub fn run(args: &DiscoverArgs) -> ExitCode {
    let loaded = match Config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&error);
            return ExitCode::FAILURE;
        }
    };
    let (looked, expanded) = runtime.block_on(look(&loaded.config, args.timeout));
    // A look-up of the system's that hangs must not hold up the answer.
    runtime.shutdown_background();
    let report = Report::new(&looked, &expanded);
    let printed = match args.output {
        Output::Text => report.text(),
        Output::Json => match serde_json::to_string_pretty(&report) {
            Ok(json) => json + "\n",
            Err(error) => {
                print_error(&error);
                return ExitCode::FAILURE;
            }
        },
    };
    // A reader that went away changes nothing about the answer.
    let _ = std::io::stdout().write_all(printed.as_bytes());
    if looked.iter().all(|look| look.failure.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The answer in JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// In the order of the configuration.
    discoveries: Vec<OfDiscovery<'a>>,
}

#[derive(Debug, Serialize)]
struct OfDiscovery<'a> {
    name: &'a str,
    kind: &'a str,
    failure: Option<Failure<'a>>,
    /// Null: the source does not know.
    endpoints: Option<Vec<OfEndpoint<'a>>>,
}

#[derive(Debug, Serialize)]
struct Failure<'a> {
    class: &'a str,
    detail: &'a str,
}

#[derive(Debug, Serialize)]
struct OfEndpoint<'a> {
    name: &'a str,
    address: String,
    meta: &'a BTreeMap<String, String>,
    made: Vec<Made<'a>>,
    dropped: Vec<Dropped<'a>>,
}

/// What it would become.
#[derive(Debug, Serialize)]
struct Made<'a> {
    /// `probe` or `node`.
    table: &'a str,
    /// The template's line in the configuration.
    line: usize,
    name: &'a str,
}

/// What it cannot become.
#[derive(Debug, Serialize)]
struct Dropped<'a> {
    table: &'a str,
    line: usize,
    reason: &'a str,
    detail: &'a str,
}

impl<'a> Report<'a> {
    fn new(looked: &'a [Looked], expanded: &'a Expanded) -> Self {
        let mut made: BTreeMap<(&str, &str), Vec<Made<'_>>> = BTreeMap::new();
        for one in &expanded.made {
            let of = made.entry((&one.discovery, &one.endpoint)).or_default();
            of.push(Made { table: one.table, line: one.line, name: &one.name });
        }
        let mut dropped: BTreeMap<(&str, &str), Vec<Dropped<'_>>> = BTreeMap::new();
        for one in &expanded.dropped {
            let of = dropped.entry((&one.discovery, &one.endpoint)).or_default();
            let (reason, detail) = (one.reason.as_str(), one.detail.as_str());
            of.push(Dropped { table: one.table, line: one.line, reason, detail });
        }
        let discoveries = looked.iter().map(|look| {
            let endpoints = look.endpoints.as_ref().map(|endpoints| {
                let endpoints = endpoints.iter().map(|endpoint| {
                    let of = (look.name.as_str(), endpoint.name.as_str());
                    OfEndpoint {
                        name: &endpoint.name,
                        address: endpoint.address(),
                        meta: &endpoint.meta,
                        made: made.remove(&of).unwrap_or_default(),
                        dropped: dropped.remove(&of).unwrap_or_default(),
                    }
                });
                endpoints.collect()
            });
            let failure = look.failure.as_ref();
            OfDiscovery {
                name: &look.name,
                kind: look.kind,
                failure: failure
                    .map(|failure| Failure { class: failure.class.as_str(), detail: &failure.detail }),
                endpoints,
            }
        });
        Self { discoveries: discoveries.collect() }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail, so the results are dropped.
        for OfDiscovery { name, kind, failure, endpoints } in &self.discoveries {
            let known = match endpoints {
                Some(endpoints) if endpoints.len() == 1 => "1 endpoint".to_owned(),
                Some(endpoints) => format!("{} endpoints", endpoints.len()),
                None => "not known".to_owned(),
            };
            let _ = writeln!(text, "{name} ({kind}): {known}");
            if let Some(Failure { class, detail }) = failure {
                let _ = writeln!(text, "  failed ({class}): {detail}");
            }
            for endpoint in endpoints.iter().flatten() {
                endpoint.write(&mut text);
            }
        }
        if self.discoveries.is_empty() {
            text.push_str("no [[discovery]] is configured\n");
        }
        text
    }
}

impl OfEndpoint<'_> {
    fn write(&self, text: &mut String) {
        let Self { name, address, meta, made, dropped } = self;
        let known = if name == address { String::new() } else { format!("  {address}") };
        let _ = writeln!(text, "  {name}{known}");
        for (key, value) in *meta {
            let _ = writeln!(text, "    meta.{key} = {value}");
        }
        for Made { table, name, .. } in made {
            let _ = writeln!(text, "    -> {table} {name}");
        }
        for Dropped { table, line, reason, detail } in dropped {
            let _ = writeln!(text, "    -- no [[{table}]] of line {line} ({reason}): {detail}");
        }
        if made.is_empty() && dropped.is_empty() {
            text.push_str("    -- passes the filters of no template\n");
        }
    }
}
