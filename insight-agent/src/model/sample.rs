//! One probe's result: every instant that was timed, as durations.

use super::burst::Burst;
use super::certificate::Certificates;
use super::connection_event::ConnectionEvent;
use super::figure::Figure;
use super::health::HealthEvent;
use super::hop::HopEvidence;
use super::outcome::{Failure, GrpcStatus};
use super::plan::{Connection, ProbePlan};
use super::series::lost::Loss;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What comes out of the prober.
#[derive(Debug, Clone)]
pub enum ProbeEvent {
    /// A sample ended.
    Sample(Box<ProbeSample>),
    /// A scheduled sample was not started: too many of its kind were under way.
    Skipped(Arc<ProbePlan>, Connection),
    /// Something else was lost.
    Lost(&'static str, Loss),
    /// What happened on a probe's connections of this kind, and how often, since the event before.
    Connection(Arc<ProbePlan>, Connection, ConnectionEvent, u64),
    /// The least time between two PINGs of this probe is longer from now on.
    PingInterval(Arc<ProbePlan>, Duration),
    /// The certificates of a probe's connections end at other times than was said before.
    Certificates(Arc<ProbePlan>, Certificates),
    /// A closer look has ended.
    Burst(Arc<ProbePlan>, Box<Burst>),
    /// What a health watch was told, or why it is told nothing any more.
    Health(Arc<ProbePlan>, HealthEvent),
}

/// One sample of one probe on one kind of connection.
#[derive(Debug, Clone)]
pub struct ProbeSample {
    /// The probe it belongs to.
    pub plan: Arc<ProbePlan>,
    /// Which connection it used.
    pub connection: Connection,
    /// Which of several reused connections it used, from 0. **None**: a fresh one, or the only one.
    pub slot: Option<u8>,
    /// When it ended (this process's monotonic clock; never leaves the process).
    pub finished: Instant,
    /// How much later than scheduled it started.
    pub lag: Duration,
    /// The phases it reached.
    pub phases: Phases,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether a connection was opened for it: always on a fresh one; on a reused one when
    /// there was none yet or the former one had ended. Opening is never part of a reused
    /// sample's latency.
    pub opened: bool,
    /// What the hops of its response said.
    pub hops: HopEvidence,
    /// The receiver's own figures (white-box only).
    pub service: Option<ServiceTiming>,
    /// What else its answer was.
    pub answer: Answer,
    /// The two other rulers on the same connection; all that a link probe measures.
    pub rulers: Rulers,
    /// How long this prober's thread was runnable but had no CPU while the sample was under
    /// way. **None**: the kernel does not tell.
    pub prober_wait: Option<Duration>,
    /// From its start to its end, however it ended: of a failure, how long it took to be known, which
    /// is no latency. Opening a reused connection is in it.
    pub took: Duration,
    /// How long this prober's own thread did not look although it should have, while the sample was
    /// under way: stopped, starved or kept busy. At most `took`; a stall below about a quarter of it may
    /// be missed.
    pub stalled: Duration,
}

/// How a sample ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A good answer within the deadline.
    Ok,
    /// A good answer after the deadline, within the drain time: latency, not loss.
    Late,
    /// No good answer.
    Failed(Failure),
    /// Not used, because the prober's own wait or stall explains too much of it: of its latency
    /// (**None**, a good answer), or of the deadline that passed (the failure that nobody is blamed for).
    Voided(Option<Failure>),
}

impl ProbeSample {
    /// Whether its latency belongs into latency figures.
    pub fn is_measurement(&self) -> bool {
        matches!(self.outcome, Outcome::Ok | Outcome::Late)
    }

    /// Whether it is not used because the prober itself was at fault.
    pub fn is_voided(&self) -> bool {
        matches!(self.outcome, Outcome::Voided(_))
    }

    /// From the start (of the first phase) to the trailers. **None** unless every phase that
    /// this kind of connection has was reached.
    pub fn total(&self) -> Option<Duration> {
        let rpc = self.phases.rpc()?;
        Some(rpc + self.phases.setup())
    }
}

#[cfg(test)]
impl ProbeSample {
    /// A good answer on a reused connection whose request, wait and response took so long: what tests begin
    /// with.
    pub(crate) fn example(
        plan: &Arc<ProbePlan>,
        finished: Instant,
        [request, wait, response]: [Duration; 3],
    ) -> Self {
        let [request, wait, response] = [request, wait, response].map(Some);
        Self {
            plan: Arc::clone(plan),
            connection: Connection::Reused,
            slot: None,
            finished,
            lag: Duration::ZERO,
            phases: Phases { request, wait, response, ..Phases::default() },
            outcome: Outcome::Ok,
            opened: false,
            hops: HopEvidence::default(),
            service: None,
            answer: Answer::default(),
            rulers: Rulers::default(),
            prober_wait: None,
            took: Duration::ZERO,
            stalled: Duration::ZERO,
        }
    }
}

