//! Links between documents and into the tree.

use super::{files_below, read, root};
use std::collections::BTreeSet;
use std::path::Path;

/// A link's target, with the line that it stands in.
type Link = (usize, String);

/// Targets of the links of a document, those in fenced blocks left out.
fn links(text: &str) -> Vec<Link> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let defined =
            line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        found.extend(inline.chain(defined).map(|target| (at + 1, target.trim().to_owned())));
    }
    found
}

/// Whether a target is elsewhere: an address with a scheme, which needs a network to be checked.
fn is_remote(target: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

/// The anchors of a document, as renderers make them from its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() {
            continue;
        }
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        anchors.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    anchors
}

/// What is wrong with a link. **None**: nothing.
fn fault(document: &Path, text: &str, target: &str) -> Option<String> {
    if is_remote(target) {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = document.parent()?;
    let file = if path.is_empty() { document.to_owned() } else { folder.join(path) };
    if !file.exists() {
        return Some(format!("{target}: there is no {}", file.display()));
    }
    let markdown = file.extension().is_some_and(|end| end == "md");
    if anchor.is_empty() || !markdown {
        return None;
    }
    let there = if path.is_empty() { anchors(text) } else { anchors(&read(&file)) };
    (!there.contains(anchor)).then(|| format!("{target}: no heading there makes the anchor #{anchor}"))
}

#[test]
fn every_relative_link_of_every_document_leads_somewhere() {
    let root = root();
    let documents = files_below(&root, "md");
    assert!(documents.contains(&root.join("README.md")), "found no documents below {}", root.display());
    let (mut checked, mut dead) = (0, Vec::new());
    for document in &documents {
        let text = read(document);
        for (line, target) in links(&text) {
            checked += usize::from(!is_remote(&target));
            if let Some(fault) = fault(document, &text, &target) {
                dead.push(format!("{}:{line}: {fault}", document.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{} of {checked} links are dead:\n{}", dead.len(), dead.join("\n"));
    assert!(checked > 20, "only {checked} links were found");
}

#[test]
fn every_document_is_reached_from_the_readme() {
    let root = root();
    let mut reached = BTreeSet::new();
    let mut ahead = vec![root.join("README.md")];
    while let Some(document) = ahead.pop() {
        let Ok(document) = document.canonicalize() else { continue };
        if !reached.insert(document.clone()) {
            continue;
        }
        for (_, target) in links(&read(&document)) {
            let path = target.split('#').next().unwrap_or_default();
            if path.ends_with(".md") && !is_remote(path) {
                ahead.push(document.with_file_name("").join(path));
            }
        }
    }
    for document in files_below(&root, "md") {
        let document = document.canonicalize().expect("it was just found");
        assert!(reached.contains(&document), "{}: no document leads here", document.display());
    }
}

#[test]
fn a_dead_link_is_found() {
    let document = root().join("README.md");
    let text =
        "# A title, `code`\n[a](Cargo.toml) [b](nowhere.md#x)\n```\n[c](in-a-block.md)\n```\n[d]: gone.md\n";
    let found: Vec<_> = links(text).into_iter().map(|(line, target)| format!("{line} {target}")).collect();
    assert_eq!(found, ["2 Cargo.toml", "2 nowhere.md#x", "6 gone.md"]);
    assert_eq!(fault(&document, text, "Cargo.toml"), None);
    assert_eq!(fault(&document, text, "#a-title-code"), None);
    assert!(fault(&document, text, "#another").is_some());
    assert!(fault(&document, text, "nowhere.md").is_some());
    assert_eq!(fault(&document, text, "https://example.com/nowhere"), None);
}
