//! The root lab against itself: nodes apart, packets over the WAN, faults in one node's own CPU
//! time, and nothing left behind.
//!
//! Without root, or where namespaces cannot be made, every test prints `SKIP name: reason`.

#![expect(
    clippy::unwrap_used,
    reason = "a panic with the value is how a test reports what it did not expect"
)]

mod agents;
mod cleanup;
mod cpu;
mod path;
mod wan;

use insight_lab::skip::{SkipReason, skip};
use insight_lab::{Isolation, Lab, LabOptions, namespaces_available};
use std::path::Path;
use std::time::{Duration, Instant};

/// The program under test.
fn lab_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_insight-lab"))
}

/// Whether namespaces can be had; says so when not.
fn root_lab(test: &str) -> bool {
    match namespaces_available() {
        Ok(()) => true,
        Err(reason) => {
            skip(test, SkipReason::Missing(&format!("{reason} (run the tests as root, with iproute2)")));
            false
        }
    }
}

/// A lab in namespaces without agents.
fn options() -> LabOptions {
    let mut options = LabOptions::new("", lab_binary());
    options.start_agents = false;
    options.isolation = Isolation::Namespaces;
    options
}

fn start(options: LabOptions) -> Lab {
    Lab::start(options).unwrap()
}

/// Waits for something that takes milliseconds on an idle machine.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
