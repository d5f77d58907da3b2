//! One `[[node]]`: an agent of this region, and how it is asked for its report.

use super::{Surroundings, route, tls};
use crate::config::errors::{Findings, Stated};
use crate::config::files;
use crate::config::settings::Node;
use crate::config::table::Table;
use crate::config::values;

/// Most nodes of a region: with the agent's own, their reports of 64 KiB at most fit the 4 MiB that
/// a gRPC message may have without further agreement.
pub(super) const NODES_MOST: usize = 59;

/// One node. **None**: `findings` has the reasons.
pub(super) fn read(
    table: &Table<'_>,
    name: Option<Stated<String>>,
    around: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<Node> {
    let address = table.text("address", findings, values::address);
    let authority = table.text("authority", findings, values::authority);
    let token_file = token(table, "token_file", around, findings);
    let tls = tls::read(table, around.base, findings);
    let name = name?;
    if name.value == around.agent_name {
        findings.error(
            &name.site,
            "this is the agent's own name, and it knows its own figures",
            "remove this [[node]], or give it the name by which the agent at its address calls itself",
        );
    }
    if name.value == route::RESERVED_HOP {
        findings.error(
            &name.site,
            format!("\"{}\" is the name of every ledger's last entry", name.value),
            "use the node's own name",
        );
    }
    let address = address?.value;
    Some(Node {
        name: name.value,
        authority: authority.map_or_else(|| address.to_string(), |authority| authority.value),
        address,
        token_file,
        tls,
    })
}

/// A file with a token to present. **None**: not stated, or refused.
pub(super) fn token(
    table: &Table<'_>,
    key: &str,
    around: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<std::path::PathBuf> {
    let file = files::secret(table, key, around.base, findings)?;
    files::require_sendable_token(&file.value, &file.site, findings);
    Some(file.value)
}

/// Refuses more nodes than one answer can carry.
pub(super) fn refuse_too_many(tables: &[Table<'_>], findings: &mut Findings<'_>) {
    if let Some(table) = tables.get(NODES_MOST) {
        findings.error(
            &table.site(),
            format!("{} nodes are more than one answer to another region can carry", tables.len()),
            format!("name at most {NODES_MOST}: those that stand on routes"),
        );
    }
}
