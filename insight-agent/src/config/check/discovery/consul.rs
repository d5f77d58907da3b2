//! `[discovery.consul]`: which agent, and which services of its catalog.

use super::words;
use crate::config::check::tls;
use crate::config::errors::{Complaint, Findings};
use crate::config::files;
use crate::config::table::Table;
use crate::config::values;
use crate::model::discovery::consul::{CONSUL_SERVICES_MOST, ConsulPlan};
use std::path::Path;

/// The plan. **None**: `findings` has the reasons.
pub(super) fn read(table: &Table<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<ConsulPlan> {
    let address = table.text("address", findings, values::address);
    let token_file = files::secret(table, "token_file", base, findings);
    if let Some(file) = &token_file {
        files::require_sendable_token(&file.value, &file.site, findings);
    }
    let datacenter = table.text("datacenter", findings, word);
    let namespace = table.text("namespace", findings, word);
    let services = words(table, "services", CONSUL_SERVICES_MOST, findings);
    let tags = words(table, "tags", CONSUL_SERVICES_MOST, findings);
    let passing_only = table.flag("passing_only", findings);
    let wait = table.duration("wait", findings);
    let stale = table.flag("stale", findings);
    let tls = tls::read(table, base, findings);
    let address = address?.value;
    Some(ConsulPlan {
        host: address.host,
        port: address.port,
        tls,
        token_file: token_file.map(|file| file.value),
        datacenter: datacenter.map(|word| word.value),
        namespace: namespace.map(|word| word.value),
        services: services?,
        tags: tags?,
        passing_only: passing_only?.value,
        wait: wait?.value,
        stale: stale?.value,
    })
}

/// A name of Consul's own, of which only its absence is refused here.
fn word(text: &str) -> Result<String, Complaint> {
    if text.is_empty() {
        return Err(Complaint::new("the name is empty", "write a name, or remove the key"));
    }
    Ok(text.to_owned())
}
