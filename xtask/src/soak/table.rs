//! What the agent says is in its table of sockets, and what the kernel lists beside it.

use anyhow::{Context, Result};
use std::fs;

/// The line of the page with the number of sockets in the table, which the agent counts by walking them.
const ENTRIES: &str = "insight_bpf_table_entries{table=\"sockets\"} ";

/// Sockets in the agent's table, by its page of metrics.
///
/// # Errors
/// The page does not say: the kernel does not let the agent walk its table, or nothing is loaded.
pub fn entries(page: &str) -> Result<usize> {
    let value = page.lines().find_map(|line| line.strip_prefix(ENTRIES));
    let value = value.with_context(|| format!("read {ENTRIES}off the agent's page: it is not there"))?;
    let value: f64 = value.trim().parse().with_context(|| format!("read {ENTRIES}{value}"))?;
    Ok(value as usize)
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
    fn the_page_says_how_many_sockets_are_in_the_table_or_nothing() {
        let page = "insight_bpf_table_entries{table=\"sampled\"} 7\n\
                    insight_bpf_table_entries{table=\"sockets\"} 1234\nup 1\n";
        assert_eq!(entries(page).unwrap(), 1_234);
        assert!(entries("up 1\n").unwrap_err().to_string().contains("not there"));
    }

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
