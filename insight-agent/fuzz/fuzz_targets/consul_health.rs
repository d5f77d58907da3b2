//! Instances of a service as Consul tells them, any bytes: no panic, and only what the plan counts becomes an endpoint.
#![no_main]

use insight_agent::collect::discovery::consul::{endpoints, parse_health};
use insight_agent::model::discovery::consul::ConsulPlan;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::time::Duration;

static PLAN: LazyLock<ConsulPlan> = LazyLock::new(|| ConsulPlan {
    host: "127.0.0.1".into(),
    port: 8500,
    tls: None,
    token_file: None,
    datacenter: None,
    namespace: None,
    services: vec![],
    tags: vec![],
    passing_only: true,
    wait: Duration::from_secs(1),
    stale: false,
});

fuzz_target!(|data: &[u8]| {
    let Ok(instances) = parse_health(data) else { return };
    for endpoint in endpoints(instances, &PLAN) {
        assert!(endpoint.port > 0 && !endpoint.name.is_empty());
        assert_eq!(endpoint.meta["consul.health"], "passing");
        assert!(endpoint.name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)));
    }
});
