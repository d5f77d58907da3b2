//! The names of everything that a run makes outside its folder.
//!
//! They tell the owner: process id and start time of the harness. A name whose owner is dead is
//! a leftover, wherever it is found; a name of another form is not ours.

use crate::harness::record::Identity;
use std::path::{Path, PathBuf};

/// What every name begins with.
const PREFIX: &str = "insight-lab-";
/// Where iproute2 keeps the names of network namespaces.
pub(super) const NETNS_FOLDER: &str = "/run/netns";

/// One run's name, for example `insight-lab-4711-98765-77`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunName {
    /// The harness.
    pub owner: Identity,
    /// The number that no other living run has; 0 for a trial.
    pub subnet: u8,
}

impl RunName {
    /// The name of the run's cgroups and of its devices' alias.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}-{}-{}", self.owner.pid, self.owner.start_ticks, self.subnet)
    }

    /// The run to which something of this name belongs: [`RunName::text`], alone or followed by
    /// `-` and a part's name. `None` for names that are not ours.
    pub fn of(name: &str) -> Option<RunName> {
        let mut parts = name.strip_prefix(PREFIX)?.splitn(4, '-');
        let pid = parts.next()?.parse().ok()?;
        let start_ticks = parts.next()?.parse().ok()?;
        let subnet = parts.next()?.parse().ok()?;
        Some(RunName { owner: Identity { pid, start_ticks }, subnet })
    }

    /// The network namespace of a node or a switch.
    pub fn netns(&self, part: &str) -> String {
        format!("{}-{part}", self.text())
    }

    /// The harness's end of a node's management link. Devices have 15 characters: the number of
    /// the run makes it unique, the alias tells the owner.
    pub fn device(&self, index: u8) -> String {
        format!("il{}-{index}", self.subnet)
    }
}

/// The file that stands for a network namespace.
pub(super) fn netns_path(name: &str) -> PathBuf {
    Path::new(NETNS_FOLDER).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunName = RunName { owner: Identity { pid: 12, start_ticks: 3456 }, subnet: 77 };

    #[test]
    fn a_name_tells_its_run_and_foreign_names_tell_none() {
        assert_eq!(RUN.netns("mediary-a"), "insight-lab-12-3456-77-mediary-a");
        for ours in [RUN.text(), RUN.netns("mediary-a")] {
            assert_eq!(RunName::of(&ours), Some(RUN), "{ours}");
        }
        for other in
            ["mediary-a", "insight-lab-", "insight-lab-12-3456", "insight-lab-12-x-77", "insight-lab-1-2-300"]
        {
            assert_eq!(RunName::of(other), None, "{other}");
        }
    }

    #[test]
    fn the_longest_device_name_fits_the_kernel() {
        assert!(RunName { subnet: 255, ..RUN }.device(255).len() <= 15);
    }
}
