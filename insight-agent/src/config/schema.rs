//! Every key of the configuration with its kind, range and default, written once.
//!
//! Reading, checking ranges, rejecting unknown keys and filling defaults all follow these rows;
//! a test holds `deploy/insight.toml` against them, so the documentation cannot fall behind.

mod registries;

use super::settings::Ip;
use super::{duration, size};
use crate::model::discovery::ENDPOINTS_MOST;
use crate::model::plan::SLOTS_MOST;
use std::time::Duration;

/// One table of the configuration.
#[derive(Debug)]
pub struct Section {
    /// The table's path; empty for the top level. `NAME` stands for a name that the user chooses.
    pub path: &'static str,
    /// Its keys in the order of the documentation.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// What a value of it looks like.
    pub kind: Kind,
    /// What holds where the file does not state it.
    pub fallback: Fallback,
    /// A valid value in TOML, offered when a value has the wrong type.
    pub example: &'static str,
}

/// What holds where a key is not stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The key must be stated.
    Required,
    /// This value, in TOML.
    Value(&'static str),
    /// No fixed value; the text says what happens.
    Derived(&'static str),
}

/// What a value looks like, with its range (ends included).
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A string with a form of its own.
    Text,
    /// A string that must not be repeated in errors.
    Secret,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// true or false.
    Flag,
    /// A duration with its unit.
    Duration {
        /// Shortest.
        least: Duration,
        /// Longest.
        most: Duration,
    },
    /// A size with its unit, from 0 B.
    Size {
        /// Largest, in bytes.
        most: u64,
    },
    /// A whole number.
    Count {
        /// Smallest.
        least: u64,
        /// Largest.
        most: u64,
    },
    /// A number up to 1.
    Share {
        /// Whether it may be 0.
        zero: bool,
    },
    /// Any finite number.
    Number,
    /// A list of strings.
    List,
    /// A table whose keys the user chooses, with strings as values.
    Pairs,
    /// A table of its own.
    Table,
    /// A list of tables.
    Tables,
}

impl Kind {
    /// The range in words, as the documentation gives it. **None**: the kind has none.
    pub fn range(&self) -> Option<String> {
        match self {
            Self::Duration { least, most } => {
                Some(format!("{} to {}", duration::render(*least), duration::render(*most)))
            }
            Self::Size { most } => Some(format!("0B to {}", size::render(*most))),
            Self::Count { least, most } => Some(format!("{least} to {most}")),
            Self::Share { zero: true } => Some("0 to 1".into()),
            Self::Share { zero: false } => Some("above 0, up to 1".into()),
            Self::Choice(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                Some(quoted.join(" or "))
            }
            Self::Flag => Some("true or false".into()),
            Self::Number => Some("any number".into()),
            Self::Text | Self::Secret | Self::List | Self::Pairs | Self::Table | Self::Tables => None,
        }
    }

    /// What belongs here, for "expected …".
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Self::Text | Self::Secret | Self::Choice(_) => "a string",
            Self::Flag => "true or false",
            Self::Duration { .. } => "a duration in quotes",
            Self::Size { .. } => "a size in quotes",
            Self::Count { .. } => "a whole number",
            Self::Share { .. } | Self::Number => "a number",
            Self::List => "a list of strings",
            Self::Pairs | Self::Table => "a table",
            Self::Tables => "a list of tables",
        }
    }
}

use Fallback::{Derived, Required, Value};

const fn key(name: &'static str, kind: Kind, fallback: Fallback, example: &'static str) -> Key {
    Key { name, kind, fallback, example }
}

const fn duration(least_ms: u64, most_ms: u64) -> Kind {
    Kind::Duration { least: Duration::from_millis(least_ms), most: Duration::from_millis(most_ms) }
}

/// Largest payload anywhere: gRPC stacks refuse more by default long before, and a probe that
/// needs more measures bandwidth, not latency.
const PAYLOAD_MOST: u64 = 64 << 20;
/// Longest delay a receiver can be asked for, and longest drain: a minute of waiting holds a
/// stream; much more would let a few callers exhaust a receiver.
const MINUTE_MS: u64 = 60_000;
/// Longest deadline: beyond an hour it is no deadline, and times stay far from any overflow.
const HOUR_MS: u64 = 3_600_000;

