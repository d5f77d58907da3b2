//! What memory a process has: its own, and what the kernel holds for its maps and programs.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;

/// Memory of one process. **Unit**: bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Memory {
    /// `VmRSS`: resident, shared libraries and mapped maps included.
    pub rss_bytes: u64,
    /// Its highest value so far, `VmHWM`.
    pub peak_rss_bytes: u64,
    /// `VmLck` and what the kernel holds for maps and programs.
    pub locked_bytes: u64,
    /// What the kernel holds for the maps, by `memlock` of their descriptors.
    pub map_bytes: u64,
    /// The same for the programs.
    pub program_bytes: u64,
}

impl Memory {
    /// Of the process `pid`.
    ///
    /// # Errors
    /// It has ended, or belongs to somebody else.
    pub fn read(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let folder = format!("/proc/{pid}/fdinfo");
        let entries = fs::read_dir(&folder).with_context(|| format!("list {folder}"))?;
        // A descriptor that is closed meanwhile is none.
        let held: Vec<String> =
            entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect();
        Self::parse(&status, held.iter().map(String::as_str))
            .with_context(|| format!("read VmRSS, VmHWM and VmLck in {path}"))
    }

    fn parse<'a>(status: &str, descriptors: impl Iterator<Item = &'a str>) -> Option<Self> {
        let kib = |key: &str| -> Option<u64> { field(status, key)?.strip_suffix(" kB")?.parse().ok() };
        let (mut maps, mut programs) = (BTreeMap::new(), BTreeMap::new());
        for text in descriptors {
            let Some(bytes) = field(text, "memlock").and_then(|bytes| bytes.parse::<u64>().ok()) else {
                continue;
            };
            // By id: several descriptors may be of one map.
            if let Some(id) = field(text, "map_id") {
                maps.insert(id, bytes);
            } else if let Some(id) = field(text, "prog_id") {
                programs.insert(id, bytes);
            }
        }
        let (map_bytes, program_bytes) = (maps.values().sum(), programs.values().sum());
        Some(Self {
            rss_bytes: kib("VmRSS")? * 1024,
            peak_rss_bytes: kib("VmHWM")? * 1024,
            locked_bytes: kib("VmLck")? * 1024 + map_bytes + program_bytes,
            map_bytes,
            program_bytes,
        })
    }
}

/// The value behind `key` and a colon.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str =
        "Name:\tinsight-agent\nVmLck:\t       4 kB\nVmHWM:\t   22000 kB\nVmRSS:\t   20000 kB\n";

    #[test]
    fn a_map_with_two_descriptors_counts_once_and_a_link_to_a_program_not_at_all() {
        let descriptors = [
            "pos:\t0\nmap_type:\t2\nmemlock:\t8192\nmap_id:\t7\n",
            "pos:\t0\nmap_type:\t2\nmemlock:\t8192\nmap_id:\t7\n",
            "pos:\t0\nmap_type:\t1\nmemlock:\t4096\nmap_id:\t8\n",
            "pos:\t0\nprog_type:\t26\nmemlock:\t16384\nprog_id:\t7\n",
            "pos:\t0\nlink_type:\ttracing\nlink_id:\t3\nprog_id:\t7\n",
            "pos:\t0\nflags:\t02\n",
        ];
        let memory = Memory::parse(STATUS, descriptors.into_iter()).unwrap();
        assert_eq!((memory.map_bytes, memory.program_bytes), (12_288, 16_384));
        assert_eq!(memory.locked_bytes, 4096 + 12_288 + 16_384);
        assert_eq!((memory.rss_bytes, memory.peak_rss_bytes), (20_480_000, 22_528_000));
    }

    #[test]
    fn a_kernel_thread_has_no_such_memory() {
        assert_eq!(Memory::parse("Name:\tkthreadd\n", [].into_iter()), None);
    }

    #[test]
    fn this_process_has_memory_and_no_maps() {
        let memory = Memory::read(std::process::id()).unwrap();
        assert!(memory.rss_bytes > 0 && memory.peak_rss_bytes >= memory.rss_bytes, "{memory:?}");
        assert_eq!(memory.map_bytes, 0);
    }
}
