//! The composition root: builds the parts, joins them by channels, stops them.
//!
//! ```text
//! prober thread ─ ProbeEvent ─► correlator task ─ Window ─► metrics, status
//! gRPC thread: receiver, health, reflection          HTTP: /metrics, /api/v1/status
//! ```
//!
//! The prober and the gRPC server have a thread each, because both report durations of their own
//! thread; everything else shares the runtime that [`Agent::run`] is called on.

mod kernel;
mod status;

use crate::collect::host::schedstat::read_thread_wait;
use crate::collect::probe::{Prober, ProberError};
use crate::config::Config;
use crate::correlate::measurements::measurement_states;
use crate::correlate::nodes::NodeWindows;
use crate::correlate::window::Aggregator;
use crate::model::plan::ProbePlan;
use crate::model::sample::ProbeEvent;
use crate::model::series::lost::Loss;
use crate::publish::metrics::{AgentLabels, Metrics};
use crate::publish::web::{
    self, AdminListener, BindError, MetricsListener, Readiness, Secret, WebConfig, WebConfigError,
};
use crate::serve::{Drill, GrpcOptions, GrpcTls, ServeError, serve_grpc};
use kernel::{KernelThread, States};
use status::Board;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

/// Events that may wait for the correlator. At 1,000 samples a second it holds four seconds; with
/// half of it a moment's pause could cost samples, double would only hide a dead correlator longer.
const EVENTS_QUEUED: usize = 4096;

/// Why an agent could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A listener's address cannot be used.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The prober cannot work as configured.
    #[error(transparent)]
    Prober(#[from] ProberError),
    /// The gRPC server cannot work as configured, or failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Prometheus' web configuration is not usable.
    #[error(transparent)]
    WebConfig(#[from] WebConfigError),
    /// The admin token cannot be read.
    #[error("[admin] token_file = {path:?}: {problem}: write one line with the token, readable by this user")]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        problem: String,
    },
    /// The system refused a thread or a runtime.
    #[error("start {part}: check the limits on threads and open files")]
    Thread {
        /// What could not be started.
        part: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part ended although nobody asked it to.
    #[error("{part} ended unexpectedly: see the log above for its reason")]
    Ended {
        /// Which part.
        part: &'static str,
    },
}

/// An agent whose listeners are bound and whose files are read, but which does not run yet.
pub struct Agent {
    config: Config,
    plans: Vec<Arc<ProbePlan>>,
    metrics: Arc<Metrics>,
    board: Arc<Board>,
    readiness: Arc<Readiness>,
    metrics_listener: TcpListener,
    admin_listener: TcpListener,
    grpc_listener: TcpListener,
    web_config: Option<WebConfig>,
    token: Option<Secret>,
}

impl Agent {
    /// Binds all listeners and reads all files: what can fail because of the configuration fails
    /// here, before anything is sent. Call it within a runtime.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn prepare(config: Config) -> Result<Self, AgentError> {
        let metrics_listener = web::bind("metrics", config.metrics.listen)?;
        let admin_listener = web::bind("admin", config.admin.listen)?;
        let grpc_listener = web::bind("grpc", config.grpc.listen)?;
        let web_config = config.metrics.web_config_file.as_deref().map(WebConfig::load).transpose()?;
        let token = config.admin.token_file.as_deref().map(read_token).transpose()?;
        let plans: Vec<_> = config.probe_plans().into_iter().map(Arc::new).collect();
        let labels = AgentLabels {
            name: config.agent.name.clone(),
            region: config.agent.region.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let metrics = Arc::new(Metrics::new(&labels, config.probing.window, &plans));
        let listeners =
            [("metrics", &metrics_listener), ("admin", &admin_listener), ("grpc", &grpc_listener)]
                .into_iter()
                .filter_map(|(name, bound)| Some((name.to_owned(), bound.local_addr().ok()?.to_string())))
                .collect();
        let board = Arc::new(Board::new(labels, config.probing.window, listeners, !plans.is_empty()));
        Ok(Self {
            config,
            plans,
            metrics,
            board,
            readiness: Arc::new(Readiness::not_yet("starting")),
            metrics_listener,
            admin_listener,
            grpc_listener,
            web_config,
            token,
        })
    }

    /// Works until `shutdown` completes, then stops every part.
    ///
    /// # Errors
    /// A part that cannot start, or that ends by itself, ends the agent: a process supervisor
    /// restarts a whole better than anything heals a half.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
        let (stop, stopping) = watch::channel(false);
        let (events, received) = mpsc::channel(EVENTS_QUEUED);
        let lost = {
            let metrics = Arc::clone(&self.metrics);
            Arc::new(move || metrics.lost("probe", Loss::Dropped, 1))
        };
        let mut grpc = spawn_grpc(&self.config, self.grpc_listener, stopped(stopping.clone()))?;
        let prober = Prober::start(&self.plans, events, lost)?;
        let kernel_states = States::default();
        let sockets =
            KernelThread::start(&self.config, Arc::clone(&self.metrics), Arc::clone(&kernel_states))
                .map_err(|source| AgentError::Thread { part: "the kernel thread", source })?;
        let correlator = Correlator {
            kernel_states,
            aggregator: Aggregator::new(self.plans, Instant::now()),
            metrics: Arc::clone(&self.metrics),
            board: Arc::clone(&self.board),
            window: self.config.probing.window,
        };
        let mut correlator = tokio::spawn(correlator.run(received));
        let exposition = Arc::clone(&self.metrics);
        let mut metrics = tokio::spawn(web::serve_metrics(
            self.metrics_listener,
            MetricsListener {
                exposition: Arc::new(move || exposition.render()),
                readiness: Arc::clone(&self.readiness),
                web_config: self.web_config,
            },
            stopped(stopping.clone()),
        ));
        let lost = Arc::clone(&self.metrics);
        let board = Arc::clone(&self.board);
        let mut admin = tokio::spawn(web::serve_admin(
            self.admin_listener,
            AdminListener {
                status: Arc::new(move || board.status(lost.lost_snapshot(), Instant::now())),
                readiness: Arc::clone(&self.readiness),
                token: self.token,
            },
            stopped(stopping),
        ));
        self.readiness.set_ready();
        tracing::info!(
            region = self.config.agent.region,
            name = self.config.agent.name,
            probes = self.config.probes.len(),
            "ready: metrics on {}, admin on {}, grpc on {}",
            self.config.metrics.listen,
            self.config.admin.listen,
            self.config.grpc.listen
        );

        let ended = |part| Err(AgentError::Ended { part });
        let result = tokio::select! {
            () = shutdown => Ok(()),
            end = &mut grpc => match end {
                Ok(Err(error)) => Err(error.into()),
                _ => ended("the gRPC server"),
            },
            _ = &mut correlator => ended("the correlator"),
            _ = &mut metrics => ended("the metrics listener"),
            _ = &mut admin => ended("the admin listener"),
        };
        self.readiness.set_not_ready("stopping");
        stop.send_replace(true);
        // Joining a thread blocks; the prober's takes some milliseconds.
        let stop = move || {
            prober.stop();
            if let Some(thread) = sockets {
                thread.stop();
            }
        };
        let _ = tokio::task::spawn_blocking(stop).await;
        if result.is_ok() {
            let _ = tokio::join!(correlator, metrics, admin);
            let _ = grpc.await;
            tracing::info!("stopped");
        }
        result
    }
}

