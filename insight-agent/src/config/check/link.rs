//! What only link probes have: the names of a link's two ends.

use super::{Surroundings, route};
use crate::config::errors::{Complaint, Findings};
use crate::config::settings::{Probe, Route, Way};
use crate::config::table::Table;
use crate::config::values;
use crate::model::plan::{Call, LinkEnds, Mode};
use std::collections::HashMap;

/// Keys that only link probes have.
pub(super) const KEYS: [&str; 2] = ["to", "from"];
/// Keys that belong to probes with an RPC, whatever their mode, and why a link probe lacks them.
const RPC_KEYS: [(&str, &str); 5] = [
    ("service", "a link probe sends no metadata"),
    ("authority", "a link probe sends no request (tls.server_name names a certificate)"),
    ("connections", "a link probe has its own: one for PINGs, and one for each handshake"),
    ("drain", "a link probe waits until its deadline and no longer"),
    ("load_metrics", "a link probe gets no answer that could tell a service's load"),
];

/// The ends of a link probe's link. **None**: the probe is of another mode, its route has errors of
/// its own, or `findings` has the reasons.
pub(super) fn ends(
    table: &Table<'_>,
    mode: Option<Mode>,
    way: Option<&Way>,
    ping: Option<bool>,
    around: &Surroundings<'_>,
    routes: &[Option<Route>],
    findings: &mut Findings<'_>,
) -> Option<LinkEnds> {
    let to = table.text("to", findings, node);
    let from = table.text("from", findings, node);
    if mode != Some(Mode::Link) {
        return None;
    }
    for (key, why) in RPC_KEYS.into_iter().filter(|(key, _)| table.states(key)) {
        findings.error(&table.stated_site(key, findings), why, format!("remove {key}"));
    }
    if table.states("tls") && ping == Some(false) {
        let site = table.stated_site("tls", findings);
        findings.error(&site, "only PINGs go over TLS, and ping = false", "remove tls, or set ping = true");
    }
    // A word that was refused is an error already; only one that is absent has a default.
    if to.is_none() && table.states("to") || from.is_none() && table.states("from") {
        return None;
    }
    let (origin, first_hop) = match way? {
        Way::Direct { .. } => (around.agent_name.to_owned(), None),
        Way::Route(name) => {
            let route = routes.iter().flatten().find(|route| route.name == *name)?;
            (route.origin.clone(), route.hops.first().cloned())
        }
    };
    let from = from.map_or(origin, |from| from.value);
    let Some((to, site)) =
        to.map(|to| (to.value, to.site)).or(first_hop.map(|hop| (hop, table.site_of("to"))))
    else {
        let advice = "add to = \"NAME\" of the node at the other end, as route.hops names it";
        findings.error(&table.site_of("to"), "a link has two ends, and the other one has no name", advice);
        return None;
    };
    if from == to {
        let what = format!("the link starts at \"{from}\" too, and a link from it to itself says nothing");
        findings.error(&site, what, "set probe.to to the node at the other end, or probe.from to this one");
        return None;
    }
    Some(LinkEnds { from, to })
}

/// The name of a node at the end of a link.
fn node(text: &str) -> Result<String, Complaint> {
    if text == route::RESERVED_HOP {
        let what = format!("\"{text}\" is the name of every ledger's last entry");
        return Err(Complaint::new(what, "use the node's own name"));
    }
    values::name(text)
}

/// Refuses the second of two probes of one link: their round trips would share one series, though
/// they may be of two addresses.
pub(super) fn refuse_twins(tables: &[Table<'_>], probes: &[Option<Probe>], findings: &mut Findings<'_>) {
    let mut first: HashMap<&LinkEnds, &str> = HashMap::new();
    for (table, probe) in tables.iter().zip(probes) {
        let Some(probe) = probe else { continue };
        let Call::Link(ends) = &probe.call else { continue };
        match first.get(ends) {
            Some(name) => findings.error(
                &table.stated_site("to", findings),
                format!("the probe \"{name}\" measures the link from \"{}\" to \"{}\"", ends.from, ends.to),
                "remove one of the two, or give this end another name with probe.to",
            ),
            None => {
                first.insert(ends, &probe.name);
            }
        }
    }
}
