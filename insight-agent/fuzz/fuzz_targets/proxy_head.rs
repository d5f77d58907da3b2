//! The head of a proxy's answer, any bytes: no panic, a head is within its bound, ends with an empty line, and
//! reads the same when nothing follows it.
#![no_main]

use insight_agent::collect::probe::proxy::head::{HEAD_MOST, parse_head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(head)) = parse_head(data) else { return };
    assert!(head.length <= HEAD_MOST.min(data.len()) && data[..head.length].ends_with(b"\n"));
    assert!((100..=999).contains(&head.code));
    assert!(!head.reason.chars().any(char::is_control));
    assert_eq!(parse_head(&data[..head.length]), Ok(Some(head.clone())));
    assert!(!matches!(parse_head(&data[..head.length - 1]), Ok(Some(_))));
});
