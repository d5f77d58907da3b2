//! One `[[discovery]]`: where endpoints are looked up; and the templates that are made of them.

mod consul;
mod dns;
pub mod expand;
mod file;
mod kubernetes;
pub(super) mod template;

use crate::config::errors::{Findings, Stated};
use crate::config::table::Table;
use crate::model::discovery::{DiscoveryPlan, SourcePlan};
use std::path::Path;

/// The tables of which each discovery has one: a kind of source each.
const KINDS: [&str; 4] = ["file", "dns", "consul", "kubernetes"];

/// One discovery. **None**: `findings` has the reasons.
pub(super) fn read(
    table: &Table<'_>,
    name: Option<Stated<String>>,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<DiscoveryPlan> {
    let keep_when_empty = table.flag("keep_when_empty", findings);
    let source = source(table, base, findings);
    Some(DiscoveryPlan { name: name?.value, source: source?, keep_when_empty: keep_when_empty?.value })
}

fn source(table: &Table<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<SourcePlan> {
    let stated: Vec<_> = KINDS.into_iter().filter(|kind| table.states(kind)).collect();
    let headers: Vec<_> = KINDS.iter().map(|kind| format!("[discovery.{kind}]")).collect();
    match stated[..] {
        [] => {
            let advice = format!("add one of the tables {}", headers.join(", "));
            findings.error(&table.site(), "nothing says where to look", advice);
            None
        }
        [kind] => {
            let of = table.table(kind, findings)?;
            match kind {
                "file" => file::read(&of, base, findings).map(SourcePlan::File),
                "consul" => consul::read(&of, base, findings).map(SourcePlan::Consul),
                "kubernetes" => kubernetes::read(&of, base, findings).map(SourcePlan::Kubernetes),
                _ => dns::read(&of, findings).map(SourcePlan::Dns),
            }
        }
        [first, second, ..] => {
            let site = table.stated_site(second, findings);
            let what = format!("a discovery looks in one place, and this one has {first} already");
            findings.error(&site, what, "write a [[discovery]] of its own for each");
            None
        }
    }
}

/// A list of different words, none of them empty. **None**: `findings` has the reasons.
fn words(table: &Table<'_>, key: &str, most: usize, findings: &mut Findings<'_>) -> Option<Vec<String>> {
    let stated = table.list(key, findings)?;
    let words = stated.value;
    let what =
        match words.iter().enumerate().find(|(at, word)| word.is_empty() || words[..*at].contains(word)) {
            Some((_, word)) if word.is_empty() => "the list has an empty name".to_owned(),
            Some((_, word)) => format!("the list names \"{word}\" twice"),
            None if words.len() > most => format!("{} names are more than {most}", words.len()),
            None => return Some(words),
        };
    findings.error(&stated.site, what, format!("list up to {most} names, each once; [] is no restriction"));
    None
}
