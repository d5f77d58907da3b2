//! Who imports whom. What tests import is their own affair.

use super::{files_below, read, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each folder or file at the top of the agent, and what of ours it may import beside itself.
/// `agent` composes the daemon and `cli` starts it; `cli/probe` and `cli/doctor`
/// are two more, small compositions, each of one run on a terminal.
const MAY_IMPORT: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("clock", &[]),
    ("secret", &[]),
    ("door", &["model"]),
    ("proto", &["model"]),
    ("config", &["model"]),
    ("collect", &["model", "proto", "clock", "secret"]),
    ("correlate", &["model"]),
    ("publish", &["model", "secret", "door"]),
    ("serve", &["model", "proto", "clock", "secret", "door"]),
    (
        "agent",
        &["model", "clock", "secret", "door", "proto", "config", "collect", "correlate", "publish", "serve"],
    ),
    ("cli", &["agent", "collect", "config", "correlate", "model", "publish"]),
];

/// What the programs of `model` and `correlate` must not name: they are data and functions over it.
const IMPURE: [&str; 8] =
    ["std::fs", "std::net", "std::process", "std::thread", "tokio::", "aya::", "prometheus::", "SystemTime"];

/// One source file of the agent without its tests.
struct Source {
    /// Relative to the crate's `src`.
    path: PathBuf,
    /// Lines without those of comments and of an inline test module.
    lines: Vec<String>,
}

impl Source {
    /// The name of its folder at the top, or its own.
    fn place(&self) -> String {
        let first = self.path.iter().next().unwrap_or_default().to_string_lossy().into_owned();
        first.trim_end_matches(".rs").to_owned()
    }

    /// Modules between it and the crate's root, itself among them.
    fn depth(&self) -> usize {
        self.path.iter().count() - usize::from(self.path.ends_with("mod.rs"))
    }
}

/// Every source file of a crate that is not one of a test.
fn sources(crate_folder: &str) -> Vec<Source> {
    let folder = root().join(crate_folder).join("src");
    let all: BTreeMap<PathBuf, String> =
        files_below(&folder, "rs").into_iter().map(|path| (path.clone(), read(&path))).collect();
    let tests: BTreeSet<PathBuf> = all.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_test = |path: &Path| path.ancestors().any(|part| tests.contains(&part.with_extension("")));
    all.iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| Source {
            path: path.strip_prefix(&folder).expect("found below it").to_owned(),
            lines: production(text),
        })
        .collect()
}

/// The files, without their ending, of modules that are compiled for tests only.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = match path.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => path.parent().expect("a file has a folder").to_owned(),
        _ => path.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let named = declared.filter_map(|pair| pair[1].split_once("mod ")?.1.strip_suffix(';'));
    named.map(|name| folder.join(name)).collect()
}

/// The lines that are compiled into the program: an inline test module is the last of its file.
fn production(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let test = |at: &usize| lines[*at] == "#[cfg(test)]" && lines[at + 1].ends_with('{');
    let end = (0..lines.len().saturating_sub(1)).find(test).unwrap_or(lines.len());
    let code = lines[..end].iter().filter(|line| !line.trim_start().starts_with("//"));
    code.map(|line| (*line).to_owned()).collect()
}

/// The modules at the top of the crate that a line names, as `crate::x` or as `crate::{x, y}`.
fn imported(line: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        if line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.split(',').map(word).filter(|name| !name.is_empty())),
            None => found.push(word(rest)),
        }
    }
    found
}

#[test]
fn imports_follow_the_data_and_never_run_back() {
    let sources = sources("insight-agent");
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for source in &sources {
        let place = source.place();
        if ["lib", "main"].contains(&place.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == place) else {
            panic!("insight-agent/src/{place} has no row in MAY_IMPORT: decide what it may import");
        };
        seen.insert(place.clone());
        for line in &source.lines {
            let forbidden = |name: &String| *name != place && !allowed.contains(&name.as_str());
            if imported(line).iter().any(forbidden) {
                wrong.push(format!("{}: {}", source.path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against ARCHITECTURE.md, The house:\n{}", wrong.join("\n"));
    let rows: BTreeSet<String> = MAY_IMPORT.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(seen, rows, "a row of MAY_IMPORT that nothing belongs to");
}

#[test]
fn no_relative_path_leaves_its_folder() {
    for source in sources("insight-agent") {
        let too_far = "super::".repeat(source.depth());
        let line = source.lines.iter().find(|line| line.contains(&too_far));
        assert_eq!(line, None, "{}: write crate:: so that the import rules see it", source.path.display());
    }
}

#[test]
fn model_and_correlate_do_no_input_or_output() {
    for source in sources("insight-agent") {
        if !["model", "correlate"].contains(&source.place().as_str()) {
            continue;
        }
        for line in &source.lines {
            let named = IMPURE.iter().find(|name| line.contains(**name));
            assert_eq!(named, None, "{}: {}", source.path.display(), line.trim());
            // A function over what was measured is given the time, so that a test can choose it.
            let asks = source.place() == "correlate" && line.contains("::now()");
            assert!(!asks, "{}: {}", source.path.display(), line.trim());
        }
    }
}

#[test]
fn what_the_kernel_half_shares_knows_neither_half() {
    for crate_folder in ["insight-common", "insight-ebpf"] {
        let sources = sources(crate_folder);
        assert!(!sources.is_empty(), "{crate_folder} has no sources");
        for source in sources {
            let line = source.lines.iter().find(|line| line.contains("insight_agent"));
            assert_eq!(line, None, "{crate_folder}/src/{}", source.path.display());
        }
    }
}

/// A rule that cannot be broken in its own reading of the sources would prove nothing.
#[test]
fn imports_are_found_and_tests_are_left_out() {
    assert_eq!(imported("use crate::model::plan::Mode;"), ["model"]);
    assert_eq!(imported("use crate::{collect, publish::web};"), ["collect", "publish"]);
    assert_eq!(imported("    let found = crate::serve::check(crate::clock::now());"), ["serve", "clock"]);
    assert!(imported("use mycrate::model;").is_empty());
    let text = "use crate::model::a;\n// crate::serve\n#[cfg(test)]\nmod tests {\n    use crate::serve;\n}";
    assert_eq!(production(text), ["use crate::model::a;"]);
    let path = Path::new("collect/probe/mod.rs");
    assert_eq!(test_modules(path, "#[cfg(test)]\nmod tests;"), [Path::new("collect/probe/tests")]);
    let path = Path::new("agent/report.rs");
    assert_eq!(test_modules(path, "#[cfg(test)]\npub mod tests;"), [Path::new("agent/report/tests")]);
}
