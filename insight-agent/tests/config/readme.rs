//! What the README tells newcomers to write is a configuration without a warning.

use insight_agent::config::Config;

const README: &str = include_str!("../../../README.md");

#[test]
fn the_readmes_configuration_is_usable_as_it_stands() {
    let block = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let text = block.expect("the README shows a configuration in TOML");
    let loaded = Config::parse(text, "README.md").unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.config.probes.len(), 2);
    let plans = loaded.config.probe_plans();
    let metadata = [("x-target-region", "sg"), ("x-target-service", "insight")];
    assert_eq!(plans[0].route.metadata, metadata.map(|(key, value)| (key.to_owned(), value.to_owned())));
}
