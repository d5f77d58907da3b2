//! `deploy/insight.toml` is the documentation of every key: it must load as it is, load with every
//! setting switched on, and name every key of the schema with its default and range.

use super::calls;
use insight_agent::config::schema::{Fallback, SECTIONS, header};
use insight_agent::config::{Config, Loaded};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const EXAMPLE: &str = include_str!("../../../deploy/insight.toml");

/// What the example's comments name, relative to its folder.
const NAMED_FILES: [&str; 11] = [
    "web.yml",
    "admin.token",
    "report.token",
    "report-sg.token",
    "consul.token",
    "kubernetes.token",
    "tls/server.pem",
    "tls/server.key",
    "tls/ca.pem",
    "tls/client.pem",
    "tls/client.key",
];

/// A line of the example without the "#" that switches it off; `None` for comments in prose.
fn setting(line: &str) -> Option<&str> {
    let text = line.strip_prefix('#').unwrap_or(line);
    let is_setting = !text.is_empty() && !text.starts_with([' ', '#']);
    is_setting.then_some(text)
}

/// The example with every setting switched on.
fn switched_on() -> String {
    EXAMPLE.lines().map(|line| format!("{}\n", setting(line).unwrap_or(line))).collect()
}

/// A folder with a configuration and the files that the example names.
fn folder_with(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tls")).unwrap();
    for name in NAMED_FILES {
        let path = folder.path().join(name);
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(folder.path().join("orders.binpb"), calls::orders()).unwrap();
    fs::write(folder.path().join("insight.toml"), text).unwrap();
    folder
}

fn load(folder: &tempfile::TempDir) -> Loaded {
    Config::load(&folder.path().join("insight.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Section path → its settings with the comment above each.
fn documented() -> HashMap<String, Vec<(String, String)>> {
    let mut sections: HashMap<String, Vec<(String, String)>> = HashMap::new();
    let (mut path, mut comment) = (String::new(), String::new());
    let mut after_setting = false;
    for line in EXAMPLE.lines() {
        let Some(text) = setting(line) else {
            // A comment holds for all settings below it until the next one.
            if std::mem::take(&mut after_setting) {
                comment.clear();
            }
            comment.push_str(line.trim_start_matches("# "));
            comment.push(' ');
            continue;
        };
        after_setting = true;
        if text.starts_with('[') {
            path = text.trim_matches(['[', ']']).to_owned();
            // One table per metric: the first one documents the key and the tables' own keys.
            let key_path = path.trim_end_matches(".edge").to_owned();
            path = path.replace(".edge", ".NAME");
            let (parent, key) = key_path.rsplit_once('.').unwrap_or(("", &key_path));
            let entry = (key.to_owned(), comment.clone());
            sections.entry(parent.to_owned()).or_default().push(entry);
        } else if let Some((key, _)) = text.split_once(" = ") {
            sections.entry(path.clone()).or_default().push((key.to_owned(), comment.clone()));
        }
    }
    sections
}

#[test]
fn the_example_loads_without_warnings() {
    let loaded = Config::parse(EXAMPLE, "deploy/insight.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert!(loaded.config.probes.is_empty(), "what is installed must not probe example hosts");
}

#[test]
fn every_setting_of_the_example_can_be_switched_on() {
    let loaded = load(&folder_with(&switched_on()));
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.config.nodes.len(), 1);
    assert_eq!(loaded.config.routes.len(), 1);
    assert_eq!(loaded.config.probes.len(), 6);
    assert_eq!(loaded.config.probe_plans().len(), 6);
}

#[test]
fn every_key_of_the_schema_is_in_the_example() {
    let documented = documented();
    let mut missing = Vec::new();
    for section in SECTIONS {
        for key in section.keys {
            let mut entries = documented.get(section.path).into_iter().flatten();
            if !entries.any(|(name, _)| name == key.name) {
                missing.push(format!("{} {}", header(section.path), key.name));
            }
        }
    }
    assert!(missing.is_empty(), "not in deploy/insight.toml: {missing:?}");
}

#[test]
fn every_key_is_documented_with_its_default_and_range() {
    let documented = documented();
    let mut wrong = Vec::new();
    for section in SECTIONS.iter().filter(|section| !section.path.is_empty()) {
        for key in section.keys {
            let default = match key.fallback {
                Fallback::Required => "Default: none, it must be set".to_owned(),
                Fallback::Value(text) | Fallback::Derived(text) => format!("Default: {text}"),
            };
            let range = key.kind.range().map_or_else(String::new, |range| format!("Range: {range}"));
            let mut entries = documented.get(section.path).into_iter().flatten();
            let told = |comment: &str| comment.contains(&default) && comment.contains(&range);
            if !entries.any(|(name, comment)| name == key.name && told(comment)) {
                wrong.push(format!("{} {}: {default}. {range}", header(section.path), key.name));
            }
        }
    }
    assert!(wrong.is_empty(), "deploy/insight.toml should say: {wrong:#?}");
}

#[test]
fn settings_written_with_their_defaults_change_nothing() {
    let mut text = "[agent]\nregion = \"eu\"\nname = \"eu-1\"\n".to_owned();
    for path in ["metrics", "admin", "grpc", "probing", "host", "kernel"] {
        text.push_str(&format!("{}\n", header(path)));
        for key in SECTIONS.iter().filter(|section| section.path == path).flat_map(|section| section.keys) {
            if let Fallback::Value(value) = key.fallback {
                text.push_str(&format!("{} = {value}\n", key.name));
            }
        }
    }
    let written = Config::parse(&text, "written.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let bare = Config::parse("[agent]\nregion = \"eu\"\nname = \"eu-1\"\n", "bare.toml").unwrap();
    assert_eq!(format!("{:?}", written.config), format!("{:?}", bare.config));
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = folder_with(&switched_on());
    let config = load(&folder).config;
    assert_eq!(config.admin.token_file, Some(folder.path().join("admin.token")));
    assert_eq!(config.metrics.web_config_file, Some(folder.path().join("web.yml")));
}
