//! When is each probe sent? Open loop: on its own schedule, whatever became of the ones before.

use super::beat::Beat;
use super::burst::{Trend, look_closer};
use super::calls::watch::HealthWatch;
use super::link::LinkProbe;
use super::outbox::Outbox;
use super::session::{Probe, ProbeError};
use crate::model::plan::{Call, Connection, Mode, ProbePlan};
use crate::model::sample::{ProbeEvent, ProbeSample};
use crate::model::series::lost::Loss;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The probing thread. Dropping it without [`Prober::stop`] asks it to stop and does not wait.
#[derive(Debug)]
pub struct Prober {
    stop: watch::Sender<bool>,
    control: ProbeControl,
    thread: Option<JoinHandle<()>>,
}

/// Probes whose files are read and whose connections are not opened yet.
pub struct ReadyProbes(Vec<Arc<Work>>);

impl fmt::Debug for ReadyProbes {
    /// What they are made of may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ReadyProbes").field(&self.0.len()).finish()
    }
}

impl ReadyProbes {
    /// Of these plans. Blocking: reads the files that they name.
    ///
    /// # Errors
    /// The first probe that cannot be started.
    pub fn new(plans: &[Arc<ProbePlan>]) -> Result<Self, ProberError> {
        Ok(Self(plans.iter().map(|plan| Work::new(plan).map(Arc::new)).collect::<Result<_, _>>()?))
    }

    /// The same, with all errors.
    ///
    /// # Errors
    /// Every probe that cannot be started.
    pub fn all(plans: &[Arc<ProbePlan>]) -> Result<Self, Vec<ProberError>> {
        let mut errors = Vec::new();
        let made = plans.iter().map(Work::new);
        let ready = made.filter_map(|work| work.map_err(|error| errors.push(error.into())).ok());
        let ready = Self(ready.map(Arc::new).collect());
        if errors.is_empty() { Ok(ready) } else { Err(errors) }
    }
}

/// Which probes go and which come, all at once.
#[derive(Debug)]
pub struct ProbeChange {
    /// Names of probes that are not scheduled any more. What is under way of them may end within its
    /// deadline and drain time, and is cut off then; their connections are closed behind it.
    pub stop: Vec<String>,
    /// Probes that begin, each within its first interval. One whose name runs already takes its place.
    pub start: ReadyProbes,
}

/// Where changes go while the prober runs.
#[derive(Debug, Clone)]
pub struct ProbeControl(mpsc::Sender<(ProbeChange, oneshot::Sender<()>)>);

impl ProbeControl {
    /// Hands a change over, and returns when it counts: nothing more is started of what goes. Probes that
    /// the change does not name notice nothing.
    pub async fn apply(&self, change: ProbeChange) {
        let (done, counts) = oneshot::channel();
        // Without a receiver the prober has gone, and all of its probes with it.
        if self.0.send((change, done)).await.is_ok() {
            let _ = counts.await;
        }
    }
}

/// The prober cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// A probe cannot be started.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The system gave no thread or no runtime.
    #[error("start the probing thread: check the limits on threads and open files")]
    Thread(#[from] std::io::Error),
}

impl Prober {
    /// Starts the thread that sends all of `probes` and reports into `events`.
    ///
    /// Events come some milliseconds late, several at a time. One that does not fit into the channel is
    /// dropped and counted by `lost`: probing never waits for its consumers.
    ///
    /// # Errors
    /// The system gave no thread or no runtime; nothing is started then.
    pub fn start(
        ReadyProbes(probes): ReadyProbes,
        events: mpsc::Sender<ProbeEvent>,
        lost: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, ProberError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, mut stopped) = watch::channel(false);
        let (control, mut changes) = mpsc::channel::<(ProbeChange, oneshot::Sender<()>)>(1);
        let thread = std::thread::Builder::new().name("prober".into()).spawn(move || {
            runtime.block_on(async move {
                let outbox = Arc::new(Outbox::new(events, lost));
                let delivery = tokio::spawn(Arc::clone(&outbox).deliver_in_turn());
                let mut running = Running::new(Arc::clone(&outbox));
                running.start(probes);
                loop {
                    tokio::select! {
                        // A closed channel is a dropped Prober.
                        _ = stopped.wait_for(|stop| *stop) => break,
                        Some((change, done)) = changes.recv() => {
                            running.change(change);
                            // Whoever asked may have given up waiting.
                            let _ = done.send(());
                        }
                        // Schedules end only when they are retired.
                        Some(_) = running.schedules.join_next() => {}
                    }
                }
                running.schedules.shutdown().await;
                delivery.abort();
                outbox.deliver();
            });
            // A resolver that hangs must not hold up the stop: its thread is left to itself.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop, control: ProbeControl(control), thread: Some(thread) })
    }

    /// Where changes go. It does not keep the prober running.
    pub fn control(&self) -> ProbeControl {
        self.control.clone()
    }

    /// What [`ReadyProbes::new`] would refuse these plans for; nothing is started. Blocking: reads the
    /// files that they name.
    pub fn check(plans: &[Arc<ProbePlan>]) -> Vec<ProberError> {
        plans.iter().filter_map(|plan| Work::new(plan).err()).map(ProberError::from).collect()
    }

    /// Stops all probes: streams under way are reset, connections closed. Blocks until the
    /// thread has ended, some milliseconds at most.
    pub fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the probing thread ended in a panic");
        }
    }
}

