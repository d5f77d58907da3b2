//! Lists and watches of endpoint slices, any bytes: no panic, each endpoint once, and none that is not ready.
#![no_main]

use insight_agent::collect::discovery::kubernetes::{Event, Slices, parse_event, parse_page};
use insight_agent::model::discovery::kubernetes::KubernetesPlan;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::sync::LazyLock;

static PLAN: LazyLock<KubernetesPlan> = LazyLock::new(|| KubernetesPlan {
    host: "127.0.0.1".into(),
    port: 6443,
    tls: None,
    token_file: None,
    namespaces: vec![],
    services: vec![],
    label_selector: None,
    endpoint_port: None,
    ready_only: true,
});

fuzz_target!(|data: &[u8]| {
    let mut slices = Slices::default();
    if let Ok(page) = parse_page(data) {
        page.slices.into_iter().for_each(|slice| slices.apply(slice));
    }
    for line in data.split(|byte| *byte == b'\n') {
        match parse_event(line) {
            Ok(Event::Applied(slice)) => slices.apply(*slice),
            Ok(Event::Deleted(slice)) => slices.delete(&slice),
            Ok(Event::Bookmark { .. } | Event::Error(_)) | Err(_) => {}
        }
    }
    let mut names = BTreeSet::new();
    for endpoint in slices.endpoints(&PLAN) {
        assert!(endpoint.port > 0 && !endpoint.host.is_empty());
        assert_eq!(endpoint.meta["kubernetes.ready"], "true");
        assert!(names.insert(endpoint.name));
    }
});
