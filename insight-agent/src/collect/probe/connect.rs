//! Opening a connection: dns, connect, tunnel, tls and http2, each timed on its own.

use super::clocked_io::{Begun, ClockedIo, IoClock};
use super::event_log::EventLog;
use super::failure::{self, MAX_HEADER_BYTES, SetupPhase};
use super::names;
use super::proxy;
use super::socket::Socket;
use super::stamped::Stamped;
use super::tcp_info::read_tcp_info;
use crate::collect::tls::RouteTls;
use crate::model::outcome::Failure;
use crate::model::plan::ProbePlan;
use crate::model::sample::Phases;
use crate::model::series::lost::Loss;
use crate::secret::Basic;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{PingPong, Reason};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

/// HTTP/2 receive windows: one large-payload answer without waiting for a window update.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// An open HTTP/2 connection and what there is to know about it.
///
/// Dropping it (and the requests under way on it) lets its driver task end and the connection
/// close.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) send: SendRequest<Bytes>,
    pub(super) ping: PingPong,
    pub(super) clock: Arc<IoClock>,
    /// The socket, for `TCP_INFO`.
    pub(super) socket: Arc<Socket>,
    /// Setup phases only.
    pub(super) phases: Phases,
    /// The kernel's round trip of the TCP handshake.
    pub(super) handshake: Option<Duration>,
    /// Set by the driver task when the connection has ended.
    pub(super) ended: Ended,
    /// Ends the connection when it is dropped.
    pub(super) driver: Driver,
}

/// How long a connection that nobody uses any more may take to say GOAWAY. A peer that reads nothing
/// would otherwise hold its socket, its task and a request body for ever.
const FAREWELL: Duration = Duration::from_secs(1);

/// The task that reads and writes a connection.
#[derive(Debug)]
pub(super) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        let task = self.0.abort_handle();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !task.is_finished() => {
                runtime.spawn(async move {
                    tokio::time::sleep(FAREWELL).await;
                    task.abort();
                });
            }
            _ => task.abort(),
        }
    }
}

/// How a connection ended, once it has. `Ok` is in peace: closed, or GOAWAY without an error.
pub(super) type Ended = Arc<OnceLock<Result<(), h2::Error>>>;

/// The HTTP/2 reason for which a connection ended. **None**: it has not, or none was given.
pub(super) fn end_reason(ended: &Ended) -> Option<Reason> {
    ended.get()?.as_ref().err()?.reason()
}

/// A connection that could not be opened: how far it came, and why.
#[derive(Debug, Clone)]
pub(super) struct NotOpened {
    pub(super) phases: Phases,
    pub(super) failure: Failure,
}

/// What opening a connection says on its way.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// A [`SetupPhase`].
    at: AtomicU8,
}

impl Opening {
    /// The phase that was last begun.
    pub(super) fn phase(&self) -> SetupPhase {
        const ALL: [SetupPhase; 5] =
            [SetupPhase::Dns, SetupPhase::Connect, SetupPhase::Tunnel, SetupPhase::Tls, SetupPhase::Http2];
        let at = self.at.load(Ordering::Relaxed);
        ALL.into_iter().find(|phase| *phase as u8 == at).unwrap_or(SetupPhase::Dns)
    }

    fn begin(&self, phase: SetupPhase) {
        self.at.store(phase as u8, Ordering::Relaxed);
    }
}

/// What a connection shows to those it passes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'a> {
    /// To the proxy.
    pub(super) proxy: Option<&'a Basic>,
    /// To the next hop; and what that has to show.
    pub(super) tls: Option<&'a RouteTls>,
}

/// Before what, and what is told to whom, while a connection is opened.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) plan: &'a ProbePlan,
    /// What is presented to the route's proxy.
    pub(super) proxy: Option<&'a Basic>,
    pub(super) deadline: Instant,
    pub(super) opening: &'a Opening,
    /// What was lost on the way.
    pub(super) losses: &'a mut Vec<(&'static str, Loss)>,
}