/// What the probing thread runs.
struct Running {
    outbox: Arc<Outbox>,
    schedules: JoinSet<()>,
    /// By name; dropping a sender retires the schedules of that probe.
    probes: HashMap<String, watch::Sender<()>>,
}

impl Running {
    fn new(outbox: Arc<Outbox>) -> Self {
        Self { outbox, schedules: JoinSet::new(), probes: HashMap::new() }
    }

    /// Holds none of them itself: what a retired probe has goes with its schedules.
    fn start(&mut self, probes: Vec<Arc<Work>>) {
        for probe in &probes {
            let (alive, _) = watch::channel(());
            // One of the same name retires by this.
            self.probes.insert(probe.plan().name.clone(), alive);
        }
        for (probe, connection, phase) in staggered(&probes) {
            let Some(alive) = self.probes.get(&probe.plan().name) else { continue };
            let (retired, outbox) = (alive.subscribe(), Arc::clone(&self.outbox));
            if matches!(**probe, Work::Watch(_)) {
                self.schedules.spawn(keep_watch(Arc::clone(probe), phase, outbox, retired));
                continue;
            }
            self.schedules.spawn(run(Arc::clone(probe), connection, phase, outbox, retired));
        }
    }

    fn change(&mut self, ProbeChange { stop, start: ReadyProbes(probes) }: ProbeChange) {
        for name in stop {
            self.probes.remove(&name);
        }
        self.start(probes);
    }
}

/// A probe of either kind.
pub(super) enum Work {
    Rpc(Box<Probe>),
    Watch(Box<HealthWatch>),
    Link(LinkProbe),
}

impl Work {
    fn new(plan: &Arc<ProbePlan>) -> Result<Self, ProbeError> {
        let plan = Arc::clone(plan);
        match plan.mode {
            Mode::BlackBox if matches!(plan.call, Call::HealthWatch { .. }) => {
                HealthWatch::new(plan).map(|watch| Self::Watch(Box::new(watch)))
            }
            Mode::BlackBox | Mode::WhiteBox => Probe::new(plan).map(|probe| Self::Rpc(Box::new(probe))),
            Mode::Link => Ok(Self::Link(LinkProbe::new(plan)?)),
        }
    }

    pub(super) fn plan(&self) -> &Arc<ProbePlan> {
        match self {
            Self::Rpc(probe) => probe.plan(),
            Self::Watch(watch) => watch.plan(),
            Self::Link(probe) => probe.plan(),
        }
    }

    pub(super) fn has_room(&self, connection: Connection) -> bool {
        match self {
            Self::Rpc(probe) => probe.has_room(connection),
            Self::Link(_) | Self::Watch(_) => true,
        }
    }

    pub(super) async fn sample(
        &self,
        connection: Connection,
        scheduled: Instant,
    ) -> (Option<ProbeSample>, Vec<(&'static str, Loss)>) {
        match self {
            Self::Rpc(probe) => {
                let (sample, losses) = probe.sample(connection, scheduled).await;
                (Some(sample), losses)
            }
            // It keeps no schedule: see `keep_watch`.
            Self::Watch(_) => (None, Vec::new()),
            Self::Link(probe) => probe.sample(connection, scheduled).await,
        }
    }
}

impl Work {
    /// What happened on its connections besides answers.
    fn report_connections(&self, connection: Connection, outbox: &Outbox) {
        let access = match self {
            Self::Rpc(probe) => probe.access(),
            Self::Watch(watch) => watch.access(),
            Self::Link(probe) => probe.access(),
        };
        let plan = self.plan();
        for (event, count) in access.take_events(connection) {
            outbox.send(ProbeEvent::Connection(Arc::clone(plan), connection, event, count));
        }
        if let Some(interval) = access.take_ping_interval() {
            outbox.send(ProbeEvent::PingInterval(Arc::clone(plan), interval));
        }
        if let Some(certificates) = access.take_certificates() {
            outbox.send(ProbeEvent::Certificates(Arc::clone(plan), certificates));
        }
    }
}

/// Every schedule with its share of its interval, so that probes with one interval do not all
/// start together and measure each other.
fn staggered(probes: &[Arc<Work>]) -> impl Iterator<Item = (&Arc<Work>, Connection, Duration)> {
    let all: Vec<_> =
        probes.iter().flat_map(|probe| probe.plan().connections.iter().map(move |c| (probe, *c))).collect();
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX).max(1);
    all.into_iter().zip(0_u32..).map(move |((probe, connection), nth)| {
        (probe, connection, probe.plan().interval.mul_f64(f64::from(nth) / f64::from(count)))
    })
}

