//! One value of a Kong header, any bytes: no panic, a time only within its range, and with the
//! bound of a whole millisecond.
#![no_main]

use insight_agent::collect::probe::hop_headers::kong::parse_kong_latency;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(figure)) = parse_kong_latency(data) {
        assert!((0..=3_600_000_000_000).contains(&figure.ns) && figure.ns % 1_000_000 == 0);
        assert_eq!((figure.below_ns, figure.above_ns), (1_000_000, 1_000_000));
    }
});
