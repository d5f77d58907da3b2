//! `[discovery.dns]`: which names, and how they are asked for.

use crate::config::duration::render;
use crate::config::errors::{Complaint, Findings};
use crate::config::table::Table;
use crate::config::values;
use crate::model::discovery::{DnsPlan, DnsRecord};

/// Longest name in the DNS as text (RFC 1035 section 2.3.4).
const NAME_MOST: usize = 253;
/// Most names of one source: each is a question of its own, again and again.
const NAMES_MOST: usize = 256;

/// The plan. **None**: `findings` has the reasons.
pub(super) fn read(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<DnsPlan> {
    let names = names(table, findings);
    let records = table.text("type", findings, |word| {
        Ok(match word {
            "A" => vec![DnsRecord::A],
            "AAAA" => vec![DnsRecord::Aaaa],
            "SRV" => vec![DnsRecord::Srv],
            _ => vec![DnsRecord::A, DnsRecord::Aaaa],
        })
    });
    let port = table.count("port", findings);
    let server = table.text("server", findings, server);
    let timeout = table.duration("timeout", findings);
    let min_ttl = table.duration("min_ttl", findings);
    let max_ttl = table.duration("max_ttl", findings);
    let records = records?;
    let has_own_port = records.value == [DnsRecord::Srv];
    if has_own_port && table.states("port") {
        let site = table.stated_site("port", findings);
        findings.error(&site, "SRV records bring their own ports", "remove port, or ask for another type");
        return None;
    }
    if !has_own_port && !table.states("port") {
        let advice = "add a line such as port = 443, or ask for SRV records, which have their own";
        findings.error(&table.site_of("port"), "addresses have no port", advice);
        return None;
    }
    if server.is_none() && table.states("server") {
        return None;
    }
    let (min_ttl, max_ttl) = (min_ttl?, max_ttl?);
    if min_ttl.value > max_ttl.value {
        let site = if max_ttl.site.written { &max_ttl.site } else { &min_ttl.site };
        let what =
            format!("the least of {} is above the most of {}", render(min_ttl.value), render(max_ttl.value));
        findings.error(site, what, "write a min_ttl up to max_ttl");
        return None;
    }
    Some(DnsPlan {
        names: names?,
        records: records.value,
        port: port.map_or(0, |port| u16::try_from(port.value).unwrap_or(0)),
        server: server.map(|server| server.value),
        timeout: timeout?.value,
        min_ttl: min_ttl.value,
        max_ttl: max_ttl.value,
    })
}

fn server(text: &str) -> Result<std::net::SocketAddr, Complaint> {
    text.parse().map_err(|_| {
        let advice = "write an IP address with its port, such as \"127.0.0.1:53\" or \"[::1]:53\"";
        Complaint::new("not the address of a name server", advice)
    })
}

fn names(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Vec<String>> {
    let stated = table.list("names", findings)?;
    let mut complaints = Vec::new();
    if stated.value.is_empty() {
        complaints.push(Complaint::new("the list is empty", "name at least one host"));
    }
    if stated.value.len() > NAMES_MOST {
        let what = format!("{} names are more than one source asks for", stated.value.len());
        complaints.push(Complaint::new(
            what,
            format!("name at most {NAMES_MOST}, and others in another [[discovery]]"),
        ));
    }
    for (index, name) in stated.value.iter().enumerate() {
        let bare = name.strip_suffix('.').unwrap_or(name);
        let is_label =
            |label: &str| (1..=63).contains(&label.len()) && label.chars().all(values::is_name_char);
        if name.len() > NAME_MOST || !bare.split('.').all(is_label) {
            let what = format!("\"{name}\" is no name in the DNS");
            complaints
                .push(Complaint::new(what, "write names such as \"receivers.sg.example\", without a port"));
        } else if bare.parse::<std::net::IpAddr>().is_ok() {
            let what = format!("\"{name}\" is an address already");
            complaints
                .push(Complaint::new(what, "write a [[probe]] with it, or list it in a [discovery.file]"));
        } else if stated.value[..index].contains(name) {
            complaints.push(Complaint::new(format!("\"{name}\" occurs twice"), "write each name once"));
        }
    }
    if complaints.is_empty() {
        return Some(stated.value);
    }
    for complaint in complaints {
        findings.complain(&stated.site, complaint);
    }
    None
}