/// One schedule: a sample each interval, counted from the start and never from the last sample.
///
/// After a time in which this thread did not run (a suspended host) the missed samples start at
/// once, as far as `max_in_flight` lets them, and the others are skipped and counted.
///
/// Ends when nobody sends `retired` any more, behind the samples that are under way then: within their
/// deadline and drain time.
async fn run(
    probe: Arc<Work>,
    connection: Connection,
    phase: Duration,
    outbox: Arc<Outbox>,
    mut retired: watch::Receiver<()>,
) {
    let plan = Arc::clone(probe.plan());
    let mut beat = Beat::new(Instant::now() + phase, plan.interval, plan.jitter);
    let in_flight = Arc::new(AtomicUsize::new(0));
    let most_in_flight = plan.most_in_flight(connection);
    let looks = plan.burst > 0 && connection == Connection::Reused && matches!(*probe, Work::Rpc(_));
    let trend = looks.then(|| Arc::new(Mutex::new(Trend::default())));
    let mut samples = JoinSet::new();
    loop {
        let scheduled = beat.due(rand::random());
        tokio::select! {
            // A retired schedule that is due at the same moment starts nothing.
            biased;
            _ = retired.changed() => break,
            () = tokio::time::sleep_until(scheduled.into()) => {}
        }
        while samples.try_join_next().is_some() {}
        if in_flight.load(Ordering::Relaxed) >= most_in_flight || !probe.has_room(connection) {
            outbox.send(ProbeEvent::Skipped(Arc::clone(&plan), connection));
        } else {
            in_flight.fetch_add(1, Ordering::Relaxed);
            let (probe, outbox, in_flight) =
                (Arc::clone(&probe), Arc::clone(&outbox), Arc::clone(&in_flight));
            let trend = trend.clone();
            // Boxed, so that its room is free when it ends, and not when somebody looks for ended samples.
            samples.spawn(Box::pin(async move {
                let (sample, losses) = probe.sample(connection, scheduled).await;
                in_flight.fetch_sub(1, Ordering::Relaxed);
                let worse = trend.zip(sample.as_ref()).and_then(|(trend, sample)| {
                    // Poisoned, it is no less a trend.
                    trend.lock().unwrap_or_else(PoisonError::into_inner).note(sample, Instant::now())
                });
                if let Some(sample) = sample {
                    outbox.send(ProbeEvent::Sample(Box::new(sample)));
                }
                for (measurement, loss) in losses {
                    outbox.send(ProbeEvent::Lost(measurement, loss));
                }
                probe.report_connections(connection, &outbox);
                if let Some((cause, before)) = worse {
                    Box::pin(look_closer(&probe, cause, before, &outbox)).await;
                    probe.report_connections(connection, &outbox);
                }
            }));
        }
    }
    let patience = plan.deadline + plan.drain;
    let drained = timeout(patience, async { while samples.join_next().await.is_some() {} });
    if drained.await.is_err() {
        samples.shutdown().await;
    }
}

/// A health watch, which begins after `phase`, stays, and ends with its retirement.
async fn keep_watch(work: Arc<Work>, phase: Duration, outbox: Arc<Outbox>, mut retired: watch::Receiver<()>) {
    let Work::Watch(watch) = &*work else { return };
    let watching = async {
        tokio::time::sleep(phase).await;
        watch
            .keep(|event| {
                outbox.send(event);
                work.report_connections(Connection::Reused, &outbox);
            })
            .await;
    };
    tokio::select! {
        biased;
        // Who drops the watch closes its connection, and with it the stream.
        _ = retired.changed() => {}
        () = watching => {}
    }
}
