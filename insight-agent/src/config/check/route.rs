//! One `[[route]]`: its address, its hops, and the metadata that tells the forwarding layer the way.

use super::{Surroundings, dial, node, offer_name, tls};
use crate::config::errors::{Complaint, Findings, Stated};
use crate::config::settings::Route;
use crate::config::table::Table;
use crate::config::template::Template;
use crate::config::values;
use crate::model::plan::{ServerTimingMeaning, TimingFigure};
use std::collections::BTreeMap;

/// Most hops of a route: with prober and service they make a ledger of at most 31 segments.
const HOPS_MOST: usize = 14;

/// The name of the last entry of every ledger, so no hop can have it.
pub(super) const RESERVED_HOP: &str = "service";

/// One route. **None**: `findings` has the reasons.
pub(super) fn read(
    table: &Table<'_>,
    name: Option<Stated<String>>,
    around: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<Route> {
    let address = table.text("address", findings, values::endpoint);
    let proxy = dial::proxy(table, address.as_ref(), around, findings);
    let authority = table.text("authority", findings, values::authority);
    let origin = table.text("origin", findings, values::name);
    let hops = hops(table, findings);
    let metadata = metadata(table, findings);
    let report_token_file = node::token(table, "report_token_file", around, findings);
    if table.states("report_token_file") && metadata.iter().any(|(name, _)| name == "authorization") {
        findings.error(
            &table.stated_site("report_token_file", findings),
            "route.metadata carries an authorization already, and a question has one",
            "let the forwarding layer read another name, or remove this key",
        );
    }
    let tls = tls::read(table, around.base, findings);
    let envoy_hop = table.string("envoy_hop", findings);
    let kong_hop = table.string("kong_hop", findings);
    let server_timing = server_timing(table, hops.as_ref(), findings);

    for writer in [&envoy_hop, &kong_hop].into_iter().flatten() {
        if let Some(hops) = &hops
            && !hops.value.contains(&writer.value)
        {
            let advice = offer_name(&writer.value, &hops.value, "list it in route.hops");
            findings.error(&writer.site, "no hop of this route has this name", advice);
        }
    }
    let (hops, address) = (hops?, address?.value);
    let (origin, origin_site) = match origin {
        Some(origin) => (origin.value, origin.site),
        None => (around.agent_name.to_owned(), hops.site.clone()),
    };
    if hops.value.contains(&origin) {
        findings.error(
            &origin_site,
            format!("the origin \"{origin}\" is also a hop, and a link from it to itself says nothing"),
            "set route.origin to another name",
        );
    }
    Some(Route {
        name: name?.value,
        authority: authority.map_or_else(|| address.authority(), |authority| authority.value),
        address,
        proxy,
        origin,
        hops: hops.value,
        metadata,
        report_token_file,
        tls,
        envoy_hop: envoy_hop.map(|hop| hop.value),
        kong_hop: kong_hop.map(|hop| hop.value),
        server_timing,
    })
}

fn hops(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Stated<Vec<String>>> {
    let hops = table.list("hops", findings)?;
    let mut complaints = Vec::new();
    if hops.value.len() > HOPS_MOST {
        let what = format!("{} hops are more than a ledger holds", hops.value.len());
        complaints.push(Complaint::new(what, format!("name at most {HOPS_MOST}")));
    }
    for (index, hop) in hops.value.iter().enumerate() {
        if hop == RESERVED_HOP {
            let what = format!("\"{RESERVED_HOP}\" is the name of every ledger's last entry");
            complaints.push(Complaint::new(what, "name only the forwarders in between"));
        } else if let Err(complaint) = values::name(hop) {
            complaints.push(Complaint::new(format!("\"{hop}\" is {}", complaint.what), complaint.advice));
        } else if hops.value[..index].contains(hop) {
            let what = format!("\"{hop}\" occurs twice");
            complaints.push(Complaint::new(what, "name each hop once, in path order"));
        }
    }
    if complaints.is_empty() {
        return Some(hops);
    }
    for complaint in complaints {
        findings.complain(&hops.site, complaint);
    }
    None
}

// ---- metadata -------------------------------------------------------------------------------

/// Headers that the HTTP/2 connection or the gRPC protocol owns: sending another one breaks
/// either (RFC 9113 section 8.2.2; the gRPC protocol's call definition).
const OWNED_BY_PROTOCOL: [&str; 10] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Metadata that every probe carries by itself.
const OWNED_BY_AGENT: [&str; 1] = ["x-insight-probe"];

fn metadata(table: &Table<'_>, findings: &mut Findings<'_>) -> Vec<(String, Template)> {
    let mut metadata = Vec::new();
    for (name, value) in table.pairs("metadata", findings) {
        if let Err(complaint) = metadata_name(&name) {
            findings.complain(&value.site, complaint);
        } else {
            match metadata_value(&value.value) {
                Ok(template) => metadata.push((name, template)),
                Err(complaint) => findings.complain(&value.site, complaint),
            }
        }
    }
    metadata
}

fn metadata_name(name: &str) -> Result<(), Complaint> {
    let refuse = |what: &str, advice: &str| Err(Complaint::new(what, advice));
    if name.starts_with(':') {
        return refuse("a name with a colon belongs to HTTP/2", "set route.authority, or use another name");
    }
    let lower = name.to_ascii_lowercase();
    if lower != name {
        return refuse("HTTP/2 names are lower case", &format!("write \"{lower}\""));
    }
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return refuse(
            "not a metadata name",
            "use lower-case letters, digits, hyphens, underscores and points",
        );
    }
    if name.starts_with("grpc-") {
        return refuse("names that start with grpc- belong to gRPC", "use another name");
    }
    if name.ends_with("-bin") {
        return refuse("a -bin name carries binary values, and this one is text", "drop the -bin suffix");
    }
    if OWNED_BY_PROTOCOL.contains(&name) {
        return refuse("the connection sets this header itself", "remove it, or use another name");
    }
    if OWNED_BY_AGENT.contains(&name) {
        return refuse("every probe carries this by itself", "remove it");
    }
    Ok(())
}

fn metadata_value(value: &str) -> Result<Template, Complaint> {
    let strange = value.chars().position(|c| !(c.is_ascii_graphic() || c == ' '));
    if let Some(position) = strange {
        return Err(Complaint::new(
            format!("character {} is not visible ASCII", position + 1),
            "use letters, digits, punctuation and spaces inside",
        ));
    }
    if value.trim() != value {
        return Err(Complaint::new("a space stands at an end, where HTTP/2 forbids it", "remove it"));
    }
    Template::parse(value)
}

// ---- Server-Timing --------------------------------------------------------------------------

fn server_timing(
    table: &Table<'_>,
    hops: Option<&Stated<Vec<String>>>,
    findings: &mut Findings<'_>,
) -> BTreeMap<String, ServerTimingMeaning> {
    let mut meanings = BTreeMap::new();
    for (metric, meaning) in table.named_tables("server_timing", findings) {
        // The header's metric names are tokens, as header names are (RFC 9110 section 5.6.2).
        if http::HeaderName::from_bytes(metric.as_bytes()).is_err() {
            findings.error(
                &meaning.site(),
                "no Server-Timing metric can have this name",
                "use letters and digits",
            );
        }
        let hop = meaning.string("hop", findings);
        let figure = meaning.text("figure", findings, |word| match word {
            "upstream" => Ok(TimingFigure::Upstream),
            _ => Ok(TimingFigure::Downstream),
        });
        let (Some(hop), Some(figure)) = (hop, figure) else { continue };
        if let Some(hops) = hops
            && !hops.value.contains(&hop.value)
        {
            let advice = offer_name(&hop.value, &hops.value, "list it in route.hops");
            findings.error(&hop.site, "no hop of this route has this name", advice);
        }
        meanings.insert(metric, ServerTimingMeaning { hop: hop.value, figure: figure.value });
    }
    meanings
}
