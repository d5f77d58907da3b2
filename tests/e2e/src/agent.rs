//! The agent as its operator meets it: a file, a process, pages and an exit code.

use crate::exposition::Exposition;
use crate::http::{self, Answer};
use crate::loopback::Loopback;
use crate::process::Process;
use crate::wait::{PATIENCE, wait_until};
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Names the program to test, where it is not the one next to the tests.
pub const BINARY_VARIABLE: &str = "INSIGHT_AGENT_BINARY";

/// The default ports, on addresses of the test's own.
const METRICS_PORT: u16 = 19747;
const ADMIN_PORT: u16 = 19748;
const GRPC_PORT: u16 = 19749;
/// The agent's host part in its block of addresses; peers take others.
const AGENT_HOST: u8 = 1;

/// The agent's region in every test.
pub const REGION: &str = "eu";

/// The program under test.
///
/// # Panics
/// It was not built.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
        return path.into();
    }
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("find this test's program: {error}"));
    // target/PROFILE/deps/TEST → target/PROFILE/insight-agent
    let path = test.parent().and_then(Path::parent).map(|folder| folder.join("insight-agent"));
    match path {
        Some(path) if path.exists() => path,
        path => panic!(
            "{} is missing: run `cargo build --workspace` first, or set {BINARY_VARIABLE}",
            path.unwrap_or_default().display()
        ),
    }
}

// ---- a place to test in ---------------------------------------------------------------------

/// A fresh folder and a block of addresses. Declare it before what runs in it: it shall be
/// dropped last.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    /// Addresses: number 1 is the agent's, the others are for peers.
    pub loopback: Loopback,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// A new one.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("create a folder: {error}"));
        Self { folder, loopback: Loopback::claim() }
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        path
    }

    /// Address of `/metrics`.
    pub fn metrics(&self) -> SocketAddr {
        self.loopback.at(AGENT_HOST, METRICS_PORT)
    }

    /// Address of the admin API.
    pub fn admin(&self) -> SocketAddr {
        self.loopback.at(AGENT_HOST, ADMIN_PORT)
    }

    /// Address of the gRPC receiver.
    pub fn grpc(&self) -> SocketAddr {
        self.loopback.at(AGENT_HOST, GRPC_PORT)
    }

    /// Runs the program with these arguments to its end, in the folder.
    ///
    /// # Panics
    /// It does not end within [`PATIENCE`]; it is killed then.
    pub fn execute(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path());
        execute(command, &arguments.join(" "), &self.path("stdout"), &self.path("stderr"))
    }

    /// Starts `insight-agent run` with this configuration and waits until it is ready.
    pub fn start(&self, config: &Config) -> Agent {
        self.until_ready(self.launch(config))
    }

    /// The same through another program, such as `unshare`, which runs the command that follows its
    /// own arguments.
    pub fn start_through(&self, mut command: Command, config: &Config) -> Agent {
        command.arg(binary());
        self.until_ready(self.spawn(command, config))
    }

    /// The same with a command that has its program already.
    pub fn start_program(&self, command: Command, config: &Config) -> Agent {
        self.until_ready(self.spawn(command, config))
    }

    fn until_ready(&self, mut agent: Agent) -> Agent {
        wait_until("/-/ready", PATIENCE, || {
            if let Some(status) = agent.process.ended() {
                panic!("the agent ended at its start: {status}: {}", agent.log());
            }
            // With basic auth a 401 says as much: the listener works.
            match http::get(agent.metrics, "/-/ready", &[]) {
                Ok(answer) if matches!(answer.status, 200 | 401) => Ok(()),
                Ok(answer) => Err(format!("{} {}", answer.status, answer.body)),
                Err(error) => Err(error.to_string()),
            }
        });
        agent
    }

    /// The same without waiting: for agents that shall not become ready.
    pub fn launch(&self, config: &Config) -> Agent {
        self.spawn(Command::new(binary()), config)
    }

    fn spawn(&self, mut command: Command, config: &Config) -> Agent {
        let file = self.write("insight.toml", &config.render(self));
        command.arg("run").arg("--config").arg(file).current_dir(self.folder.path());
        Agent {
            process: Process::start("insight-agent", command, &self.path("agent.log")),
            metrics: self.metrics(),
            admin: self.admin(),
        }
    }
}

