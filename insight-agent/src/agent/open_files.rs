//! Open files: how many may this process have, and how many connections is that for each listener?
//!
//! Every connection is a file. Listeners that fill the process's limit would take from the probes the
//! sockets that they need, and from each other: the limit is raised as far as it goes without privilege, and
//! the listeners share half of it at most.

use crate::config::{Config, Connections};
use crate::door::{Door, Limits};
use crate::publish::metrics::Doors;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::sync::Arc;

/// As many files as the agent ever asks for: more would only be slower to copy where something starts a
/// process. systemd's own soft limit is 1,024 with a hard one of 524,288.
const WANTED: u64 = 65_536;

/// Raises the soft limit on open files as far as the hard one allows; gives what holds now.
///
/// **Errors**: none: what cannot be read is taken for the usual soft limit.
pub(super) fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let wanted = WANTED.min(hard).max(soft);
    match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, soft, wanted, "raise the limit on open files failed; going on with what there is");
            soft
        }
    }
}

/// The listeners' doors, in the order metrics, admin, grpc.
pub(super) struct ListenerDoors(pub(super) [Arc<Door>; 3]);

impl ListenerDoors {
    /// Doors as the configuration has them, or smaller where `files` are too few for that.
    pub(super) fn new(config: &Config, files: u64) -> Self {
        let wanted = [config.metrics.connections, config.admin.connections, config.grpc.connections];
        let fitted = fit(wanted.map(|connections| connections.most), files);
        if fitted != wanted.map(|connections| connections.most) {
            let [metrics, admin, grpc] = fitted;
            tracing::warn!(
                files,
                metrics,
                admin,
                grpc,
                "the listeners take fewer connections than max_connections says: raise the limit on open files \
                 (LimitNOFILE= of the unit)"
            );
        }
        let door = |Connections { per_peer, .. }, most| Door::new(Limits::new(most, per_peer));
        let [metrics, admin, grpc] = wanted;
        Self([door(metrics, fitted[0]), door(admin, fitted[1]), door(grpc, fitted[2])])
    }

    /// For the exporter.
    pub(super) fn named(&self) -> Doors {
        crate::model::series::listener::LISTENERS.into_iter().zip(self.0.iter().cloned()).collect()
    }
}

/// The same parts of at most half of the files; at least 4 each.
fn fit(wanted: [usize; 3], files: u64) -> [usize; 3] {
    let sum: usize = wanted.iter().sum();
    let room = usize::try_from(files / 2).unwrap_or(usize::MAX);
    if sum <= room {
        return wanted;
    }
    wanted.map(|part| (part.saturating_mul(room) / sum).max(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_leave_half_of_the_files_to_the_rest() {
        assert_eq!(fit([256, 64, 512], 65_536), [256, 64, 512]);
        let small = fit([256, 64, 512], 1024);
        assert!(small.iter().sum::<usize>() <= 512 && small[2] > small[0], "{small:?}");
        assert_eq!(fit([256, 64, 512], 8), [4, 4, 4]);
    }
}