/// Opens a connection to the route's next hop before the attempt's deadline; what happens on it is
/// counted in `events`.
///
/// Cancelling closes whatever was open; nothing is lost.
pub(super) async fn open(
    mut attempt: Attempt<'_>,
    tls: Option<&RouteTls>,
    events: &Arc<EventLog>,
) -> Result<Opened, NotOpened> {
    let mut phases = Phases::default();
    match open_timed(&mut attempt, tls, events, &mut phases).await {
        Ok(opened) => Ok(opened),
        Err(failure) => Err(NotOpened { phases, failure }),
    }
}

async fn open_timed(
    attempt: &mut Attempt<'_>,
    tls: Option<&RouteTls>,
    events: &Arc<EventLog>,
    phases: &mut Phases,
) -> Result<Opened, Failure> {
    let (socket, handshake) = reach(attempt, phases).await?;
    let plan = attempt.plan;
    let socket = Arc::new(socket);
    let clock = Arc::new(IoClock::new(Arc::clone(events)));
    let stream = Stamped::new(Arc::clone(&socket), Arc::clone(&clock));
    let setup = Setup { attempt, socket, handshake, clock };
    match tls {
        None => setup.http2(stream, phases).await,
        Some(tls) => {
            let connector = tokio_rustls::TlsConnector::from(tls.config());
            let handshake = connector.connect(tls.server_name.clone(), stream);
            let (stream, took) = setup.attempt.timed(SetupPhase::Tls, handshake).await?;
            let stream = stream.map_err(|error| failure::tls(plan, SetupPhase::Tls, &error))?;
            phases.tls = Some(took);
            tls.note_server(stream.get_ref().1.peer_certificates().unwrap_or_default());
            setup.http2(stream, phases).await
        }
    }
}

/// A connection to the next hop before the deadline, through the route's proxy if it has one: name lookup,
/// TCP handshake, tunnel. With it comes the handshake's round trip as the kernel timed it. **None**: it did
/// not (a lost SYN leaves the sample ambiguous), or the handshake was with the proxy, or there is none (UNIX).
pub(super) async fn reach(
    attempt: &mut Attempt<'_>,
    phases: &mut Phases,
) -> Result<(Socket, Option<Duration>), Failure> {
    let plan = attempt.plan;
    if let Some(name) = plan.route.unix() {
        let connected = attempt.timed(SetupPhase::Connect, Socket::connect_unix(name)).await?;
        let (socket, took) = connected;
        phases.connect = Some(took);
        return Ok((socket.map_err(|error| failure::connect_unix(plan, &error))?, None));
    }
    let mut stream = connect_tcp(attempt, phases).await?;
    stream.set_nodelay(true).map_err(|error| failure::connect(plan, &error))?;
    let Some(proxy) = &plan.route.dial.proxy else {
        let handshake = read_tcp_info(stream.as_fd()).rtt;
        return Ok((Socket::Tcp(stream), handshake));
    };
    let target = plan.route.address();
    let tunnel = proxy::open(&mut stream, &target, attempt.proxy);
    let (opened, took) = attempt.timed(SetupPhase::Tunnel, tunnel).await?;
    opened.map_err(|error| failure::tunnel(plan, proxy, &error))?;
    phases.tunnel = Some(took);
    Ok((Socket::Tcp(stream), None))
}

/// A TCP connection to the proxy, or to the next hop where there is none.
async fn connect_tcp(attempt: &mut Attempt<'_>, phases: &mut Phases) -> Result<TcpStream, Failure> {
    let route = &attempt.plan.route;
    let (host, port) = match &route.dial.proxy {
        Some(proxy) => (&proxy.host, proxy.port),
        None => (&route.host, route.port),
    };
    let addresses = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => {
            let mut losses = Vec::new();
            let looked_up = attempt.timed(SetupPhase::Dns, names::look_up(host, &mut losses)).await;
            attempt.losses.append(&mut losses);
            let (answer, waited) = looked_up?;
            // Who joined a lookup waited for less than it takes.
            let took = waited.max(answer.took);
            if took > attempt.plan.deadline {
                return Err(failure::setup_deadline(attempt.plan, SetupPhase::Dns));
            }
            let found = answer.addresses.map_err(|error| failure::dns(attempt.plan, &error))?;
            phases.dns = Some(took);
            let version = route.dial.ip;
            let admitted: Vec<_> = found.iter().filter(|ip| version.admits(**ip)).collect();
            if admitted.is_empty() && !found.is_empty() {
                let what =
                    format!("the name has {} addresses, and none of {}", found.len(), version.as_str());
                return Err(failure::dns(attempt.plan, &what));
            }
            admitted.into_iter().map(|ip| SocketAddr::new(*ip, port)).collect()
        }
    };
    attempt.opening.begin(SetupPhase::Connect);
    let (stream, took) = connect_any(attempt.plan, &addresses, attempt.deadline).await?;
    phases.connect = Some(took);
    Ok(stream)
}

