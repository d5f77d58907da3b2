//! JSON for a message, and bytes of one, any input: no panic, and what is refused is refused with a place.
#![no_main]

use insight_agent::model::expect::Expectations;
use insight_agent::model::method::{DescriptorSet, Method, MethodError};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;

/// The agent's own services.
static SET: LazyLock<DescriptorSet> = LazyLock::new(|| {
    let bytes = include_bytes!("../../src/proto/insight.v1.fds").to_vec();
    DescriptorSet::parse(Path::new("insight.v1.fds"), bytes).expect("the committed set is complete")
});

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let expect = Expectations::default();
    match Method::new(SET.pool(), "/insight.v1.Probe/Measure", &text, &expect) {
        Ok(method) => {
            let _ = method.answer(bytes);
        }
        Err(MethodError::Request { misfit, .. }) => assert!(misfit.line >= 1),
        Err(other) => panic!("{other}"),
    }
    if let Ok(method) = Method::new(SET.pool(), "/insight.v1.Probe/Measure", "{}", &expect) {
        let _ = method.answer(bytes);
    }
});
