//! `insight-agent doctor`: what does this machine allow, and what would make the rest work?

mod facts;
mod text;

use super::error_text;
use crate::agent::check_files;
use crate::config::{Config, Loaded};
use crate::correlate::doctor::diagnose;
use crate::model::doctor::{Diagnosis, Status};
use clap::ValueEnum;
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code of a configuration that cannot be used; the same as `check-config`'s, and clap's for wrong
/// arguments.
const BAD_CONFIGURATION: u8 = 2;

/// What holds without a configuration: everything by default, for the whole host.
const DEFAULTS: &str = "[agent]\nregion = \"default\"\n";

/// Check what this machine allows, and say what would make the rest work
///
/// Looks at the kernel, at this process' capabilities and namespaces and at what else runs here, then
/// really loads and attaches the kernel programs and takes them away again. It is safe beside a running
/// agent: no port is opened, nothing is sent, nothing is left behind. Run it as the agent runs: as the
/// same user, in the same container.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Each line is ok, warning (something is lost, or will be), failing (something that is asked for does
not run) or off (nobody asks for it).

Exit codes:
  0  nothing is failing; there may be warnings
  1  something is failing: a measurement that is asked for does not run here
  2  wrong arguments, or a configuration that is not usable; every error is on stderr

Examples:
  insight-agent doctor
  insight-agent doctor --config /etc/insight/insight.toml
  insight-agent doctor --output json | jq -r '.checks[] | select(.status == \"failing\") | .name'")]
pub struct DoctorArgs {
    /// The agent's configuration (TOML) [default: all measurements, of the whole host]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Examines and prints; the exit code is documented in `--help`.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let loaded = match load(args) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let is_watched = std::io::stderr().is_terminal();
    // On a line that is written over, and gone at the end.
    let mut progress = |what: &str| {
        if is_watched {
            eprint!("\r\x1b[K{what} …");
        }
    };
    let (facts, asked) = facts::gather(&loaded.config, args.config.is_some(), &mut progress);
    if is_watched {
        eprint!("\r\x1b[K");
    }
    let checks = diagnose(&facts, &asked);
    let config = args.config.as_ref().map(|path| path.display().to_string());
    let diagnosis = Diagnosis::new(env!("CARGO_PKG_VERSION"), config, checks, facts);
    let printed = match args.output {
        Output::Text => text::render(&diagnosis, has_colour()),
        Output::Json => match serde_json::to_string_pretty(&diagnosis) {
            Ok(json) => json + "\n",
            Err(error) => {
                super::print_error(&error);
                return ExitCode::FAILURE;
            }
        },
    };
    // A reader that went away (`doctor | head -1`) changes nothing about the answer.
    let _ = std::io::stdout().write_all(printed.as_bytes());
    if diagnosis.status == Status::Failing { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The configuration, or the defaults.
///
/// # Errors
/// What `check-config` would say, one line each.
fn load(args: &DoctorArgs) -> Result<Loaded, String> {
    let Some(path) = &args.config else {
        return Config::parse(DEFAULTS, "the defaults").map_err(|errors| errors.to_string());
    };
    let loaded = Config::load(path).map_err(|errors| errors.to_string())?;
    let errors: BTreeSet<String> = check_files(&loaded.config)
        .iter()
        .map(|error| format!("{}: {}", path.display(), error_text(error)))
        .collect();
    match errors.is_empty() {
        true => Ok(loaded),
        false => Err(errors.into_iter().collect::<Vec<_>>().join("\n")),
    }
}

/// Colour is for people at a terminal who have not asked for none (<https://no-color.org>).
fn has_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_a_usable_configuration() {
        let loaded = load(&DoctorArgs { config: None, output: Output::Text }).unwrap();
        assert!(loaded.config.kernel.enabled && !loaded.config.kernel.measurements.is_empty());
        assert!(loaded.config.forwarders.is_empty() && loaded.warnings.is_empty());
    }
}
