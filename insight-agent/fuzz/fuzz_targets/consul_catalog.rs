//! The services of a Consul catalog, any bytes: no panic, and what was read is read again as the same.
#![no_main]

use insight_agent::collect::discovery::consul::parse_catalog;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(catalog) = parse_catalog(data) else { return };
    let mut written = String::from("{");
    for (at, (name, tags)) in catalog.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        written.push_str(&format!("{comma}{}:{}", quoted(name), list(tags)));
    }
    written.push('}');
    assert_eq!(parse_catalog(written.as_bytes()).ok(), Some(catalog));
});

fn list(tags: &[String]) -> String {
    format!("[{}]", tags.iter().map(|tag| quoted(tag)).collect::<Vec<_>>().join(","))
}

/// A JSON string with every character written as a code.
fn quoted(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}
