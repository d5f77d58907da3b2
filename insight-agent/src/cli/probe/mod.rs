//! `insight-agent probe ADDRESS`: one look at a path, on the terminal.

mod link;
mod method;
mod plan;
mod progress;
mod prom;
mod report;
mod text;

use crate::collect::probe::Probe;
use crate::config::Ip;
use crate::model::dial::IpVersion;
use crate::model::outcome::{FailureClass, GrpcStatus};
use crate::model::plan::{Connection, Mode, ProbePlan};
use crate::model::sample::{Outcome, ProbeSample};
use clap::builder::{PossibleValuesParser, TypedValueParser};
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
  insight-agent probe orders.sg:443 --tls --mode black-box --ip both
  insight-agent probe mediary-a:443 --tls --proxy http://proxy:3128 --proxy-auth-file proxy.auth
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
    /// Over which addresses to connect; both probes each version of IP by itself and shows both
    #[arg(long, default_value = "any", value_parser = parse_ip())]
    ip: Ip,
    /// Connect through this HTTP proxy (http://HOST:PORT), by CONNECT; --ip is then about its address
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// One line with USER:PASSWORD for the proxy
    #[arg(long, value_name = "FILE", requires = "proxy")]
    proxy_auth_file: Option<PathBuf>,
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

fn parse_ip() -> impl TypedValueParser<Value = Ip> {
    PossibleValuesParser::new(Ip::WORDS).map(|word| Ip::from_word(&word))
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
            if let Some(warning) = plan::reach(args).warning() {
                eprintln!("insight-agent: warning: {warning}");
            }
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

/// What was found: by one probe, or by one for each version of IP. Never empty.
struct Found(Vec<Seen>);

/// What one probe found, of either kind.
enum Seen {
    Rpc(Box<Report>),
    Link(LinkReport),
}

impl Found {
    fn render(&self) -> String {
        match &self.0[..] {
            [one] => one.render(),
            several => {
                let headed = |seen: &Seen| format!("── {} ──\n{}", seen.version().as_str(), seen.render());
                several.iter().map(headed).collect::<Vec<_>>().join("\n")
            }
        }
    }

    fn to_json(&self) -> serde_json::Value {
        match &self.0[..] {
            [one] => one.to_json(),
            several => {
                let named =
                    several.iter().map(|seen| (seen.version().as_str().to_ascii_lowercase(), seen.to_json()));
                let mut object: serde_json::Map<_, _> = named.collect();
                object.insert("exit_code".into(), self.exit_code().into());
                object.into()
            }
        }
    }

    fn to_prom(&self) -> String {
        let shown: Vec<prom::Shown<'_>> = self.0.iter().map(Seen::shown).collect();
        prom::render(&shown)
    }

    fn exit_code(&self) -> u8 {
        report::exit_code(self.0.iter().flat_map(Seen::samples))
    }
}

impl Seen {
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

    fn shown(&self) -> prom::Shown<'_> {
        let events = match self {
            Self::Rpc(report) => &report.events,
            Self::Link(report) => report.events(),
        };
        prom::Shown { plan: self.plan(), samples: self.samples(), events }
    }

    fn plan(&self) -> &Arc<ProbePlan> {
        match self {
            Self::Rpc(report) => &report.plan,
            Self::Link(report) => report.plan(),
        }
    }

    fn version(&self) -> IpVersion {
        self.plan().route.dial.ip
    }

    fn samples(&self) -> Vec<&ProbeSample> {
        match self {
            Self::Rpc(report) => report.samples().collect(),
            Self::Link(report) => report.samples().collect(),
        }
    }
}

async fn measure(args: &ProbeArgs) -> Result<Found, String> {
    let names_method = args.method.is_some() || args.called.is_some();
    let black_box = args.mode == ModeArg::BlackBox || names_method || !args.expect_status.is_empty();
    let mode = match args.mode {
        ModeArg::Link => Mode::Link,
        _ if black_box => Mode::BlackBox,
        _ => Mode::WhiteBox,
    };
    // Standard input can be read once.
    let plan = plan::plan(args, mode)?;
    let mut found = Vec::new();
    // One behind the other, so that neither is in the other's figures.
    for plan in plan::versions(&plan, args.ip) {
        found.push(match mode {
            Mode::Link => Seen::Link(link::measure(plan, args.count, args.interval).await?),
            Mode::BlackBox | Mode::WhiteBox => Seen::Rpc(Box::new(ask(args, plan).await?)),
        });
    }
    Ok(Found(found))
}

/// One request on a fresh connection and `--count` on a reused one.
async fn ask(args: &ProbeArgs, plan: ProbePlan) -> Result<Report, String> {
    let mut fell_back = false;
    let may_fall_back = args.mode == ModeArg::Auto && plan.mode == Mode::WhiteBox;
    let version = plan.route.dial.ip;
    let name = plan.name.clone();
    let mut probe = start(plan)?;
    if args.show_answer {
        probe = probe.keeping_answers();
    }
    let (mut fresh, _) = probe.sample(Connection::Fresh, Instant::now()).await;
    if may_fall_back && is_misrouted(&fresh) {
        fell_back = true;
        let mut plan = plan::plan(args, Mode::BlackBox)?;
        (plan.route.dial.ip, plan.name) = (version, name);
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
    Ok(Report { plan: Arc::clone(probe.plan()), fell_back, fresh, reused, events })
}

fn start(plan: ProbePlan) -> Result<Probe, String> {
    Probe::new(Arc::new(plan)).map_err(|error| error.to_string())
}

fn is_misrouted(sample: &ProbeSample) -> bool {
    matches!(&sample.outcome, Outcome::Failed(failure) if failure.class == FailureClass::Misrouted)
}

#[cfg(test)]
mod tests;
