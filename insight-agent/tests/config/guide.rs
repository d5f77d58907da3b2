//! The examples of docs/discovery.md are configurations, and their files are read.

use insight_agent::collect::discovery::file::parse::{Format, parse};
use insight_agent::config::{Config, Rosters};
use std::sync::Arc;

const GUIDE: &str = include_str!("../../../docs/discovery.md");

/// The blocks in a language that hold a word.
fn blocks(language: &str, word: &str) -> Vec<&'static str> {
    let blocks = GUIDE.split(&*format!("```{language}\n")).skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).filter(|block| block.contains(word)).collect()
}

#[test]
fn every_configuration_of_the_guide_is_usable_as_it_stands() {
    let examples = blocks("toml", "[agent]");
    assert_eq!(examples.len(), 3);
    for text in examples {
        let loaded =
            Config::parse(text, "docs/discovery.md").unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!((loaded.config.discoveries.len(), loaded.config.probe_templates.len()), (1, 1));
    }
}

#[test]
fn the_files_of_the_guide_make_the_probes_of_its_first_example() {
    let own = blocks("toml", "[[endpoint]]");
    let groups = blocks("json", "targets");
    let config = Config::parse(blocks("toml", "[agent]")[0], "docs/discovery.md").unwrap().config;
    for (format, text, expected) in [
        (Format::Toml, own[0], &["sg-sg-1.example"][..]),
        (Format::Json, groups[0], &["sg-sg-1.example", "sg-sg-2.example"]),
    ] {
        let endpoints = parse(format, text.as_bytes()).unwrap();
        let rosters = Rosters::from([("receivers".to_owned(), Arc::new(endpoints))]);
        let made = config.expand(&rosters);
        let names: Vec<_> = made.config.probes.iter().map(|probe| probe.name.as_str()).collect();
        assert_eq!(names, expected, "{:?}", made.dropped);
    }
}
