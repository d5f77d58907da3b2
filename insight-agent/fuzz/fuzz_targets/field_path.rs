//! A rule's path, any text: no panic, errors have a place in it, what is read is written as it reads, and it finds
//! something or nothing in any message.
#![no_main]

use insight_agent::model::field_path::FieldPath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match FieldPath::parse(text) {
        Ok(path) => {
            let written = path.to_string();
            assert_eq!(FieldPath::parse(&written).as_ref(), Ok(&path), "{written}");
            let message = serde_json::json!({ "items": [{ "name": "a" }], "labels": { "k": null } });
            let _ = path.find(&message);
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.at)),
    }
});
