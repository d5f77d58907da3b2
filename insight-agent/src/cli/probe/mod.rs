//! `insight-agent probe ADDRESS`: one look at a path, on the terminal.

mod link;
mod method;
mod plan;
mod progress;
mod prom;
mod report;
mod text;

use crate::collect::probe::Probe;
use crate::model::outcome::{FailureClass, GrpcStatus};
use crate::model::plan::{Connection, Mode, ProbePlan};
use crate::model::sample::{Outcome, ProbeSample};
use clap::{Args, ValueEnum};
use link::LinkReport;
use progress::Progress;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Probe one address now and show where the time goes
///
/// Sends one request on a fresh connection (every phase) and --count on a reused one (phases and
/// hops). An Insight receiver is asked for its own duration; any other gRPC service is asked for
/// its health. With --mode link nothing is asked: --count TCP handshakes and HTTP/2 PINGs measure
/// the round trip to the next hop's kernel and to its event loop.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Exit codes:
  0  every request (handshake, PING) got a good answer
  1  some did, some did not
  2  wrong arguments
  3  none got a good answer

Examples:
  insight-agent probe mediary-a:15080 -H x-target-region=sg -H x-target-service=insight
  insight-agent probe orders.sg:443 --via mediary-a:15080 -H x-target={host} --mode black-box
  insight-agent probe 10.0.0.7:443 --tls --mode black-box --service shop.Cart
  insight-agent probe mediary-a:15080 --mode link --count 20
  insight-agent probe localhost:50051 shop.Cart/Get --data '{\"user\": \"alice\"}' --show-answer
  insight-agent probe localhost:50051 --method /shop.Cart/Get --request-base64 CgVhbGljZQ==")]
pub struct ProbeArgs {
    /// Where to connect: HOST:PORT (IPv6 in brackets)
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Black-box: the method to call, asked in JSON: PACKAGE.SERVICE/METHOD, unary or server-streaming
    #[arg(value_name = "SERVICE/METHOD", conflicts_with = "method", value_parser = method::parse)]
    called: Option<String>,
    /// The request message of SERVICE/METHOD as JSON; @FILE reads a file, - standard input [default: {}]
    #[arg(long, value_name = "JSON", requires = "called", allow_hyphen_values = true)]
    data: Option<String>,
    /// What the messages look like, as protoc --descriptor_set_out or buf build write it [default: ask the service's reflection]
    #[arg(long, value_name = "FILE", requires = "called")]
    descriptor_set: Option<PathBuf>,
    /// Black-box: gRPC statuses that are good answers, such as NOT_FOUND [default: OK]
    #[arg(long, value_delimiter = ',', value_name = "STATUS,…", value_parser = method::parse_status)]
    expect_status: Vec<GrpcStatus>,
    /// Print the messages that SERVICE/METHOD answered, as JSON
    #[arg(long, requires = "called")]
    show_answer: bool,
    /// Connect to this forwarder (HOST:PORT) instead of ADDRESS, which becomes the :authority; in the values
    /// of --metadata {address}, {host} and {port} stand for ADDRESS and its parts
    #[arg(long, value_name = "HOST:PORT")]
    via: Option<String>,
    /// How to ask; auto asks for an Insight receiver and falls back to a health check
    #[arg(long, value_enum, default_value = "auto")]
    mode: ModeArg,
    /// The HTTP/2 :authority [default: ADDRESS]
    #[arg(long)]
    authority: Option<String>,
    /// Metadata that tells the forwarding layer the way, repeatable
    #[arg(short = 'H', long = "metadata", value_name = "KEY=VALUE", value_parser = plan::parse_metadata)]
    metadata: Vec<(String, String)>,
    /// Names of the hops in path order; what other hops say is then left out
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    hops: Vec<String>,
    /// Black-box: the service whose health is asked for [default: the server as a whole]
    #[arg(long, default_value = "", hide_default_value = true)]
    service: String,
    /// Black-box: call this unary method, with a request in bytes
    #[arg(long, value_name = "/PACKAGE.SERVICE/METHOD", value_parser = plan::parse_method)]
    method: Option<String>,
    /// Black-box: the request message of --method, in base64
    #[arg(long, value_name = "BASE64", requires = "method", value_parser = plan::parse_base64)]
    request_base64: Option<plan::MessageBytes>,
    /// White-box: size of the request payload
    #[arg(long, default_value = "0B", value_parser = plan::parse_size)]
    request_bytes: usize,
    /// White-box: size of the response payload
    #[arg(long, default_value = "0B", value_parser = plan::parse_size)]
    response_bytes: usize,
    /// White-box: delay the receiver shall add, to test the instrument
    #[arg(long, default_value = "0ms", value_parser = crate::config::duration::parse)]
    delay: Duration,
    /// Send no HTTP/2 PING; with --mode link: handshakes only, so any TCP port will do
    #[arg(long)]
    no_ping: bool,
    /// How many requests go over the reused connection (link: handshakes, and as many PINGs)
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Time between two requests
    #[arg(long, default_value = "200ms", value_parser = crate::config::duration::parse)]
    interval: Duration,
    /// After this an answer is late
    #[arg(long, default_value = "5s", value_parser = crate::config::duration::parse)]
    deadline: Duration,
    /// How long a late answer is still waited for
    #[arg(long, default_value = "5s", value_parser = crate::config::duration::parse)]
    drain: Duration,
    /// Speak TLS (trusting the system's authorities unless --ca-file is given)
    #[arg(long)]
    tls: bool,
    /// Trust the authorities in this PEM file; implies --tls
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The name that the certificate must carry [default: the host of ADDRESS]; implies --tls
    #[arg(long)]
    server_name: Option<String>,
    /// This client's certificate chain (PEM); implies --tls
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    Auto,
    WhiteBox,
    BlackBox,
    Link,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// One object
    Json,
    /// Prometheus' text format, with the names of an agent's /metrics
    Prom,
}