/// What an answer was, beyond having come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The gRPC status of a good answer: OK, or another one that is expected.
    pub status: GrpcStatus,
    /// When a stream's messages came. **None**: the method answers with one message, or with an error.
    pub stream: Option<StreamTiming>,
    /// The messages themselves, if the probe was told to keep them.
    pub messages: Vec<serde_json::Value>,
}

/// When the messages of one stream came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamTiming {
    /// How many came.
    pub messages: u64,
    /// From the start of the request to the first one. **None**: there was none.
    pub first_message: Option<Duration>,
    /// The longest time between one message and the next. **None**: fewer than two came.
    pub largest_gap: Option<Duration>,
    /// The stream was ended after as many messages as the probe reads at most, without trailers.
    pub cut: bool,
}

/// The phases of a probe, in order. **None**: the phase was not reached, or this kind of
/// connection does not have it (reused: no dns, connect, tunnel, tls, http2; plaintext: no tls; without a
/// proxy: no tunnel; a UNIX socket: no dns).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// Name lookup: of the proxy's name, if there is one.
    pub dns: Option<Duration>,
    /// TCP handshake, to the proxy if there is one.
    pub connect: Option<Duration>,
    /// CONNECT written → the proxy's answer read: its own lookup and connection to the next hop are in it.
    pub tunnel: Option<Duration>,
    /// TLS handshake.
    pub tls: Option<Duration>,
    /// HTTP/2 preface sent → the server's first bytes (its SETTINGS) read.
    pub http2: Option<Duration>,
    /// First write that carries the request (its hand-over to the connection, where the peer's limits hold
    /// it up) → its headers and data written to the socket.
    pub request: Option<Duration>,
    /// Request written → response headers arrived: when the kernel had them, if it says so, else when they
    /// were read. The same holds for the trailers below.
    pub wait: Option<Duration>,
    /// Response headers read → trailers read.
    pub response: Option<Duration>,
}

impl Phases {
    /// The names of the phases: the closed set of a `phase` label, in order.
    pub const NAMES: [&'static str; 8] =
        ["dns", "connect", "tunnel", "tls", "http2", "request", "wait", "response"];

    /// Name and duration of each phase, in order.
    pub fn named(&self) -> [(&'static str, Option<Duration>); 8] {
        let [dns, connect, tunnel, tls, http2, request, wait, response] = Self::NAMES;
        [
            (dns, self.dns),
            (connect, self.connect),
            (tunnel, self.tunnel),
            (tls, self.tls),
            (http2, self.http2),
            (request, self.request),
            (wait, self.wait),
            (response, self.response),
        ]
    }

    /// What opening the connection took; zero on a reused one.
    pub fn setup(&self) -> Duration {
        [self.dns, self.connect, self.tunnel, self.tls, self.http2].into_iter().flatten().sum()
    }

    /// Request + wait: U₀ of the telescoped sum. **None** when no response headers came.
    pub fn to_first_byte(&self) -> Option<Duration> {
        Some(self.request? + self.wait?)
    }

    /// Request + wait + response. **None** when no trailers came.
    pub fn rpc(&self) -> Option<Duration> {
        Some(self.to_first_byte()? + self.response?)
    }
}

/// The trailer in which an Insight receiver repeats its duration; see `proto/insight/v1/probe.proto`.
pub const SERVICE_TRAILER: &str = "x-insight-service";

/// What an Insight receiver says about the time it spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceTiming {
    /// Receive → hand-over of the response message (D of the service).
    pub receive_to_send: Figure,
    /// Receive → trailers written. **None**: the trailer was lost on the way or unreadable.
    pub receive_to_trailers: Option<Figure>,
    /// The receiver's own runqueue wait within it. **None**: its kernel does not tell.
    pub runqueue_wait: Option<Duration>,
}

/// Round trips of the same connection that end nearer than the RPC does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rulers {
    /// The TCP handshake as the kernel timed it: the cleanest round trip to the next hop's
    /// kernel. Fresh connections only.
    pub handshake: Option<Duration>,
    /// The kernel's smoothed ACK round trip (`tcpi_rtt`); delayed ACKs inflate it.
    pub ack: Option<Duration>,
    /// The kernel's windowed minimum ACK round trip (`tcpi_min_rtt`).
    pub ack_min: Option<Duration>,
    /// HTTP/2 PING round trip: answered by the next hop's event loop.
    pub ping: Option<Duration>,
}
