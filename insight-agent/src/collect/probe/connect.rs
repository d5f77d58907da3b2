//! Opening a connection: dns, connect, tunnel, tls and http2, each timed on its own.

use super::access::Keys;
use super::event_log::EventLog;
use super::failure::{self, SetupPhase};
use super::http2::{self, Begun, Io};
use super::names;
use super::proxy;
use super::socket::Socket;
use super::stamped::Stamped;
use super::tcp_info::read_tcp_info;
use crate::model::outcome::Failure;
use crate::model::plan::ProbePlan;
use crate::model::sample::{Phases, Rulers};
use crate::model::series::lost::Loss;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

/// A connection in use.
///
/// Dropping it (and the requests under way on it) closes it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: http2::Connection,
    /// The socket, for `TCP_INFO`.
    pub(super) socket: Arc<Socket>,
    /// The kernel's round trip of its TCP handshake. **None**: it was ambiguous, or with the proxy.
    pub(super) handshake: Option<Duration>,
}

impl Session {
    /// Opens one to the route's next hop before the attempt's deadline; what happens on it is counted in
    /// `events`. With it come the phases of opening.
    ///
    /// Cancelling closes whatever was open; nothing is lost.
    pub(super) async fn open(
        mut attempt: Attempt<'_>,
        events: &Arc<EventLog>,
    ) -> Result<(Self, Phases), NotOpened> {
        let mut phases = Phases::default();
        match open_timed(&mut attempt, events, &mut phases).await {
            Ok(session) => Ok((session, phases)),
            Err(failure) => Err(NotOpened { phases, failure }),
        }
    }

    /// Whether the connection is over, with or without a reason.
    pub(super) fn is_over(&self) -> bool {
        self.connection.ended().is_some()
    }

    /// What the kernel says of the connection by now. With a proxy it speaks of the way to that, and nothing
    /// is told: these rulers stand for the first link.
    pub(super) fn kernel_rulers(&self, plan: &ProbePlan) -> Rulers {
        if plan.route.dial.proxy.is_some() {
            return Rulers::default();
        }
        let info = read_tcp_info(self.socket.as_fd());
        Rulers { handshake: None, ack: info.rtt, ack_min: info.min_rtt, ping: None }
    }
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

/// Before what, and what is told to whom, while a connection is opened.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) plan: &'a ProbePlan,
    pub(super) keys: Keys<'a>,
    pub(super) deadline: Instant,
    pub(super) opening: &'a Opening,
    /// What was lost on the way.
    pub(super) losses: &'a mut Vec<(&'static str, Loss)>,
}

async fn open_timed(
    attempt: &mut Attempt<'_>,
    events: &Arc<EventLog>,
    phases: &mut Phases,
) -> Result<Session, Failure> {
    let (socket, handshake) = reach(attempt, phases).await?;
    let plan = attempt.plan;
    let socket = Arc::new(socket);
    let stream = Stamped::new(Arc::clone(&socket));
    let io = match attempt.keys.tls {
        None => Io::Plain(stream),
        Some(tls) => {
            let connector = tokio_rustls::TlsConnector::from(tls.config());
            let handshake = connector.connect(tls.server_name.clone(), stream);
            let (stream, took) = attempt.timed(SetupPhase::Tls, handshake).await?;
            let stream = stream.map_err(|error| failure::tls(plan, SetupPhase::Tls, &error))?;
            phases.tls = Some(took);
            tls.note_server(stream.get_ref().1.peer_certificates().unwrap_or_default());
            Io::Tls(Box::new(stream))
        }
    };
    let start = Instant::now();
    let connection = http2::Connection::begin(io, Arc::clone(events));
    // The phase ends with the beginning of the server's SETTINGS, which are the first it says by the
    // protocol's rule.
    let (begun, _) = attempt.timed(SetupPhase::Http2, connection.begun()).await?;
    match begun {
        Begun::Settings(at) => phases.http2 = Some(at.saturating_duration_since(start)),
        Begun::Otherwise => return Err(failure::not_http2(plan)),
        Begun::Never => return Err(never_begun(plan, &connection)),
    }
    Ok(Session { connection, socket, handshake })
}

/// A connection that ended before the server's SETTINGS: TLS did it, or nobody knows.
fn never_begun(plan: &ProbePlan, connection: &http2::Connection) -> Failure {
    match connection.tls_error() {
        Some(alert) => failure::tls(plan, SetupPhase::Http2, &alert),
        None => failure::no_settings(plan, connection.ended().as_ref()),
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
    let tunnel = proxy::open(&mut stream, &target, attempt.keys.proxy);
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
            let admitted: Vec<_> = found.iter().filter(|ip| version.admits(ip.is_ipv6())).collect();
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
