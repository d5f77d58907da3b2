//! A good configuration to break in one place, and what to assert about the errors.

use insight_agent::config::{Config, ConfigErrors};

/// A configuration without errors, to break in one place. Line 1 is `[agent]`.
pub const GOOD: &str = r#"[agent]
region = "eu"
name = "eu-1"
[[route]]
name = "eu-sg"
address = "127.0.0.1:50051"
hops = ["mediary-a", "mediary-b"]
[[probe]]
name = "sg"
target = "sg"
mode = "white-box"
route = "eu-sg"
[[probe]]
name = "direct"
target = "sg"
mode = "black-box"
address = "127.0.0.1:50052"
"#;

/// Lines of [`GOOD`] after which a case inserts its own.
pub const AGENT: usize = 3;
pub const ROUTE: usize = 7;
pub const WHITE: usize = 12;
pub const BLACK: usize = 17;

/// [`GOOD`] with lines inserted after one of its lines.
pub fn inserted(after: usize, lines: &str) -> String {
    let mut all: Vec<&str> = GOOD.lines().collect();
    all.insert(after, lines);
    all.join("\n")
}

/// [`GOOD`] with one of its lines replaced.
pub fn replaced(line: usize, by: &str) -> String {
    let mut all: Vec<&str> = GOOD.lines().collect();
    all[line - 1] = by;
    all.join("\n")
}

pub fn errors_of(text: &str) -> ConfigErrors {
    match Config::parse(text, "insight.toml") {
        Ok(_) => panic!("this was accepted:\n{text}"),
        Err(errors) => errors,
    }
}

/// Asserts that exactly one error is found: its start (`LINE: KEY = VALUE: what`) and a part of its advice.
#[track_caller]
pub fn one_error(text: &str, start: &str, advice: &str) {
    let errors = errors_of(text).to_string();
    let expected = format!("insight.toml:{start}");
    assert!(errors.starts_with(&expected), "expected {expected}\nfound {errors}\nin\n{text}");
    let told = errors.split_once("; ").map(|(_, advice)| advice).unwrap_or_default();
    assert!(told.contains(advice), "expected the advice {advice}\nfound {errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

pub fn warnings_of(text: &str) -> Vec<String> {
    Config::parse(text, "insight.toml").unwrap_or_else(|errors| panic!("{errors}")).warnings
}
