//! Opening a connection: dns, connect, tls and http2, each timed on its own.

use super::clocked_io::{ClockedIo, IoClock};
use super::failure::{self, MAX_HEADER_BYTES, SetupPhase};
use super::tcp_info::read_tcp_info;
use crate::collect::tls::RouteTls;
use crate::model::outcome::Failure;
use crate::model::plan::ProbePlan;
use crate::model::sample::Phases;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{PingPong, Reason};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
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
    /// A second handle on the socket, for `TCP_INFO`.
    pub(super) socket: OwnedFd,
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
#[derive(Debug)]
pub(super) struct NotOpened {
    pub(super) phases: Phases,
    pub(super) failure: Failure,
}

/// Opens a connection to the route's next hop before `deadline`.
///
/// Cancelling closes whatever was open; nothing is lost.
pub(super) async fn open(
    plan: &ProbePlan,
    tls: Option<&RouteTls>,
    deadline: Instant,
) -> Result<Opened, NotOpened> {
    let mut phases = Phases::default();
    match open_timed(plan, tls, deadline, &mut phases).await {
        Ok(opened) => Ok(opened),
        Err(failure) => Err(NotOpened { phases, failure }),
    }
}

async fn open_timed(
    plan: &ProbePlan,
    tls: Option<&RouteTls>,
    deadline: Instant,
    phases: &mut Phases,
) -> Result<Opened, Failure> {
    let (stream, handshake) = connect_tcp(plan, deadline, phases).await?;
    let socket = stream
        .set_nodelay(true)
        .and_then(|()| stream.as_fd().try_clone_to_owned())
        .map_err(|error| failure::connect(plan, &error))?;
    let setup = Setup { plan, deadline, socket, handshake };
    match tls {
        None => setup.http2(stream, phases).await,
        Some(tls) => {
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&tls.config));
            let handshake = connector.connect(tls.server_name.clone(), stream);
            let (stream, took) = timed(plan, SetupPhase::Tls, deadline, handshake).await?;
            let stream = stream.map_err(|error| failure::tls(plan, &error))?;
            phases.tls = Some(took);
            setup.http2(stream, phases).await
        }
    }
}

/// Name lookup and TCP handshake before `deadline`; with the connection comes the handshake's round
/// trip as the kernel timed it. **None**: it did not (a lost SYN leaves the sample ambiguous).
pub(super) async fn connect_tcp(
    plan: &ProbePlan,
    deadline: Instant,
    phases: &mut Phases,
) -> Result<(TcpStream, Option<Duration>), Failure> {
    let addresses = match plan.route.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, plan.route.port)],
        Err(_) => {
            let lookup = tokio::net::lookup_host((plan.route.host.as_str(), plan.route.port));
            let (found, took) = timed(plan, SetupPhase::Dns, deadline, lookup).await?;
            let found: Vec<_> = found.map_err(|error| failure::dns(plan, &error))?.collect();
            phases.dns = Some(took);
            found
        }
    };
    let (stream, took) = connect_any(plan, &addresses, deadline).await?;
    phases.connect = Some(took);
    let handshake = read_tcp_info(stream.as_fd()).rtt;
    Ok((stream, handshake))
}

/// Runs one phase until the deadline; how long it took is measured around it alone.
async fn timed<T>(
    plan: &ProbePlan,
    phase: SetupPhase,
    deadline: Instant,
    work: impl Future<Output = T>,
) -> Result<(T, Duration), Failure> {
    let start = Instant::now();
    match timeout_at(deadline.into(), work).await {
        Ok(result) => Ok((result, start.elapsed())),
        Err(_) => Err(failure::setup_deadline(plan, phase)),
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
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, start.elapsed())),
            Ok(Err(error)) => last = failure::connect(plan, &error),
            Err(_) => last = failure::setup_deadline(plan, SetupPhase::Connect),
        }
    }
    Err(last)
}

/// What is known once the TCP connection stands.
struct Setup<'a> {
    plan: &'a ProbePlan,
    deadline: Instant,
    socket: OwnedFd,
    handshake: Option<Duration>,
}

impl Setup<'_> {
    /// Preface and SETTINGS; the phase ends with the server's first bytes, which are its
    /// SETTINGS by the protocol's rule.
    async fn http2<S>(self, stream: S, phases: &mut Phases) -> Result<Opened, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let clock = Arc::new(IoClock::default());
        let start = Instant::now();
        let mut builder = h2::client::Builder::new();
        builder
            .max_header_list_size(MAX_HEADER_BYTES)
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .enable_push(false);
        let io = ClockedIo::new(stream, Arc::clone(&clock));
        let handshake = builder.handshake::<_, Bytes>(io);
        let (opened, _) = timed(self.plan, SetupPhase::Http2, self.deadline, handshake).await?;
        let (send, mut connection) = opened.map_err(|error| failure::stream(self.plan, &error))?;
        let ping = connection.ping_pong().expect("a new connection's ping handle was not taken yet");
        let ended = Ended::default();
        let driver = Driver(tokio::spawn({
            let ended = Arc::clone(&ended);
            async move {
                // This task is the only one that sets it.
                let _ = ended.set(connection.await);
            }
        }));
        let (first, _) = timed(self.plan, SetupPhase::Http2, self.deadline, clock.first_read()).await?;
        let settings = first.ok_or_else(|| failure::no_settings(self.plan))?;
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