/// A deadline of 0 would end every sample before it began.
const DEADLINE: Kind =
    Kind::Duration { least: Duration::from_nanos(1), most: Duration::from_millis(HOUR_MS) };

/// Connections of a listener. Fewer than 4 would be one scraper and a human; more than 16,384 would be tens of
/// MiB of buffers and a quarter of the files that the agent asks for.
const CONNECTIONS: Kind = Kind::Count { least: 4, most: 16_384 };

/// Most samples of one probe under way: each may hold a stream or a connection of the first hop.
pub(super) const IN_FLIGHT_MOST: u64 = 1024;

/// The method a black-box probe calls unless told otherwise.
pub const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// Every table with its keys.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "",
        keys: &[
            key("agent", Kind::Table, Required, ""),
            key("metrics", Kind::Table, Derived("all defaults"), ""),
            key("admin", Kind::Table, Derived("all defaults"), ""),
            key("grpc", Kind::Table, Derived("all defaults"), ""),
            key("probing", Kind::Table, Derived("all defaults"), ""),
            key("host", Kind::Table, Derived("all defaults"), ""),
            key("forwarder", Kind::Tables, Derived("no process is watched"), ""),
            key("kernel", Kind::Table, Derived("all defaults"), ""),
            key("discovery", Kind::Tables, Derived("nothing is looked up"), ""),
            key("node", Kind::Tables, Derived("no other agent is asked"), ""),
            key("route", Kind::Tables, Derived("no routes"), ""),
            key("probe", Kind::Tables, Derived("a pure receiver"), ""),
        ],
    },
    Section {
        path: "agent",
        keys: &[
            key("region", Kind::Text, Required, "\"eu\""),
            key("name", Kind::Text, Derived("the host name"), "\"eu-1\""),
            key("log", Kind::Text, Value("\"info\""), "\"info\""),
            key("log_format", Kind::Choice(&["text", "json"]), Value("\"text\""), "\"json\""),
            key("watch_config", Kind::Flag, Value("false"), "true"),
        ],
    },
    Section {
        path: "metrics",
        keys: &[
            key("listen", Kind::Text, Value("\"[::]:19747\""), "\"[::]:19747\""),
            key("web_config_file", Kind::Text, Derived("plain HTTP"), "\"web.yml\""),
            key("max_connections", CONNECTIONS, Value("1024"), "1024"),
            key("max_connections_per_peer", CONNECTIONS, Value("256"), "256"),
        ],
    },
    Section {
        path: "admin",
        keys: &[
            key("listen", Kind::Text, Value("\"127.0.0.1:19748\""), "\"127.0.0.1:19748\""),
            key("token_file", Kind::Text, Derived("no token"), "\"admin.token\""),
            key("insecure", Kind::Flag, Value("false"), "false"),
            key("max_connections", CONNECTIONS, Value("64"), "64"),
            key("max_connections_per_peer", CONNECTIONS, Value("64"), "64"),
        ],
    },
    Section {
        path: "grpc",
        keys: &[
            key("listen", Kind::Text, Value("\"127.0.0.1:19749\""), "\"[::]:19749\""),
            key("max_delay", duration(0, MINUTE_MS), Value("\"1s\""), "\"1s\""),
            key("max_payload", Kind::Size { most: PAYLOAD_MOST }, Value("\"4MiB\""), "\"4MiB\""),
            key("reflection", Kind::Flag, Value("true"), "true"),
            key("drill_delay_file", Kind::Text, Derived("no drill"), "\"/run/insight/drill-delay-ms\""),
            key("reports", Kind::Flag, Value("true"), "true"),
            key("token_file", Kind::Text, Derived("no token"), "\"report.token\""),
            key("insecure", Kind::Flag, Value("false"), "false"),
            key("max_connections", CONNECTIONS, Value("512"), "512"),
            key("max_connections_per_peer", CONNECTIONS, Value("512"), "512"),
            key("tls", Kind::Table, Derived("plaintext"), ""),
        ],
    },
    Section {
        path: "grpc.tls",
        keys: &[
            key("cert_file", Kind::Text, Required, "\"tls/server.pem\""),
            key("key_file", Kind::Text, Required, "\"tls/server.key\""),
            key("client_ca_file", Kind::Text, Derived("no client certificate asked for"), "\"tls/ca.pem\""),
        ],
    },
    Section {
        path: "probing",
        keys: &[
            key("window", duration(1_000, 300_000), Value("\"5s\""), "\"5s\""),
            key("jitter", Kind::Share { zero: true }, Value("0.1"), "0.1"),
            key("burst", Kind::Count { least: 0, most: 100 }, Value("10"), "10"),
            key("void_share", Kind::Share { zero: false }, Value("0.5"), "0.5"),
            key("max_in_flight", Kind::Count { least: 1, most: IN_FLIGHT_MOST }, Value("16"), "16"),
        ],
    },
    Section {
        path: "host",
        keys: &[
            key("enabled", Kind::Flag, Value("true"), "true"),
            key("node_metrics", Kind::Flag, Value("true"), "true"),
            key("period", duration(1_000, MINUTE_MS), Value("\"5s\""), "\"5s\""),
        ],
    },
    Section {
        path: "forwarder",
        keys: &[
            key("name", Kind::Text, Required, "\"nginx\""),
            key("process", Kind::Text, Derived("any"), "\"nginx\""),
            key("port", Kind::Count { least: 1, most: 65_535 }, Derived("any"), "443"),
            key("unit", Kind::Text, Derived("any"), "\"nginx.service\""),
            key("cgroup", Kind::Text, Derived("any"), "\"/sys/fs/cgroup/system.slice/nginx.service\""),
        ],
    },
    Section {
        path: "kernel",
        keys: &[
            key("enabled", Kind::Flag, Value("true"), "false"),
            key("reloadable", Kind::Flag, Value("false"), "true"),
            key("measurements", Kind::List, Value("[\"default\"]"), "[\"default\", \"-residence\"]"),
            key("scope_cgroup", Kind::Text, Derived("every cgroup"), "\"/sys/fs/cgroup/system.slice\""),
            key("scope_namespaces", Kind::List, Value("[]"), "[\"/proc/1/ns/net\"]"),
            key("devices", Kind::List, Value("[]"), "[\"eth0\"]"),
            key("skip_exchanges", Kind::Count { least: 0, most: 16 }, Value("1"), "2"),
            key("sample_one_in", Kind::Count { least: 1, most: 1_000 }, Value("1"), "10"),
            key("http2", Kind::Flag, Value("true"), "true"),
            key("peer", Kind::Tables, Derived("nobody is told apart"), ""),
        ],
    },
    Section {
        path: "kernel.peer",
        keys: &[
            key("name", Kind::Text, Required, "\"mediary-b\""),
            key("networks", Kind::List, Value("[]"), "[\"10.1.0.0/16\"]"),
            key("hosts", Kind::List, Value("[]"), "[\"gateway.sg.example\"]"),
            key("ports", Kind::List, Value("[]"), "[\"443\"]"),
        ],
    },
    Section {
        path: "discovery",
        keys: &[
            key("name", Kind::Text, Required, "\"receivers\""),
            key("keep_when_empty", Kind::Flag, Value("false"), "true"),
            key("file", Kind::Table, Derived("another kind"), ""),
            key("dns", Kind::Table, Derived("another kind"), ""),
            key("consul", Kind::Table, Derived("another kind"), ""),
            key("kubernetes", Kind::Table, Derived("another kind"), ""),
        ],
    },
    Section { path: "discovery.file", keys: &[key("paths", Kind::List, Required, "[\"targets/*.json\"]")] },
    Section {
        path: "discovery.dns",
        keys: &[
            key("names", Kind::List, Required, "[\"receivers.sg.example\"]"),
            key("type", Kind::Choice(&["A", "AAAA", "A+AAAA", "SRV"]), Value("\"A+AAAA\""), "\"SRV\""),
            key("port", Kind::Count { least: 1, most: 65_535 }, Derived("that of the SRV record"), "19749"),
            key("server", Kind::Text, Derived("those of /etc/resolv.conf"), "\"127.0.0.1:53\""),
            key("timeout", duration(100, MINUTE_MS), Value("\"5s\""), "\"5s\""),
            key("min_ttl", duration(100, HOUR_MS), Value("\"1s\""), "\"5s\""),
            key("max_ttl", duration(1_000, HOUR_MS), Value("\"5m\""), "\"1m\""),
        ],
    },
    registries::CONSUL,
    Section { path: "discovery.consul.tls", keys: TLS_KEYS },
    registries::KUBERNETES,
    Section { path: "discovery.kubernetes.tls", keys: TLS_KEYS },
    Section {
        path: "node",
        keys: &[
            key("name", Kind::Text, Required, "\"mediary-a\""),
            key("address", Kind::Text, Required, "\"mediary-a.example:19749\""),
            key("authority", Kind::Text, Derived("the address"), "\"mediary-a.example\""),
            key("token_file", Kind::Text, Derived("no token"), "\"report.token\""),
            key("tls", Kind::Table, Derived("plaintext"), ""),
            key("discovery", Kind::Text, Derived("one node"), "\"agents\""),
            key("where", Kind::List, Value("[]"), "[\"meta.region = sg\"]"),
        ],
    },
    Section { path: "node.tls", keys: TLS_KEYS },
    Section {
        path: "route",
        keys: &[
            key("name", Kind::Text, Required, "\"eu-sg\""),
            key("address", Kind::Text, Required, "\"mediary-a.example:50051\""),
            key("proxy", Kind::Secret, Derived("no proxy"), "\"http://proxy.example:3128\""),
            key("proxy_auth_file", Kind::Text, Derived("no password"), "\"proxy.auth\""),
            key("authority", Kind::Text, Derived("the address"), "\"mediary-a.example\""),
            key("origin", Kind::Text, Derived("agent.name"), "\"eu-1\""),
            key("hops", Kind::List, Value("[]"), "[\"mediary-a\", \"mediary-b\"]"),
            key("metadata", Kind::Pairs, Derived("none"), ""),
            key("report_token_file", Kind::Text, Derived("no token"), "\"report-sg.token\""),
            key("tls", Kind::Table, Derived("plaintext"), ""),
            key("envoy_hop", Kind::Text, Derived("the header is not read"), "\"mediary-a\""),
            key("kong_hop", Kind::Text, Derived("the headers are not read"), "\"mediary-a\""),
            key("server_timing", Kind::Table, Derived("the header is not read"), ""),
        ],
    },
    Section { path: "route.tls", keys: TLS_KEYS },
    Section {
        path: "route.server_timing.NAME",
        keys: &[
            key("hop", Kind::Text, Required, "\"mediary-a\""),
            key("figure", Kind::Choice(&["downstream", "upstream"]), Required, "\"downstream\""),
        ],
    },
    Section {
        path: "probe",
        keys: &[
            key("name", Kind::Text, Required, "\"sg\""),
            key("target", Kind::Text, Required, "\"sg\""),
            key("service", Kind::Text, Value("\"\""), "\"insight\""),
            key("route", Kind::Text, Derived("a direct probe"), "\"eu-sg\""),
            key("address", Kind::Text, Derived("the route's"), "\"receiver.example:19749\""),
            key("authority", Kind::Text, Derived("the address"), "\"receiver.example\""),
            key("tls", Kind::Table, Derived("plaintext"), ""),
            key("mode", Kind::Choice(&["white-box", "black-box", "link"]), Required, "\"white-box\""),
            key("to", Kind::Text, Derived("the route's first hop"), "\"mediary-a\""),
            key("from", Kind::Text, Derived("the route's origin, or agent.name"), "\"eu-1\""),
            key("request_bytes", Kind::Size { most: PAYLOAD_MOST }, Value("\"0B\""), "\"64KiB\""),
            key("response_bytes", Kind::Size { most: PAYLOAD_MOST }, Value("\"0B\""), "\"64KiB\""),
            key("delay", duration(0, MINUTE_MS), Value("\"0s\""), "\"10ms\""),
            key("method", Kind::Text, Value("\"/grpc.health.v1.Health/Check\""), "\"/pkg.Service/Method\""),
            key("request_base64", Kind::Secret, Value("\"\""), "\"CgNhYmM=\""),
            key("request_json", Kind::Secret, Derived("request_base64"), "'{\"id\": \"7\"}'"),
            key(
                "descriptor_set",
                Kind::Text,
                Derived("the service is asked, by reflection"),
                "\"orders.binpb\"",
            ),
            key("max_messages", Kind::Count { least: 1, most: 1_000_000 }, Value("1000"), "10"),
            key("health_watch", Kind::Flag, Value("false"), "true"),
            key("expect_status", Kind::List, Value("[\"OK\"]"), "[\"OK\", \"NOT_FOUND\"]"),
            key("expect", Kind::Tables, Derived("nothing else is expected"), ""),
            key("health_service", Kind::Text, Value("\"\""), "\"pkg.Service\""),
            key("interval", duration(10, HOUR_MS), Value("\"1s\""), "\"1s\""),
            key("deadline", DEADLINE, Value("\"5s\""), "\"5s\""),
            key("drain", duration(0, MINUTE_MS), Value("\"10s\""), "\"10s\""),
            key("connections", Kind::List, Value("[\"reused\", \"fresh\"]"), "[\"reused\", \"fresh\"]"),
            key("reused_connections", Kind::Count { least: 1, most: SLOTS_MOST as u64 }, Value("1"), "4"),
            key("ip", Kind::Choice(Ip::WORDS), Value("\"any\""), "\"both\""),
            key("ping", Kind::Flag, Value("true"), "true"),
            key("load_metrics", Kind::List, Value("[]"), "[\"queue_depth\"]"),
            key("discovery", Kind::Text, Derived("one probe"), "\"receivers\""),
            key("where", Kind::List, Value("[]"), "[\"meta.region = sg\"]"),
            key("max_probes", Kind::Count { least: 1, most: ENDPOINTS_MOST as u64 }, Value("1000"), "100"),
        ],
    },
    Section { path: "probe.tls", keys: TLS_KEYS },
    Section {
        path: "probe.expect",
        keys: &[
            key("field", Kind::Text, Derived("another subject"), "\"items[0].name\""),
            key("header", Kind::Text, Derived("another subject"), "\"x-served-by\""),
            key("trailer", Kind::Text, Derived("another subject"), "\"x-region\""),
            key("equals", Kind::Secret, Derived("any value"), "\"sg\""),
            key("matches", Kind::Secret, Derived("any value"), "'^sg-[0-9]+$'"),
            key("exists", Kind::Flag, Value("true"), "false"),
            key("min", Kind::Number, Derived("no bound"), "1"),
            key("max", Kind::Number, Derived("no bound"), "100"),
        ],
    },
];

