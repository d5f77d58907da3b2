//! One value of `grpc-server-stats-bin`, both as it stands in metadata and as the bytes within: no
//! panic, and times only within their range. With and without padding it says the same.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use insight_agent::collect::probe::hop_headers::server_stats::parse_server_stats;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    parse_server_stats(data);
    let parsed = parse_server_stats(STANDARD.encode(data).as_bytes());
    assert_eq!(parse_server_stats(STANDARD_NO_PAD.encode(data).as_bytes()), parsed);
    for figure in [parsed.stats.server, parsed.stats.load_balancer].into_iter().flatten() {
        assert!((0..=3_600_000_000_000).contains(&figure.ns));
    }
    assert!(!data.is_empty() || parsed.malformed);
});
