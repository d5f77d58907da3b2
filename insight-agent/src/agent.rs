//! The composition root: builds the parts, joins them by channels, stops them.
//!
//! ```text
//! prober thread ─ ProbeEvent ─► correlator task ─ Window ─► metrics, status
//! node pollers ── NodeEvent ──►       │
//! host thread ──── HostSnapshot ─► metrics, status, own report
//! discovery task ─ rosters ─► reloader ─ Change ─► correlator, prober, pollers
//! kernel thread ─► own report ◄───────┴─► node board ─► gRPC thread
//!
//! gRPC thread: receiver, reports, health, reflection    HTTP: /metrics, /api/v1/status
//! ```
//!
//! The prober and the gRPC server have a thread each, because both report durations of their own
//! thread; everything else shares the runtime that [`Agent::run`] is called on.

mod asked;
mod changes;
mod correlator;
pub mod discovery;
mod error;
pub mod file_watch;
mod files;
mod grpc;
mod host;
mod kernel;
mod nodes;
mod open_files;
mod peers;
pub mod privileges;
mod reconcile;
mod reload;
mod report;
mod status;
mod token;
mod worker;

pub use error::{AgentError, error_text};
pub use files::check_files;
pub use host::DUPLICATE_ADVICE;
pub use kernel::configured as kernel_settings;
pub use reload::{Reloader, Trigger};

use crate::clock::AgentClock;
use crate::collect::nodes::{Lost, Outlet};
use crate::collect::probe::{Prober, ReadyProbes};
use crate::collect::{tls_files, watch_tls_files};
use crate::config::{self, Config, Rosters};
use crate::correlate::nodes::NodeWindows;
use crate::correlate::window::Aggregator;
use crate::model::series::lost::Loss;
use crate::publish::metrics::{AgentLabels, Metrics};
use crate::publish::web::{self, AdminListener, MetricsListener, Readiness, ReloadSource, WebConfig};
use crate::secret::Secret;
use crate::serve::Reports;
use asked::{AskChange, Asked, Askers, Places};
use changes::{Change, Conductor, Handed, Known};
use correlator::{ByName, Correlator};
use discovery::{Discovery, Templates};
use host::HostView;
use kernel::States;
use nodes::NodeBoard;
use open_files::{ListenerDoors, raise_limit};
use privileges::Privileges;
use reconcile::Planned;
use reload::Running;
use report::OwnReport;
use status::Board;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// Events that may wait for the correlator. At 1,000 samples a second it holds four seconds; with
/// half of it a moment's pause could cost samples, double would only hide a dead correlator longer.
const EVENTS_QUEUED: usize = 4096;

/// Reports that may wait for the correlator: those of four whole regions at once. With half of it
/// a moment's pause could cost some; each may be as large as 64 KiB on the wire.
const NODE_EVENTS_QUEUED: usize = 256;

/// An agent whose listeners are bound and whose files are read, but which does not run yet.
pub struct Agent {
    config: Config,
    planned: Vec<Planned>,
    probes: ReadyProbes,
    metrics: Arc<Metrics>,
    board: Arc<Board>,
    readiness: Arc<Readiness>,
    metrics_listener: TcpListener,
    admin_listener: TcpListener,
    grpc_listener: TcpListener,
    grpc_tls: Option<Arc<rustls::ServerConfig>>,
    doors: ListenerDoors,
    web_config: Option<WebConfig>,
    token: Option<Secret>,
    report_token: Option<Secret>,
    asked: Vec<Asked>,
    askers: AskChange,
    node_board: Arc<NodeBoard>,
    kernel_states: States,
    host: Arc<HostView>,
    kernel_changes: (Sender<config::Kernel>, Receiver<config::Kernel>),
    changes: (mpsc::Sender<Handed<Change>>, mpsc::Receiver<Handed<Change>>),
    reloader: Arc<Reloader>,
    templates: Arc<Templates>,
}

