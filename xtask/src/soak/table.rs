//! Counts what is in the agent's table of sockets, from outside.

use crate::bench::programs;
use anyhow::{Context, Result, bail};
use aya::maps::{Map, MapData, MapInfo, PerCpuArray};
use aya::programs::{ProgramError, loaded_programs};
use insight_common::kernel::layout::Table as Kept;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;

/// The map's name in the object: how many entries came, and how many went.
const ENTRIES: &str = "ENTRIES";

/// The table of sockets of one agent.
pub struct Table(PerCpuArray<MapData, u64>);

impl Table {
    /// That which the programs of the process `pid` use. Nothing is pinned for it: programs tell
    /// the ids of their maps.
    ///
    /// # Errors
    /// Not root, the process has no such map, or the map has another layout than this build.
    pub fn of(pid: u32) -> Result<Self> {
        let held = programs::held_by(pid)?;
        let mut maps = BTreeSet::new();
        for program in loaded_programs() {
            let program = match program {
                Ok(program) => program,
                // Unloaded between the list and the look at it.
                Err(ProgramError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => {
                    continue;
                }
                Err(error) => return Err(error).context("list the kernel's programs: needs root"),
            };
            if held.contains_key(&program.id()) {
                maps.extend(program.map_ids().context("ask a program for its maps")?.unwrap_or_default());
            }
        }
        for id in maps {
            let info = MapInfo::from_id(id).with_context(|| format!("ask for the map {id}"))?;
            if info.name_as_str() == Some(ENTRIES) {
                let map = MapData::from_id(id).with_context(|| format!("open the map {id}"))?;
                let map = PerCpuArray::try_from(Map::PerCpuArray(map));
                return Ok(Self(
                    map.with_context(|| format!("read the map {ENTRIES}: build the agent anew"))?,
                ));
            }
        }
        bail!("the programs of process {pid} use no map {ENTRIES}")
    }

    /// Entries now.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn entries(&self) -> Result<usize> {
        let count = |counter: u32| -> Result<u64> {
            let values = self.0.get(&counter, 0).with_context(|| format!("read the map {ENTRIES}"))?;
            Ok(values.iter().sum())
        };
        // Those that left first: more can have come than left, never the other way round.
        let left = count(Kept::Sockets.left())?;
        Ok(usize::try_from(count(Kept::Sockets.entered())? - left)?)
    }
}

/// TCP connections in the network namespace of the calling thread, without listeners and TIME_WAIT,
/// which have no entry. **Source**: `/proc/PID/task/TID/net/tcp` and `tcp6`.
///
/// # Errors
/// The list cannot be read.
pub fn open_sockets() -> Result<usize> {
    // Not /proc/net: that is the namespace of the process and not of the thread.
    let folder = std::path::Path::new("/proc/thread-self/net");
    let four = fs::read_to_string(folder.join("tcp")).context("read /proc/thread-self/net/tcp")?;
    // Not there where IPv6 is off.
    let six = fs::read_to_string(folder.join("tcp6")).unwrap_or_default();
    Ok(count_open(&four) + count_open(&six))
}

/// States that are none of a connection of its own: `SYN_RECV` of a request, `TIME_WAIT`, `LISTEN`.
const WITHOUT_ENTRY: [&str; 4] = ["03", "06", "0A", "0C"];

fn count_open(list: &str) -> usize {
    let states = list.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(3));
    states.filter(|state| !WITHOUT_ENTRY.contains(state)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_count_and_listeners_and_time_wait_do_not() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
            0: 010012C6:13BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n\
            1: 010012C6:13BB 020012C6:9C40 01 00000000:00000000 00:00000000 00000000     0\n\
            2: 010012C6:2711 030012C6:13BC 06 00000000:00000000 03:00000000 00000000     0\n\
            3: 010012C6:2712 030012C6:13BC 05 00000000:00000000 03:00000000 00000000     0\n";
        assert_eq!(count_open(list), 2);
    }
}
