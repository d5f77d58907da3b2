//! The result, as a table and as one JSON object.

use super::memory::Memory;
use crate::bench::machine::Machine;
use crate::bench::scrapes::Scrapes;
use serde::Serialize;

/// Everything that one run found out.
#[derive(Debug, Clone)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Held connections; both ends are on this host, so the table has twice as many entries.
    pub connections: u32,
    /// Peer groups, the one for everybody else included.
    pub peer_groups: u32,
    /// How long it was watched.
    pub seconds: u64,
    /// Share of one CPU, user and system time.
    pub cpu_share: f64,
    /// Memory when it had been watched.
    pub memory: Memory,
    /// Memory after the scrapes.
    pub scraped: Memory,
    /// What scrapes cost.
    pub scrapes: Scrapes,
}

#[derive(Serialize)]
struct Json<'a> {
    bench: &'static str,
    #[serde(flatten)]
    memory: &'a Memory,
    rss_after_scrapes_bytes: u64,
    cpu_share: f64,
    connections: u32,
    peer_groups: u32,
    seconds: u64,
    #[serde(flatten)]
    scrapes: &'a Scrapes,
    #[serde(flatten)]
    machine: &'a Machine,
}

impl Report {
    /// One JSON object, in one line.
    ///
    /// # Errors
    /// A figure is no number that JSON can hold.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Json {
            bench: "agent",
            memory: &self.memory,
            rss_after_scrapes_bytes: self.scraped.rss_bytes,
            cpu_share: self.cpu_share,
            connections: self.connections,
            peer_groups: self.peer_groups,
            seconds: self.seconds,
            scrapes: &self.scrapes,
            machine: &self.machine,
        })
    }

    /// The table.
    pub fn text(&self) -> String {
        let Memory { rss_bytes, peak_rss_bytes, locked_bytes, map_bytes, program_bytes } = self.memory;
        let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let text = format!(
            "idle agent ({} build), kernel half on, {} peer groups, {} connections without traffic\n{}\n\n\
             {:<30} {}, at most {}; after the scrapes {}\n\
             {:<30} {:.2} % of one CPU over {} s\n\
             {:<30} {}: maps {}, programs {}\n{}",
            self.machine.agent_build,
            self.peer_groups,
            self.connections,
            self.machine.text(),
            "resident",
            mb(rss_bytes),
            mb(peak_rss_bytes),
            mb(self.scraped.rss_bytes),
            "CPU, user and system",
            100.0 * self.cpu_share,
            self.seconds,
            "locked and held by the kernel",
            mb(locked_bytes),
            mb(map_bytes),
            mb(program_bytes),
            self.scrapes.text(),
        );
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let memory = Memory {
            rss_bytes: 21_000_000,
            peak_rss_bytes: 25_000_000,
            locked_bytes: 9_000_000,
            map_bytes: 8_900_000,
            program_bytes: 100_000,
        };
        Report {
            machine: Machine::example(),
            connections: 10_000,
            peer_groups: 64,
            seconds: 30,
            cpu_share: 0.0042,
            memory,
            scraped: Memory { rss_bytes: 22_000_000, ..memory },
            scrapes: Scrapes::example(),
        }
    }

    #[test]
    fn the_json_object_has_the_promised_keys() {
        let json: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        assert_eq!(json["rss_bytes"], 21_000_000);
        assert_eq!(json["cpu_share"], 0.0042);
        assert_eq!(json["locked_bytes"], 9_000_000);
        assert_eq!(json["map_bytes"], 8_900_000);
        assert_eq!(json["scrape_seconds"], 0.004);
        assert_eq!((&json["connections"], &json["peer_groups"]), (&10_000.into(), &64.into()));
        assert_eq!(json["agent_build"], "debug");
    }

    #[test]
    fn the_table_shows_the_memory_of_agent_maps_and_programs_apart() {
        let text = report().text();
        assert!(text.contains("21.0 MB, at most 25.0 MB; after the scrapes 22.0 MB"), "{text}");
        assert!(text.contains("0.42 % of one CPU over 30 s"), "{text}");
        assert!(text.contains("9.0 MB: maps 8.9 MB, programs 0.1 MB"), "{text}");
    }
}
