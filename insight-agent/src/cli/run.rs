//! `insight-agent run --config FILE`: the daemon.

use super::print_error;
use crate::agent::file_watch::{Seen, watch};
use crate::agent::{Agent, AgentError, Reloader, Trigger, privileges};
use crate::config::{Config, LogFormat};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Exit code of a configuration that cannot be used; the same as `check-config`'s.
const BAD_CONFIGURATION: u8 = 2;

/// Threads of the runtime for HTTP and correlation; probing and gRPC have their own.
const WORKERS: usize = 2;

/// Probe, receive and export until SIGTERM or Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  stopped by SIGTERM or SIGINT
  1  a part could not start (port in use, no thread) or ended by itself
  2  the configuration is not usable; every error is on stderr")]
pub struct RunArgs {
    /// The configuration file (TOML); see deploy/insight.toml for every key
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs the agent; the exit code is documented in `--help`.
pub fn run(args: RunArgs) -> ExitCode {
    // Before it is read: a change from then on is noticed.
    let seen = Seen::at(&args.config);
    let loaded = match Config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    start_logging(&loaded.config);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    privileges::begin();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .on_thread_start(privileges::keep_none)
        .enable_all()
        .build()
        .map_err(|source| AgentError::Thread { part: "the runtime", source });
    let result = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let watched = loaded.config.agent.watch_config;
            let agent = Agent::prepare(loaded.config)?;
            let reloader = agent.follow(args.config);
            if watched {
                tokio::spawn(watch(Arc::clone(&reloader), seen));
            }
            tokio::spawn(reload_on_hangup(reloader));
            agent.run(stop_signal()).await
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn start_logging(config: &Config) {
    let filter = EnvFilter::new(&config.agent.log);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.agent.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
}

/// Reads the file again at each SIGHUP. One that is not usable changes nothing.
async fn reload_on_hangup(reloader: Arc<Reloader>) {
    // Without a handler the signal's default action ends the process.
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    while hangups.recv().await.is_some() {
        // What became of it is logged.
        let _ = reloader.reload(Trigger::Hangup).await;
    }
}

/// Completes at the first SIGTERM or SIGINT.
async fn stop_signal() {
    let name = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        },
        // Without handlers the signals' default action ends the process, which is right too.
        _ => std::future::pending().await,
    };
    tracing::info!("{name}: stopping");
}
