//! A file with endpoints, any bytes in any of the three languages: no panic, and every endpoint can be dialled.
#![no_main]

use insight_agent::collect::discovery::file::parse::{Format, parse};
use insight_agent::model::discovery::ENDPOINTS_MOST;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for format in [Format::Toml, Format::Json, Format::Yaml] {
        match parse(format, data) {
            Ok(endpoints) => {
                assert!(endpoints.len() <= ENDPOINTS_MOST);
                assert!(endpoints.iter().all(|one| one.port > 0 && !one.host.is_empty() && !one.name.is_empty()));
            }
            Err(error) => assert!(error.line != Some(0) && !error.what.is_empty()),
        }
    }
});