const TLS_KEYS: &[Key] = &[
    key("ca_file", Kind::Text, Derived("the system's authorities"), "\"tls/ca.pem\""),
    key("server_name", Kind::Text, Derived("the address's host"), "\"mediary-a.example\""),
    key("cert_file", Kind::Text, Derived("no client certificate"), "\"tls/client.pem\""),
    key("key_file", Kind::Text, Derived("no client certificate"), "\"tls/client.key\""),
];

/// A table's rows. **None**: no such table.
pub(super) fn section(path: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.path == path)
}

/// How the header of a table is written, such as `[admin]` or `[[probe]]`.
pub fn header(path: &str) -> String {
    let listed =
        ["forwarder", "discovery", "node", "route", "probe", "probe.expect", "kernel.peer"].contains(&path);
    if listed { format!("[[{path}]]") } else { format!("[{path}]") }
}

/// What to write in place of a key that earlier versions had. **None**: none had it.
pub(super) fn successor(path: &str, key: &str) -> Option<&'static str> {
    match (path, key) {
        ("kernel", "forwarders") => Some(
            "write a [[forwarder]] table for each of its names, such as [[forwarder]] with name = \"nginx\" and process = \"nginx\"",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::de::DeValue;

    #[test]
    fn every_default_and_example_is_toml() {
        for section in SECTIONS {
            for key in section.keys {
                if let Value(text) = key.fallback {
                    assert!(DeValue::parse(text).is_ok(), "{}.{}: {text}", section.path, key.name);
                }
                if !key.example.is_empty() {
                    assert!(DeValue::parse(key.example).is_ok(), "{}.{}", section.path, key.name);
                }
            }
        }
    }

    #[test]
    fn every_table_key_has_its_section() {
        for parent in SECTIONS {
            for key in parent.keys.iter().filter(|key| matches!(key.kind, Kind::Table | Kind::Tables)) {
                let path = if parent.path.is_empty() {
                    key.name.into()
                } else {
                    format!("{}.{}", parent.path, key.name)
                };
                let named = format!("{path}.NAME");
                assert!(section(&path).or(section(&named)).is_some(), "{path}");
            }
        }
    }
}
