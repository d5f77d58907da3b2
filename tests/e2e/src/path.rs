//! The lab's path as `/metrics` shows it: every segment of the white-box probe's ledger.

use crate::exposition::Exposition;
use crate::http;
use crate::wait::wait_until;
use insight_lab::{Forwarder, Lab, LabOptions};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The family of ledger entries.
pub const LEDGER: &str = "insight_path_ledger_seconds";
/// The white-box probe of every lab.
pub const PROBE: &str = "sg-insight";

/// How long a lab may take until its path is measured on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program of this workspace, built beside the running test.
///
/// # Panics
/// It was not built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has an executable");
    let folder = test.ancestors().nth(2).expect("tests run from target/PROFILE/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace` first", path.display());
    path
}

/// The right to disturb this machine's timing alone: two labs at once would be each other's load.
/// Given back when dropped, and by the system when its holder dies.
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits until no other test, of this process or another one, has the turn.
    ///
    /// # Panics
    /// The lock file cannot be used.
    pub fn wait() -> Self {
        let path = std::env::temp_dir().join("insight-e2e-turn.lock");
        let lock = File::create(&path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
        lock.lock().expect("wait for the turn");
        Self { _lock: lock }
    }
}

/// Two regions, and the turn that goes with them.
pub struct Regions {
    /// The lab.
    pub lab: Lab,
    _turn: Turn,
}

impl Regions {
    /// Starts a lab whose windows hold 20 samples, and waits until its path is measured.
    ///
    /// # Panics
    /// The lab does not start or is not measured in time.
    pub fn start(forwarder: Forwarder, background_rps: f64) -> Self {
        let turn = Turn::wait();
        let options = LabOptions {
            forwarder,
            background_rps,
            probe_interval: Duration::from_millis(50),
            ..LabOptions::new(program("insight-agent"), program("insight-lab"))
        };
        let lab = Lab::start(options).expect("start the lab");
        let regions = Self { lab, _turn: turn };
        regions.wait_for("every segment measured", |scrape| {
            let path = Path::of(scrape)?;
            path.segments.values().all(|seconds| *seconds < 5.0).then_some(())
        });
        regions
    }

    /// One scrape of the sender.
    pub fn scrape(&self) -> Exposition {
        scrape(self.lab.eu().metrics)
    }

    /// Waits until the sender's scrape shows what `look` looks for.
    ///
    /// # Panics
    /// It does not come in time.
    pub fn wait_for<T>(&self, what: &str, look: impl Fn(&Exposition) -> Option<T>) -> T {
        wait_until(what, PATIENCE, || {
            let scrape = self.scrape();
            look(&scrape).ok_or_else(|| format!("{:?}", Path::of(&scrape)))
        })
    }

    /// The path as it is now: medians of `windows` window means, so that one window in which the
    /// machine was busy elsewhere does not speak for all. The window under way and the one before
    /// it are left out: they may hold samples from before the call.
    pub fn measure(&self, windows: u32) -> Path {
        let window = self.scrape().value("insight_window_seconds", &[]).expect("the window's length");
        let window = Duration::from_secs_f64(window);
        std::thread::sleep(window * 2);
        let mut seen: Vec<Path> = Vec::new();
        for _ in 0..windows {
            std::thread::sleep(window);
            seen.push(self.wait_for("a measured window", Path::of));
        }
        Path::median(&seen)
    }
}

/// GETs `/metrics`.
///
/// # Panics
/// No good answer, or text that is no exposition.
pub fn scrape(address: SocketAddr) -> Exposition {
    let answer = http::get(address, "/metrics", &[]).expect("scrape");
    assert_eq!(answer.status, 200, "{}", answer.body);
    Exposition::parse(&answer.body).expect("an exposition")
}

/// Figures of one window, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// Every entry of the ledger with its mean, `unexplained` too.
    pub segments: BTreeMap<String, f64>,
    /// Mean end to end.
    pub end_to_end: f64,
    /// `cross_region_latency_ms`, in seconds.
    pub cross_region: f64,
}

impl Path {
    /// What a scrape shows. **None**: the last window had no ledger.
    pub fn of(scrape: &Exposition) -> Option<Self> {
        let labels = [("source", "eu"), ("target", "sg"), ("probe", PROBE), ("ledger", "probe")];
        let segments: BTreeMap<String, f64> = scrape
            .samples(LEDGER, &labels)
            .map(|sample| (sample.labels["segment"].clone(), sample.value))
            .collect();
        let end_to_end = scrape.value("insight_path_ledger_end_to_end_seconds", &labels)?;
        let cross_region = scrape.value("cross_region_latency_ms", &labels[..2])? / 1e3;
        // Nine entries and the rest: link, hop, link, hop, link, hop, link, service, transfer.
        (segments.len() == 10).then_some(Self { segments, end_to_end, cross_region })
    }

    /// The named entry.
    ///
    /// # Panics
    /// There is none.
    pub fn segment(&self, name: &str) -> f64 {
        *self.segments.get(name).unwrap_or_else(|| panic!("no segment {name} in {:?}", self.segments))
    }

    fn median(paths: &[Self]) -> Self {
        let middle = |value: &dyn Fn(&Self) -> f64| {
            let mut values: Vec<f64> = paths.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let names = paths[0].segments.keys();
        Self {
            segments: names.map(|name| (name.clone(), middle(&|path| path.segment(name)))).collect(),
            end_to_end: middle(&|path| path.end_to_end),
            cross_region: middle(&|path| path.cross_region),
        }
    }
}
