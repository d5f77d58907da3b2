//! The object that writes lines: `cargo test -p insight-agent --features kernel-log --test kernel lines`.

use crate::support::Bench;
use insight_common::kernel::loss::Measurement;
use insight_lab::skip::{SkipReason, skip};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Everything that was traced.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl Traced {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Traced {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Builds the object. False: this machine lacks its toolchain, which a test does not install.
fn build(root: &Path) -> bool {
    // What the command that installs the toolchain puts there last.
    if !root.join("target/tools/bin/bpf-linker").exists() {
        return false;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["run", "--quiet", "--locked", "--package", "xtask", "--", "build-ebpf", "--kernel-log"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    true
}

#[test]
fn a_line_of_the_kernel_half_arrives_in_the_agents_log() {
    let name = "a_line_of_the_kernel_half_arrives_in_the_agents_log";
    if !build(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))) {
        let reason = "no toolchain for the kernel half: `cargo xtask build-ebpf` as root installs it";
        return skip(name, SkipReason::Missing(reason));
    }
    let traced = Traced::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(traced.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .finish();
    // For this thread, which is the one that reads the maps.
    let _guard = tracing::subscriber::set_default(subscriber);
    let Some(bench) = Bench::start(name, &[Measurement::ReceiveWait], |_| {}) else { return };
    let _ends = bench.connect();
    let deadline = Instant::now() + Duration::from_secs(10);
    let expected = [
        format!("DEBUG insight_agent::collect::kernel::lines: socket accepted on port {} from", bench.port),
        format!("DEBUG insight_agent::collect::kernel::lines: socket connected to port {} of", bench.port),
    ];
    while !expected.iter().all(|line| traced.text().contains(line)) {
        assert!(Instant::now() < deadline, "no {expected:?} in {}", traced.text());
        bench.snapshot();
        std::thread::sleep(Duration::from_millis(10));
    }
}