/// How a program that runs to its end did so.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; negative: the signal that killed it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs any program to its end, output into files so that a full pipe cannot hold it.
///
/// # Panics
/// It cannot be started, or does not end within [`PATIENCE`]; it is killed then.
pub fn execute(mut command: Command, name: &str, stdout: &Path, stderr: &Path) -> Finished {
    use std::os::unix::process::ExitStatusExt;
    let create = |path: &Path| {
        std::fs::File::create(path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()))
    };
    let start = Instant::now();
    command.stdin(Stdio::null()).stdout(create(stdout)).stderr(create(stderr));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("run {command:?}: {error}"));
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            other => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{name} did not end within {PATIENCE:?} ({other:?})");
            }
        }
    };
    let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    Finished {
        code: status.code().unwrap_or_else(|| -status.signal().unwrap_or_default()),
        stdout: read(stdout),
        stderr: read(stderr),
        took: start.elapsed(),
    }
}

// ---- a configuration ------------------------------------------------------------------------

/// A configuration with the listeners on the site's addresses and windows of one second.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Empty: `eu-1`.
    name: String,
    agent: String,
    metrics: String,
    admin: String,
    grpc: String,
    rest: String,
}

impl Config {
    /// Without probes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of an agent that is not called `eu-1`.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// More lines for `[agent]`.
    pub fn agent(mut self, lines: &str) -> Self {
        self.agent += &format!("{lines}\n");
        self
    }

    /// More lines for `[metrics]`.
    pub fn metrics(mut self, lines: &str) -> Self {
        self.metrics += &format!("{lines}\n");
        self
    }

    /// More lines for `[admin]`.
    pub fn admin(mut self, lines: &str) -> Self {
        self.admin += &format!("{lines}\n");
        self
    }

    /// More lines for `[grpc]`.
    pub fn grpc(mut self, lines: &str) -> Self {
        self.grpc += &format!("{lines}\n");
        self
    }

    /// More tables, such as routes.
    pub fn tables(mut self, text: &str) -> Self {
        self.rest += &format!("{text}\n");
        self
    }

    /// A direct black-box probe: reused connections, a sample each 50 ms, a deadline of 500 ms
    /// with as much drain. `lines` are further keys; `address` may be a name.
    pub fn probe(self, name: &str, target: &str, address: &str, lines: &str) -> Self {
        self.probe_of("black-box", name, target, address, lines)
    }

    /// The same for an Insight receiver.
    pub fn white_box(self, name: &str, target: &str, address: &str, lines: &str) -> Self {
        self.probe_of("white-box", name, target, address, lines)
    }

    fn probe_of(self, mode: &str, name: &str, target: &str, address: &str, lines: &str) -> Self {
        let mut table = format!(
            "[[probe]]\nname = \"{name}\"\ntarget = \"{target}\"\naddress = \"{address}\"\nmode = \"{mode}\"\n"
        );
        let defaults = [
            ("interval", "\"50ms\""),
            ("deadline", "\"500ms\""),
            ("drain", "\"500ms\""),
            ("connections", "[\"reused\"]"),
        ];
        for (key, value) in defaults {
            if !lines.lines().any(|line| line.split('=').next().map(str::trim) == Some(key)) {
                let _ = writeln!(table, "{key} = {value}");
            }
        }
        self.tables(&(table + lines))
    }

    /// With another text in place of one in its further tables.
    pub fn edited(mut self, from: &str, to: &str) -> Self {
        self.rest = self.rest.replace(from, to);
        self
    }

