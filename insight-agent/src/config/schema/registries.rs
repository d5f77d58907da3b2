//! The keys of registries that are watched: Consul and Kubernetes.

use super::{Derived, Kind, Section, Value, duration, key};

/// Longest wait of a blocking query that Consul grants.
const WAIT_MOST_MS: u64 = 600_000;

pub(super) const CONSUL: Section = Section {
    path: "discovery.consul",
    keys: &[
        key("address", Kind::Text, Value("\"127.0.0.1:8500\""), "\"127.0.0.1:8500\""),
        key("token_file", Kind::Text, Derived("no token"), "\"consul.token\""),
        key("datacenter", Kind::Text, Derived("the asked agent's"), "\"dc1\""),
        key("namespace", Kind::Text, Derived("the token's"), "\"default\""),
        key("services", Kind::List, Value("[]"), "[\"orders\"]"),
        key("tags", Kind::List, Value("[]"), "[\"grpc\"]"),
        key("passing_only", Kind::Flag, Value("true"), "false"),
        key("wait", duration(1_000, WAIT_MOST_MS), Value("\"5m\""), "\"1m\""),
        key("stale", Kind::Flag, Value("false"), "true"),
        key("tls", Kind::Table, Derived("plain HTTP"), ""),
    ],
};

pub(super) const KUBERNETES: Section = Section {
    path: "discovery.kubernetes",
    keys: &[
        key("address", Kind::Text, Derived("the cluster's own"), "\"10.96.0.1:443\""),
        key("token_file", Kind::Text, Derived("the service account's, or no token"), "\"kubernetes.token\""),
        key("namespaces", Kind::List, Value("[]"), "[\"shop\"]"),
        key("services", Kind::List, Value("[]"), "[\"orders\"]"),
        key("labels", Kind::Text, Derived("any"), "\"track=stable\""),
        key("port", Kind::Text, Derived("each TCP port"), "\"grpc\""),
        key("ready_only", Kind::Flag, Value("true"), "false"),
        key("tls", Kind::Table, Derived("the service account's, or plain HTTP"), ""),
    ],
};
