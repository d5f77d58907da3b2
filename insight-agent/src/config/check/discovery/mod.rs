//! One `[[discovery]]`: where endpoints are looked up; and the templates that are made of them.

mod dns;
pub mod expand;
mod file;
pub(super) mod template;

use crate::config::errors::{Findings, Stated};
use crate::config::table::Table;
use crate::model::discovery::{DiscoveryPlan, SourcePlan};
use std::path::Path;

/// The tables of which each discovery has one: a kind of source each.
const KINDS: [&str; 2] = ["file", "dns"];

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