    /// The file's text.
    pub fn render(&self, site: &Site) -> String {
        let name = if self.name.is_empty() { "eu-1" } else { &self.name };
        let mut text = format!("[agent]\nregion = \"{REGION}\"\nname = \"{name}\"\n{}", self.agent);
        for (table, lines, listen) in [
            ("metrics", &self.metrics, site.metrics()),
            ("admin", &self.admin, site.admin()),
            ("grpc", &self.grpc, site.grpc()),
        ] {
            let _ = writeln!(text, "[{table}]");
            if !lines.contains("listen") {
                let _ = writeln!(text, "listen = \"{listen}\"");
            }
            text += lines;
        }
        // Tests share their cores with each other: a starved prober is no finding here, and what
        // it measured counts.
        text += "[probing]\nwindow = \"1s\"\nvoid_share = 1.0\n";
        // Agents without a scope would each measure this whole machine.
        if !self.rest.contains("[kernel]") {
            text += "[kernel]\nenabled = false\n";
        }
        text + &self.rest
    }
}

// ---- the running agent ----------------------------------------------------------------------

/// A running agent; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    /// The process.
    pub process: Process,
    metrics: SocketAddr,
    admin: SocketAddr,
}

impl Agent {
    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The text of `/metrics`.
    ///
    /// # Panics
    /// No answer, or another status than 200: the page shall be there whatever goes wrong.
    pub fn metrics_text(&self) -> String {
        let answer = http::get(self.metrics, "/metrics", &[]);
        let answer = answer.unwrap_or_else(|error| panic!("scrape {}: {error}", self.metrics));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// A scrape.
    ///
    /// # Panics
    /// As [`Agent::metrics_text`], or the text is no exposition.
    pub fn scrape(&self) -> Exposition {
        let text = self.metrics_text();
        Exposition::parse(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
    }

    /// A page of the admin API.
    ///
    /// # Panics
    /// No answer.
    pub fn admin(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let answer = http::get(self.admin, path, headers);
        answer.unwrap_or_else(|error| panic!("GET {path} from {}: {error}", self.admin))
    }

    /// `/api/v1/status`.
    ///
    /// # Panics
    /// No answer, or no JSON.
    pub fn status(&self) -> serde_json::Value {
        let answer = self.admin("/api/v1/status", &[]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {}", answer.body))
    }

    /// What the status says of a probe (on its first kind of connection).
    ///
    /// # Panics
    /// It has no such probe, which is so until the first window has ended.
    pub fn probe_status(&self, probe: &str) -> serde_json::Value {
        wait_until(&format!("probe {probe} in the status"), PATIENCE, || {
            let status = self.status();
            let found = status["probes"].as_array().and_then(|all| all.iter().find(|p| p["probe"] == probe));
            found.cloned().ok_or_else(|| status.to_string())
        })
    }

    /// Scrapes until `look` finds what it looks for.
    ///
    /// # Panics
    /// It never does within [`PATIENCE`]; the message has the series that name a probe or a loss.
    pub fn wait_for<T>(&self, what: &str, look: impl Fn(&Exposition) -> Option<T>) -> T {
        wait_until(what, PATIENCE, || {
            let text = self.metrics_text();
            let exposition = Exposition::parse(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
            look(&exposition).ok_or_else(|| telling(&text))
        })
    }

    /// SIGTERM, and the end. Returns the exit code and how long it took to come.
    ///
    /// # Panics
    /// It does not end, or not with an exit code.
    pub fn stop(&mut self) -> (i32, Duration) {
        let (status, took) = self.process.stop(Signal::SIGTERM, PATIENCE);
        let code = status.code().unwrap_or_else(|| panic!("the agent was killed: {status}"));
        (code, took)
    }
}

/// The lines of an exposition that tell how probes fare.
fn telling(text: &str) -> String {
    let told = ["insight_probe_results", "insight_probe_failures", "insight_lost", "cross_region"];
    let lines = text.lines().filter(|line| told.iter().any(|start| line.starts_with(start)));
    format!("\n{}", lines.collect::<Vec<_>>().join("\n"))
}
