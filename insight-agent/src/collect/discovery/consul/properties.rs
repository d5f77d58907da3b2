//! Whatever a server sends: no panic, and nothing in a roster that the plan does not count.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn plan() -> ConsulPlan {
    ConsulPlan {
        host: "127.0.0.1".into(),
        port: 8500,
        tls: None,
        token_file: None,
        datacenter: None,
        namespace: None,
        services: vec![],
        tags: vec!["grpc".into()],
        passing_only: true,
        wait: Duration::from_secs(1),
        stale: false,
    }
}

/// One instance as Consul would write it, with figures and words that it would not.
fn instance() -> impl Strategy<Value = serde_json::Value> {
    let tags = prop::collection::vec(prop_oneof![Just("grpc".to_owned()), "\\PC{0,5}"], 0..3);
    let status = prop_oneof![Just("passing"), Just("warning"), Just("critical"), Just("")];
    let statuses = prop::collection::vec(status, 0..3);
    ("\\PC{0,8}", "\\PC{0,8}", tags, any::<i32>(), statuses).prop_map(|(service, address, tags, port, statuses)| {
        let checks: Vec<_> = statuses.iter().map(|status| serde_json::json!({"Status": status})).collect();
        serde_json::json!({
            "Node": {"Node": "n", "Address": "10.0.0.1"},
            "Service": {"ID": "i", "Service": service, "Address": address, "Tags": tags, "Port": port % 70_000},
            "Checks": checks,
        })
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (parse_health(&bytes).is_ok(), parse_catalog(&bytes).is_ok());
    }

    #[test]
    fn only_what_the_plan_counts_becomes_an_endpoint(all in prop::collection::vec(instance(), 0..5)) {
        let text = serde_json::to_vec(&all).unwrap();
        for endpoint in endpoints(parse_health(&text).unwrap(), &plan()) {
            prop_assert!(endpoint.port > 0 && !endpoint.host.is_empty());
            prop_assert_eq!(&endpoint.meta["consul.health"], "passing");
            prop_assert!(endpoint.meta.contains_key("consul.tag.grpc"));
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            prop_assert!(endpoint.name.chars().all(fits));
        }
    }

    #[test]
    fn a_torn_answer_is_an_error(all in prop::collection::vec(instance(), 1..3), share in 0.0..1.0f64) {
        let text = serde_json::to_vec(&all).unwrap();
        let cut = (text.len() as f64 * share) as usize;
        prop_assert!(parse_health(&text[..cut]).is_err());
    }
}
