//! Whatever a server sends: no panic, and nothing in a roster that the plan does not count.

use super::tests::plan;
use super::*;
use proptest::prelude::*;

fn slice(name: &str) -> impl Strategy<Value = serde_json::Value> + use<> {
    let name = name.to_owned();
    let endpoint = (0u8..4, prop::option::of(any::<bool>()), prop::option::of(any::<bool>())).prop_map(
        |(last, ready, serving)| {
            serde_json::json!({
                "addresses": [format!("10.0.0.{last}")],
                "conditions": {"ready": ready, "serving": serving},
            })
        },
    );
    let port = (prop::option::of("[a-z]{0,3}"), prop::option::of(-1i64..70_000), prop::option::of("TCP|UDP"))
        .prop_map(
            |(name, port, protocol)| serde_json::json!({"name": name, "port": port, "protocol": protocol}),
        );
    (prop::collection::vec(endpoint, 0..5), prop::option::of(prop::collection::vec(port, 0..3))).prop_map(
        move |(endpoints, ports)| {
            serde_json::json!({
                "metadata": {"name": name, "namespace": "shop", "resourceVersion": "7",
                             "labels": {"kubernetes.io/service-name": "orders"}},
                "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
            })
        },
    )
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (parse_event(&bytes).is_ok(), parse_page(&bytes).is_ok());
    }

    #[test]
    fn only_ready_endpoints_with_a_tcp_port_count_and_each_once(a in slice("a"), b in slice("b")) {
        let mut slices = Slices::default();
        for object in [a, b] {
            let line = serde_json::json!({"type": "ADDED", "object": object}).to_string();
            let Event::Applied(slice) = parse_event(line.as_bytes()).unwrap() else { panic!("{line}") };
            slices.apply(*slice);
        }
        let found = slices.endpoints(&plan());
        let mut names: Vec<_> = found.iter().map(|endpoint| endpoint.name.clone()).collect();
        names.dedup();
        prop_assert_eq!(names.len(), found.len());
        for endpoint in found {
            prop_assert!(endpoint.port > 0);
            prop_assert_eq!(&endpoint.meta["kubernetes.ready"], "true");
        }
    }

    #[test]
    fn a_torn_line_is_an_error(object in slice("a"), share in 0.0..1.0f64) {
        let line = serde_json::json!({"type": "MODIFIED", "object": object}).to_string();
        let cut = (line.len() as f64 * share) as usize;
        prop_assert!(parse_event(&line.as_bytes()[..cut]).is_err());
    }
}
