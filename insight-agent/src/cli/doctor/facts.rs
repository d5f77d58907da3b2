//! Puts the facts together: a second small composition, as `probe` is one.

use crate::agent::{DUPLICATE_ADVICE, kernel_settings};
use crate::collect::doctor;
use crate::collect::host::{NODE_EXPORTER_PORT, Root, node_exporter};
use crate::collect::kernel::examine::{Trial, examine};
use crate::collect::kernel::settings::Forwarders;
use crate::config::Config;
use crate::correlate::doctor::Asked;
use crate::model::doctor::Facts;

/// Processes that the kernel half has room for.
const MAX_PIDS: usize = 64;

/// Everything about this machine. `configured`: the configuration is the user's, and not the defaults.
pub(super) fn gather(config: &Config, configured: bool, progress: &mut dyn FnMut(&str)) -> (Facts, Asked) {
    let root = Root::default();
    progress("looking at this machine");
    let listen =
        [("metrics", config.metrics.listen), ("admin", config.admin.listen), ("grpc", config.grpc.listen)];
    let mut forwarders = doctor::forwarders(&root, &config.forwarders, true);
    if forwarders.is_empty() {
        forwarders = doctor::forwarders(&root, &doctor::known(), false);
    }
    // Without a configuration, what measures forwarders is tried as well, for those that run here.
    let pids: Vec<_> = forwarders.iter().map(|of| of.pids.clone()).collect();
    let mut running = Forwarders::of(&pids);
    running.processes = running.processes.into_iter().take(MAX_PIDS).collect();
    let to_measure = (!configured || !config.forwarders.is_empty()).then_some(running);

    let settings = config.kernel.enabled.then(|| kernel_settings(&config.kernel, to_measure));
    let trial = match &settings {
        None => Trial::Off,
        Some((settings, None)) => Trial::Load(settings),
        Some((settings, Some(problem))) => Trial::Impossible(settings, problem),
    };
    let kernel = examine(&root, trial, progress);
    progress("looking at listeners and other exporters");
    let by_port = listen.iter().all(|(_, address)| address.port() != NODE_EXPORTER_PORT);
    let facts = Facts {
        system: doctor::system(&root),
        process: doctor::process(&root),
        kernel,
        forwarders,
        listeners: doctor::listeners(&root, &listen),
        node_exporter: node_exporter(&root, by_port),
        agents: doctor::agents(&root),
    };
    let asked = Asked {
        configured,
        kernel: config.kernel.enabled,
        node_metrics: config.host.enabled && config.host.node_metrics,
        scope_by_namespace: !config.kernel.scope_namespaces.is_empty(),
        duplicate_advice: DUPLICATE_ADVICE,
    };
    (facts, asked)
}