/// Wrong arguments; clap's own code too.
const BAD_ARGUMENTS: u8 = 2;

/// Probes and prints; the exit code is documented in `--help`.
pub fn run(args: &ProbeArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            super::print_error(&error);
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(measure(args)) {
        Err(problem) => {
            eprintln!("insight-agent: {problem}");
            ExitCode::from(BAD_ARGUMENTS)
        }
        Ok(found) => {
            match args.output {
                Output::Text => print!("{}", found.render()),
                Output::Json => match serde_json::to_string_pretty(&found.to_json()) {
                    Ok(json) => println!("{json}"),
                    Err(error) => super::print_error(&error),
                },
                Output::Prom => print!("{}", found.to_prom()),
            }
            ExitCode::from(found.exit_code())
        }
    }
}

/// What was found, of either kind.
enum Found {
    Rpc(Box<Report>),
    Link(LinkReport),
}

impl Found {
    fn render(&self) -> String {
        match self {
            Self::Rpc(report) => text::render(report),
            Self::Link(report) => report.render(),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Rpc(report) => report.to_json(),
            Self::Link(report) => report.to_json(),
        }
    }

    fn to_prom(&self) -> String {
        match self {
            Self::Rpc(report) => prom::render(&report.plan, report.samples(), &report.events),
            Self::Link(report) => report.to_prom(),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Rpc(report) => report.exit_code(),
            Self::Link(report) => report.exit_code(),
        }
    }
}

async fn measure(args: &ProbeArgs) -> Result<Found, String> {
    if args.mode == ModeArg::Link {
        let plan = plan::plan(args, Mode::Link)?;
        return link::measure(plan, args.count, args.interval).await.map(Found::Link);
    }
    let mut fell_back = false;
    let names_method = args.method.is_some() || args.called.is_some();
    let black_box = args.mode == ModeArg::BlackBox || names_method || !args.expect_status.is_empty();
    let mut plan = plan::plan(args, if black_box { Mode::BlackBox } else { Mode::WhiteBox })?;
    let mut probe = start(plan)?;
    if args.show_answer {
        probe = probe.keeping_answers();
    }
    let (mut fresh, _) = probe.sample(Connection::Fresh, Instant::now()).await;
    if args.mode == ModeArg::Auto && !black_box && is_misrouted(&fresh) {
        fell_back = true;
        plan = plan::plan(args, Mode::BlackBox)?;
        probe = start(plan)?;
        fresh = probe.sample(Connection::Fresh, Instant::now()).await.0;
    }
    let mut reused = Vec::new();
    let mut scheduled = tokio::time::interval(args.interval.max(Duration::from_millis(1)));
    // A slow answer shall not be followed by a burst.
    scheduled.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut progress = Progress::new(args.count);
    for done in 0..args.count {
        let tick = scheduled.tick().await;
        progress.at(done);
        reused.push(probe.sample(Connection::Reused, tick.into_std()).await.0);
    }
    drop(progress);
    let events = [Connection::Fresh, Connection::Reused].into_iter().flat_map(|connection| {
        probe.take_events(connection).into_iter().map(move |(event, count)| (connection, event, count))
    });
    let events = events.collect();
    Ok(Found::Rpc(Box::new(Report { plan: Arc::clone(probe.plan()), fell_back, fresh, reused, events })))
}

fn start(plan: ProbePlan) -> Result<Probe, String> {
    Probe::new(Arc::new(plan)).map_err(|error| error.to_string())
}

fn is_misrouted(sample: &ProbeSample) -> bool {
    matches!(&sample.outcome, Outcome::Failed(failure) if failure.class == FailureClass::Misrouted)
}