impl Agent {
    /// Binds all listeners and reads all files: what can fail because of the configuration fails
    /// here, before anything is sent. Call it within a runtime.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub fn prepare(config: Config) -> Result<Self, AgentError> {
        let doors = ListenerDoors::new(&config, raise_limit());
        let metrics_listener = web::bind("metrics", config.metrics.listen)?;
        let admin_listener = web::bind("admin", config.admin.listen)?;
        let grpc_listener = web::bind("grpc", config.grpc.listen)?;
        let web_config = config.metrics.web_config_file.as_deref().map(WebConfig::load).transpose()?;
        let (token, report_token) = files::expected_tokens(&config)?;
        let grpc_tls = grpc::load_tls(&config)?;
        let asked: Vec<_> = Asked::all(&config).into_iter().collect::<Result<_, _>>()?;
        let pollers = asked.iter().map(|one| Ok((one.place().clone(), one.poller(&config)?)));
        let askers = AskChange { stop: Vec::new(), start: pollers.collect::<Result<_, AgentError>>()? };
        let planned: Vec<_> = config.probe_plans().into_iter().map(Planned::new).collect();
        let plans: Vec<_> = planned.iter().map(|planned| Arc::clone(&planned.plan)).collect();
        let probes = ReadyProbes::new(&plans)?;
        files::check_templates(&config).into_iter().next().map_or(Ok(()), Err)?;
        let labels = AgentLabels {
            name: config.agent.name.clone(),
            region: config.agent.region.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let metrics = Arc::new(Metrics::new(&labels, config.probing.window, &plans));
        metrics.show_listeners(doors.named());
        let listeners =
            [("metrics", &metrics_listener), ("admin", &admin_listener), ("grpc", &grpc_listener)]
                .into_iter()
                .filter_map(|(name, bound)| Some((name.to_owned(), bound.local_addr().ok()?.to_string())))
                .collect();
        let board = Arc::new(Board::new(labels, config.probing.window, listeners, !plans.is_empty()));
        let kernel_states = States::default();
        let host = Arc::new(HostView::new(&config));
        let (for_own, states) = (Arc::clone(&metrics), Arc::clone(&kernel_states));
        let own = OwnReport::new(&config, AgentClock::start(), for_own, states, Arc::clone(&host))
            .map_err(|source| AgentError::Thread { part: "the node's report", source })?;
        let node_board = Arc::new(NodeBoard::new(&config, Arc::new(own)));
        let templates = Arc::new(Templates::new(&config.discoveries, Arc::clone(&metrics)));
        let changes = mpsc::channel(1);
        let kernel_changes = std::sync::mpsc::channel();
        let running = Running {
            config: config.clone(),
            rosters: Rosters::new(),
            probes: planned.clone(),
            asked: asked.clone(),
        };
        let to_kernel = kernel_changes.0.clone();
        let (shown, known) = (Arc::clone(&metrics), Arc::clone(&templates));
        let reloader = Arc::new(Reloader::new(running, changes.0.clone(), to_kernel, shown, known));
        Ok(Self {
            config,
            planned,
            probes,
            metrics,
            board,
            readiness: Arc::new(Readiness::not_yet("starting")),
            metrics_listener,
            admin_listener,
            grpc_listener,
            grpc_tls,
            doors,
            web_config,
            token,
            report_token,
            asked,
            askers,
            node_board,
            kernel_states,
            host,
            kernel_changes,
            changes,
            reloader,
            templates,
        })
    }

    /// From now on this agent takes new configurations out of this file, on request: by what is returned,
    /// or by `POST /-/reload` on its admin listener.
    pub fn follow(&self, path: PathBuf) -> Arc<Reloader> {
        self.reloader.follow(path);
        Arc::clone(&self.reloader)
    }

    /// What the gRPC listener tells of this node and its region. **None**: nothing.
    fn reports(&self) -> Option<Reports> {
        let (own, region) = (Arc::clone(&self.node_board), Arc::clone(&self.node_board));
        self.config.grpc.reports.then(|| Reports {
            token: self.report_token.clone(),
            own: Arc::new(move || Some(own.own().make().0)),
            region: Arc::new(move || region.known()),
            service_times: self.node_board.own().service_times().clone(),
        })
    }