/// Completes when the agent stops.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn read_token(path: &std::path::Path) -> Result<Secret, AgentError> {
    let failed = |problem: String| AgentError::Token { path: path.to_owned(), problem };
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    Secret::from_text(&text).ok_or_else(|| failed("holds no token".into()))
}

/// Starts the gRPC thread; the receiver tells how it ended.
fn spawn_grpc(
    config: &Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<oneshot::Receiver<Result<(), ServeError>>, AgentError> {
    let failed = |source| AgentError::Thread { part: "the gRPC thread", source };
    let grpc = &config.grpc;
    let options = GrpcOptions {
        region: config.agent.region.clone(),
        node: config.agent.name.clone(),
        max_delay: grpc.max_delay,
        max_payload: grpc.max_payload_bytes,
        reflection: grpc.reflection,
        tls: grpc.tls.as_ref().map(|tls| GrpcTls {
            cert_file: tls.cert_file.clone(),
            key_file: tls.key_file.clone(),
            client_ca_file: tls.client_ca_file.clone(),
        }),
        thread_wait: read_thread_wait,
    };
    let drill_file = grpc.drill_delay_file.clone();
    let listener = listener.into_std().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("grpc".into())
        .spawn(move || {
            let result = runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).map_err(ServeError::Listener)?;
                let drill = Drill::default();
                if let Some(file) = drill_file {
                    tokio::spawn(drill.clone().follow(file, options.max_delay));
                }
                serve_grpc(listener, options, drill, shutdown).await
            });
            // Nobody listens any more when the agent ended for another reason.
            let _ = end.send(result);
        })
        .map_err(failed)?;
    Ok(ended)
}

/// Turns events into windows. Ends when the prober has gone.
struct Correlator {
    aggregator: Aggregator,
    metrics: Arc<Metrics>,
    board: Arc<Board>,
    window: std::time::Duration,
    kernel_states: States,
}

impl Correlator {
    async fn run(mut self, mut events: mpsc::Receiver<ProbeEvent>) {
        let first = tokio::time::Instant::now() + self.window;
        let mut ends = tokio::time::interval_at(first, self.window);
        // After a pause, one longer window and not several empty ones.
        ends.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.record(event),
                    None => return,
                },
                _ = ends.tick() => self.end_window(),
            }
        }
    }

    fn record(&mut self, event: ProbeEvent) {
        match event {
            ProbeEvent::Sample(sample) => {
                tracing::debug!(
                    probe = sample.plan.name,
                    connection = sample.connection.as_str(),
                    outcome = ?sample.outcome,
                    total = ?sample.total(),
                    "sample"
                );
                self.metrics.observe(&sample);
                self.board.record(&sample);
                let unknown = self.aggregator.record(&sample);
                if unknown > 0 {
                    self.metrics.lost("hop_headers", Loss::UnknownHop, u64::from(unknown));
                }
            }
            ProbeEvent::Skipped(plan, connection) => {
                self.metrics.skip(&plan, connection);
                self.board.skip(&plan, connection);
            }
            ProbeEvent::Lost(measurement, loss) => self.metrics.lost(measurement, loss, 1),
        }
    }

    fn end_window(&mut self) {
        let window = self.aggregator.rotate(Instant::now(), &NodeWindows::default());
        let mut states = measurement_states(self.board.node(), Some(&window), self.board.is_probing());
        let kernel = self.kernel_states.lock().unwrap_or_else(PoisonError::into_inner);
        states.extend(kernel.iter().cloned());
        drop(kernel);
        states.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
        for ledger in window.paths.iter().flat_map(|path| &path.ledgers).filter(|l| l.other_shape > 0) {
            self.metrics.lost("hop_headers", Loss::OtherShape, ledger.other_shape);
        }
        self.metrics.publish_window(&window);
        self.metrics.publish_measurements(&states);
        self.board.show(window, states);
    }
}
