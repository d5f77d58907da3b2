//! A condition of a template, any text: no panic, errors have a place in it, and a condition says something of
//! every endpoint.
#![no_main]

use insight_agent::config::discovery::filter::{Condition, Filter};
use insight_agent::model::discovery::Endpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Condition::parse(text) {
        Ok(condition) => {
            let name = text.to_owned();
            let meta = [("k".to_owned(), name.clone())].into();
            let filter = Filter::new(vec![condition.clone(), condition.clone()]);
            let endpoint = Endpoint { name, host: "h".to_owned(), port: 1, meta };
            assert_eq!(filter.passes(&endpoint), Filter::new(vec![condition]).passes(&endpoint));
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.at)),
    }
});
