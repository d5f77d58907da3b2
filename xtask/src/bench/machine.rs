//! Where a bench ran.

use anyhow::{Context, Result};
use std::path::Path;

/// What figures of two runs must have in common before they are compared.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Machine {
    /// `debug` or `release`.
    pub agent_build: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -m`.
    pub architecture: String,
    /// CPUs that may be used.
    pub cpus: usize,
    /// Load average over a minute when the bench began. **None**: unknown.
    pub load_average: Option<f64>,
}

impl Machine {
    /// This one, with the agent at `agent`.
    ///
    /// # Errors
    /// The kernel does not say its release, or the CPUs of this process cannot be counted.
    pub fn here(agent: &Path) -> Result<Self> {
        let uname = nix::sys::utsname::uname().context("ask for the kernel's release")?;
        let load_average = std::fs::read_to_string("/proc/loadavg").ok();
        Ok(Self {
            // Cargo names the folder after the profile.
            agent_build: folder_name(agent).unwrap_or("unknown").to_owned(),
            kernel_release: uname.release().to_string_lossy().into_owned(),
            architecture: uname.machine().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().context("count the CPUs")?.get(),
            load_average: load_average.and_then(|text| text.split(' ').next()?.parse().ok()),
        })
    }

    /// Kernel, CPUs and load, for people.
    pub fn text(&self) -> String {
        format!(
            "kernel {} {}, {} CPUs, load average {} at the start",
            self.kernel_release,
            self.architecture,
            self.cpus,
            self.load_average.map_or("unknown".into(), |load| format!("{load:.2}")),
        )
    }

    /// One for tests of reports.
    #[cfg(test)]
    pub fn example() -> Self {
        Self {
            agent_build: "debug".into(),
            kernel_release: "6.18".into(),
            architecture: "x86_64".into(),
            cpus: 2,
            load_average: Some(0.5),
        }
    }
}

fn folder_name(path: &Path) -> Option<&str> {
    path.parent()?.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_told_by_its_folder() {
        assert_eq!(folder_name(Path::new("/t/release/insight-agent")), Some("release"));
        assert_eq!(folder_name(Path::new("insight-agent")), None);
    }
}
