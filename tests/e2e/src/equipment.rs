//! Real programs that `cargo xtask setup` installs, or a loud skip where it did not run.

use insight_lab::skip::{SkipReason, skip};
use std::path::{Path, PathBuf};

/// Programs that a test may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Python with grpcio, its health and its reflection packages.
    Python,
    /// An independent gRPC client for the command line.
    Grpcurl,
    /// A real forwarder.
    Nginx,
    /// Another real forwarder.
    Haproxy,
    /// A small real name server, of which names come and go with a file.
    Dnsmasq,
    /// A large one, which can also fail, refuse and be silent.
    Unbound,
    /// A proxy that gives tunnels.
    Tinyproxy,
    /// A forwarder that answers gRPC in gRPC's own words. Of the long tests alone.
    Envoy,
    /// The exporter whose figures ours are compared with.
    NodeExporter,
}

impl Program {
    /// Where setting up puts it.
    pub fn path(self) -> PathBuf {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        let environment = target.join("pyenv/bin");
        match self {
            Self::Python => environment.join("python"),
            Self::Grpcurl => environment.join("grpcurl"),
            Self::Nginx => "/usr/sbin/nginx".into(),
            Self::Haproxy => "/usr/sbin/haproxy".into(),
            Self::Dnsmasq => "/usr/sbin/dnsmasq".into(),
            Self::Unbound => "/usr/sbin/unbound".into(),
            Self::Tinyproxy => "/usr/bin/tinyproxy".into(),
            // The program itself stands behind this one, and keeps its process number.
            Self::Envoy => target.join("pyenv-long/bin/envoy"),
            Self::NodeExporter => "/usr/bin/prometheus-node-exporter".into(),
        }
    }
}

/// Whether all `programs` are here. False: the running test `name` was declared skipped, and
/// shall return.
pub fn has(name: &str, programs: &[Program]) -> bool {
    let missing: Vec<_> =
        programs.iter().map(|program| program.path()).filter(|path| !path.exists()).collect();
    for path in &missing {
        let command = if programs.contains(&Program::Envoy) { "test --long --setup" } else { "setup" };
        let reason = format!("{} is missing: run `cargo xtask {command}`", path.display());
        skip(name, SkipReason::Missing(&reason));
    }
    missing.is_empty()
}
