//! One load report, as text of any format and as the bytes of a binary one: no panic, only listed
//! metrics, each once, and no figure that a gauge could not show.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use insight_agent::collect::probe::hop_headers::orca::{ParsedLoad, parse_orca_binary, parse_orca_text};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static LISTED: LazyLock<Vec<String>> =
    LazyLock::new(|| ["queue", "utilization.disk", "request_cost.a"].map(str::to_owned).to_vec());

fuzz_target!(|data: &[u8]| {
    check(&parse_orca_text(data, &LISTED));
    for prefix in ["TEXT ", "JSON "] {
        check(&parse_orca_text(&[prefix.as_bytes(), data].concat(), &LISTED));
    }
    check(&parse_orca_binary(STANDARD.encode(data).as_bytes(), &LISTED));
});

fn check(parsed: &ParsedLoad) {
    let load = &parsed.load;
    let named = load.named.iter().map(|(_, figure)| *figure);
    for figure in load.ratios().into_iter().chain(load.rates()).flatten().chain(named) {
        assert!(figure.is_finite() && figure >= 0.0);
    }
    let mut listed = LISTED.iter();
    assert!(load.named.iter().all(|(name, _)| listed.any(|other| other == name)));
}
