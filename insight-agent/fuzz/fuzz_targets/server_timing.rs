//! One element of `Server-Timing`, any bytes: no panic, and a duration only within its range.
#![no_main]

use insight_agent::collect::probe::hop_headers::server_timing::parse_server_timing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (name, duration) = parse_server_timing(data);
    assert!(!name.contains(&b';'));
    if let Ok(Some(figure)) = duration {
        assert!((0..=3_600_000_000_000).contains(&figure.ns));
        assert_eq!(figure.below_ns, figure.above_ns);
    }
});