impl Attempt<'_> {
    /// Runs one phase until the deadline; how long it took is measured around it alone.
    async fn timed<T>(
        &self,
        phase: SetupPhase,
        work: impl Future<Output = T>,
    ) -> Result<(T, Duration), Failure> {
        self.opening.begin(phase);
        let start = Instant::now();
        match timeout_at(self.deadline.into(), work).await {
            Ok(result) => Ok((result, start.elapsed())),
            Err(_) => Err(failure::setup_deadline(self.plan, phase)),
        }
    }
}

/// The first address that answers, in the resolver's order, and how long that one took. Each has an
/// equal share of the time that is left: one that swallows SYNs does not hide the others.
async fn connect_any(
    plan: &ProbePlan,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<(TcpStream, Duration), Failure> {
    let mut last = failure::dns(plan, &"the name has no address");
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let start = Instant::now();
        let share = deadline.saturating_duration_since(start) / u32::try_from(left).unwrap_or(u32::MAX);
        match timeout_at((start + share).into(), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, start.elapsed())),
            Ok(Err(error)) => last = failure::connect(plan, &error),
            Err(_) => last = failure::setup_deadline(plan, SetupPhase::Connect),
        }
    }
    Err(last)
}

/// What is known once the TCP connection stands.
struct Setup<'a, 'b> {
    attempt: &'a Attempt<'b>,
    socket: Arc<Socket>,
    handshake: Option<Duration>,
    clock: Arc<IoClock>,
}

impl Setup<'_, '_> {
    /// Preface and SETTINGS; the phase ends with the beginning of the server's SETTINGS, which are the
    /// first it says by the protocol's rule.
    async fn http2<S>(self, stream: S, phases: &mut Phases) -> Result<Opened, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (attempt, plan) = (self.attempt, self.attempt.plan);
        let clock = self.clock;
        let start = Instant::now();
        let mut builder = h2::client::Builder::new();
        builder
            .max_header_list_size(MAX_HEADER_BYTES)
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .enable_push(false);
        let io = ClockedIo::new(stream, Arc::clone(&clock));
        let handshake = builder.handshake::<_, Bytes>(io);
        let (opened, _) = attempt.timed(SetupPhase::Http2, handshake).await?;
        let (send, mut connection) = opened.map_err(|error| never_begun(plan, &clock, Some(&error)))?;
        let ping = connection.ping_pong().expect("a new connection's ping handle was not taken yet");
        let ended = Ended::default();
        let driver = Driver(tokio::spawn({
            let ended = Arc::clone(&ended);
            async move {
                // This task is the only one that sets it.
                let _ = ended.set(connection.await);
            }
        }));
        let (begun, _) = attempt.timed(SetupPhase::Http2, clock.begun()).await?;
        let settings = match begun {
            Begun::Settings(at) => at,
            Begun::Otherwise => return Err(failure::not_http2(plan)),
            Begun::Never => {
                let error = ended.get().and_then(|end| end.as_ref().err());
                return Err(never_begun(plan, &clock, error));
            }
        };
        phases.http2 = Some(settings.saturating_duration_since(start));
        Ok(Opened {
            send,
            ping,
            clock,
            socket: self.socket,
            phases: *phases,
            handshake: self.handshake,
            ended,
            driver,
        })
    }
}

/// A connection that ended before the server's SETTINGS: TLS did it, or nobody knows.
fn never_begun(plan: &ProbePlan, clock: &IoClock, error: Option<&h2::Error>) -> Failure {
    match clock.tls_error() {
        Some(alert) => failure::tls(plan, SetupPhase::Http2, &alert),
        None => failure::no_settings(plan, error),
    }
}