    /// Works until `shutdown` completes, then stops every part.
    ///
    /// # Errors
    /// A part that cannot start, or that ends by itself, ends the agent: a process supervisor
    /// restarts a whole better than anything heals a half.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
        let reports = self.reports();
        let (stop, stopping) = watch::channel(false);
        let (events, received) = mpsc::channel(EVENTS_QUEUED);
        let lost = {
            let metrics = Arc::clone(&self.metrics);
            Arc::new(move || metrics.lost("probe", Loss::Dropped, 1))
        };
        // Threads inherit capabilities: first those that need some, then all others.
        let privileges = Privileges::of(&self.config);
        let sockets = kernel::start(
            &self.config,
            Arc::clone(&self.metrics),
            Arc::clone(&self.kernel_states),
            self.node_board.own_shared(),
            privileges,
            self.kernel_changes.1,
        )
        .map_err(|source| AgentError::Thread { part: "the kernel thread", source })?;
        let host = host::start(&self.config, Arc::clone(&self.metrics), Arc::clone(&self.host), privileges)
            .map_err(|source| AgentError::Thread { part: "the host thread", source })?;
        privileges::keep_none();
        if sockets.is_none() {
            privileges.tell_without_maps();
        }
        let (tls, end) = (self.grpc_tls, stopped(stopping.clone()));
        let ListenerDoors([metrics_door, admin_door, grpc_door]) = self.doors;
        let mut grpc = grpc::spawn(&self.config, tls, reports, self.grpc_listener, grpc_door, end)?;
        let prober = Prober::start(self.probes, events, lost)?;
        let (node_events, nodes_received) = mpsc::channel(NODE_EVENTS_QUEUED);
        let lost = Arc::clone(&self.metrics);
        let lost = Lost(Arc::new(move || lost.lost("report", Loss::Dropped, 1)));
        let outlet = Outlet { events: node_events, lost };
        let mut askers = Askers::new(outlet);
        askers.apply(self.askers);
        let (known, known_changes) = mpsc::channel(1);
        let conductor = Conductor { correlator: known, prober: prober.control(), askers };
        let mut conductor = tokio::spawn(conductor.run(self.changes.1));
        let (discovery, told) = Discovery::new(Arc::clone(&self.reloader), Arc::clone(&self.templates));
        let mut discovery = tokio::spawn(discovery.run(told));
        let plans: Vec<_> = self.planned.into_iter().map(|planned| planned.plan).collect();
        let correlator = Correlator {
            known: Known { plans: plans.clone(), places: Places::of(&self.config, &self.asked) },
            by_name: ByName::new(),
            aggregator: Aggregator::new(plans, Instant::now()),
            nodes: NodeWindows::default(),
            metrics: Arc::clone(&self.metrics),
            board: Arc::clone(&self.board),
            node_board: Arc::clone(&self.node_board),
            window: self.config.probing.window,
            kernel_states: self.kernel_states,
            host: Arc::clone(&self.host),
        };
        let mut correlator = tokio::spawn(correlator.run(received, nodes_received, known_changes));
        let looked = Arc::clone(&self.metrics);
        let tls_watch = tokio::spawn(watch_tls_files(move |news| looked.tls_files_looked_at(news)));
        let exposition = Arc::clone(&self.metrics);
        let mut metrics = tokio::spawn(web::serve_metrics(
            self.metrics_listener,
            MetricsListener {
                exposition: Arc::new(move |give| exposition.write(give)),
                readiness: Arc::clone(&self.readiness),
                web_config: self.web_config,
                door: metrics_door,
            },
            stopped(stopping.clone()),
        ));
        let lost = Arc::clone(&self.metrics);
        let (board, forwarders) = (Arc::clone(&self.board), self.host);
        let templates = self.templates;
        let follows = self.reloader.path().is_some();
        let mut admin = tokio::spawn(web::serve_admin(
            self.admin_listener,
            AdminListener {
                status: Arc::new(move || {
                    let now = Instant::now();
                    let (lost, forwarders) = (lost.lost_snapshot(), forwarders.forwarders(now));
                    board.status(lost, tls_files(), forwarders, templates.status(now), now)
                }),
                readiness: Arc::clone(&self.readiness),
                token: self.token,
                reload: follows.then(|| reload_on_request(self.reloader)),
                door: admin_door,
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
            _ = &mut conductor => ended("a poller of node reports"),
            _ = &mut discovery => ended("a discovery's source"),
        };
        conductor.abort();
        discovery.abort();
        tls_watch.abort();
        self.readiness.set_not_ready("stopping");
        stop.send_replace(true);
        // Joining a thread blocks; the prober's takes some milliseconds.
        let stop = move || {
            prober.stop();
            if let Some(thread) = sockets {
                thread.stop();
            }
            if let Some(thread) = host {
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

/// What the admin listener's `POST /-/reload` does.
fn reload_on_request(reloader: Arc<Reloader>) -> ReloadSource {
    Arc::new(move || {
        let reloader = Arc::clone(&reloader);
        Box::pin(async move { reloader.reload(Trigger::Request).await })
    })
}

/// Completes when the agent stops.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopping.wait_for(|stop| *stop).await;
}
