//! Two exporters of one host: the agent finds a real node_exporter beside it, and says what to do.
//!
//! What the agent looks at, processes and listeners, belongs to the whole machine, and other tests
//! run exporters too. So each test has a network of its own, and each agent sees the processes of
//! its own namespace only.

use insight_e2e::agent::{Agent, Config, Site};
use insight_e2e::equipment::{Program, has};
use insight_e2e::process::Process;
use insight_e2e::wait::{PATIENCE, wait_until};
use insight_lab::namespaces_available;
use insight_lab::skip::{SkipReason, skip};
use nix::sched::{CloneFlags, unshare};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

/// Where node_exporter listens unless told otherwise.
const PORT: u16 = 9100;

/// What each agent's log has where it warns.
const WARNING: &str = "sums over its node_* families";

/// Who else is there.
#[derive(Clone, Copy, PartialEq)]
enum Exporter {
    /// A node_exporter among the processes that the agent sees.
    Beside,
    /// One that shares the agent's network, but not its processes: in a container, say.
    BehindTheWall,
    Nowhere,
}

/// Runs `work` on a thread with a network of its own, unless this machine cannot, which is said.
fn in_a_network_of_its_own(test: &str, work: impl FnOnce() + Send) {
    if let Err(reason) = namespaces_available() {
        skip(test, SkipReason::Missing(&format!("{reason} (run the tests as root, with iproute2)")));
        return;
    }
    if !has(test, &[Program::NodeExporter]) {
        return;
    }
    std::thread::scope(|scope| {
        // Children are started from this thread, and so are in its network.
        let apart = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("leave the host's network");
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.expect("run ip").success(), "a network without a loopback device");
            work();
        });
        if let Err(panic) = apart.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// An agent that has read its host twice, and so has looked for another exporter before.
struct Looked {
    agent: Agent,
    _exporter: Option<Process>,
    _site: Site,
}

impl Looked {
    /// `lines`: more for `[host]`.
    fn start(exporter: Exporter, lines: &str) -> Self {
        let site = Site::new();
        let program = Program::NodeExporter.path();
        let program = program.to_str().expect("a path of ours");
        let outside = (exporter == Exporter::BehindTheWall).then(|| {
            let mut command = Command::new(program);
            command.arg("--no-collector.systemd");
            let process = Process::start("node_exporter", command, &site.path("exporter.log"));
            let address = SocketAddr::from(([127, 0, 0, 1], PORT));
            wait_until("node_exporter's port", PATIENCE, || {
                TcpStream::connect(address).map(drop).map_err(|error| error.to_string())
            });
            process
        });
        // The agent is the first process of its namespace: with it everything there ends.
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c"]);
        let log = site.path("exporter.log");
        command.arg(match exporter {
            Exporter::Beside => format!(
                "{program} --no-collector.systemd > {} 2>&1 &
                 until grep -q ':{PORT:04X} [0-9A-F:]* 0A' /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done
                 exec \"$@\"",
                log.display()
            ),
            Exporter::BehindTheWall | Exporter::Nowhere => "exec \"$@\"".to_owned(),
        });
        command.arg("sh");
        // The agent's own figures as a forwarder's need two readings, and the look follows the first.
        let forwarder = "[[forwarder]]\nname = \"agent\"\nprocess = \"insight-agent\"\n";
        let config = Config::new().tables(&format!("[host]\nperiod = \"1s\"\n{lines}{forwarder}"));
        let agent = site.start_through(command, &config);
        agent.wait_for("the host's second reading", |shown| {
            shown.value("insight_forwarder_allowed_cpus_busy_ratio", &[("forwarder", "agent")])
        });
        Self { agent, _exporter: outside, _site: site }
    }

    fn warnings(&self) -> Vec<String> {
        let log = self.agent.log();
        log.lines().filter(|line| line.contains(WARNING)).map(str::to_owned).collect()
    }

    /// Whether a scrape tells it as well. The states are exported once a window.
    fn is_exported(&self) -> bool {
        let labels = [("measurement", "node_exporter"), ("reason", "duplicate")];
        self.agent.scrape().value("insight_measurement_state", &labels).is_some()
    }

    /// The one warning, which the scrape has as well.
    fn only_warning(&self) -> String {
        wait_until("the state of the duplicate", PATIENCE, || {
            if self.is_exported() { Ok(()) } else { Err(self.agent.metrics_text()) }
        });
        let warnings = self.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        for way_out in ["set host.node_metrics = false here", "or stop it"] {
            assert!(warnings[0].contains(way_out), "{way_out} is not said: {warnings:#?}");
        }
        warnings[0].clone()
    }

    fn says_nothing(&self) {
        assert_eq!(self.warnings(), Vec::<String>::new());
        assert!(!self.is_exported(), "{}", self.agent.metrics_text());
    }
}

#[test]
fn an_exporter_beside_the_agent_is_told_once_with_its_port_and_two_ways_out() {
    let test = "an_exporter_beside_the_agent_is_told_once_with_its_port_and_two_ways_out";
    in_a_network_of_its_own(test, || {
        let warning = Looked::start(Exporter::Beside, "").only_warning();
        assert!(warning.contains("is a node_exporter on port 9100: "), "{warning}");
    });
}

#[test]
fn an_exporter_whose_process_is_out_of_sight_is_told_by_its_port() {
    let test = "an_exporter_whose_process_is_out_of_sight_is_told_by_its_port";
    in_a_network_of_its_own(test, || {
        let warning = Looked::start(Exporter::BehindTheWall, "").only_warning();
        assert!(warning.contains("something listens on port 9100, node_exporter's: "), "{warning}");
    });
}

#[test]
fn an_agent_that_exports_no_node_metrics_does_not_mind_an_exporter() {
    let test = "an_agent_that_exports_no_node_metrics_does_not_mind_an_exporter";
    in_a_network_of_its_own(test, || {
        for exporter in [Exporter::Beside, Exporter::BehindTheWall] {
            Looked::start(exporter, "node_metrics = false\n").says_nothing();
        }
    });
}

#[test]
fn where_no_exporter_runs_nothing_is_said() {
    in_a_network_of_its_own("where_no_exporter_runs_nothing_is_said", || {
        Looked::start(Exporter::Nowhere, "").says_nothing();
    });
}
