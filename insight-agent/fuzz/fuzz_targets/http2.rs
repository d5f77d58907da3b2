//! What a peer says on a connection, any bytes in any pieces: no panic, no more memory than its bound, and the
//! pieces make no difference.
#![no_main]

use insight_agent::collect::probe::http2::overhear;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((chunk, bytes)) = bytes.split_first() else { return };
    // Without its SETTINGS a peer is not listened to for long.
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let bytes = [&settings[..], bytes].concat();
    assert_eq!(overhear(&bytes, usize::from(*chunk)), overhear(&bytes, usize::MAX));
});
