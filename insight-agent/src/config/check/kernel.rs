//! What is measured inside the kernel, for whom.

use super::names;
use crate::config::errors::{Complaint, Findings, Stated, offer};
use crate::config::settings::{Kernel, Peer};
use crate::config::table::Table;
use insight_common::kernel::layout::{MAX_DEVICES, MAX_GROUPS, MAX_PEERS};
use insight_common::kernel::loss::Measurement;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// The label of everybody whom no group holds; no group may take it.
pub const OTHER: &str = "other";

/// Entries that the kernel half has room for, of namespaces.
const MOST: usize = 64;

/// `[kernel]`. **None**: `findings` has the reasons.
pub(super) fn read(table: &Table<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<Kernel> {
    let enabled = table.flag("enabled", findings);
    let reloadable = table.flag("reloadable", findings);
    let measurements = each(table, "measurements", findings, choice);
    let scope_cgroup = table.text("scope_cgroup", findings, |text| Ok(base.join(text)));
    let scope_namespaces = each(table, "scope_namespaces", findings, |text| Ok(base.join(text)));
    let devices = devices(table, findings);
    let skip_exchanges = table.count("skip_exchanges", findings);
    let sample_one_in = table.count("sample_one_in", findings);
    let http2 = table.flag("http2", findings);
    let peers = peers(&table.tables("peer", findings), findings);
    Some(Kernel {
        enabled: enabled?.value,
        reloadable: reloadable?.value,
        measurements: chosen(&measurements?),
        scope_cgroup: scope_cgroup.map(|path| path.value),
        scope_namespaces: scope_namespaces?,
        devices: devices?,
        // The table's range ends far below.
        skip_exchanges: u16::try_from(skip_exchanges?.value).unwrap_or(u16::MAX),
        sample_one_in: u32::try_from(sample_one_in?.value).unwrap_or(u32::MAX),
        http2: http2?.value,
        peers: peers?,
    })
}

/// Reads every entry of a list. **None**: one of them was refused.
fn each<T>(
    table: &Table<'_>,
    key: &str,
    findings: &mut Findings<'_>,
    read: impl Fn(&str) -> Result<T, Complaint>,
) -> Option<Vec<T>> {
    let list = table.list(key, findings)?;
    if list.value.len() > MOST {
        let what = format!("{} entries", list.value.len());
        findings.error(&list.site, what, format!("keep it to {MOST}"));
        return None;
    }
    let mut values = Vec::new();
    for text in &list.value {
        match read(text) {
            Ok(value) => values.push(value),
            Err(complaint) => findings.complain(&list.site, complaint),
        }
    }
    (values.len() == list.value.len()).then_some(values)
}

/// What an entry of `measurements` does to the set.
struct Choice {
    is_on: bool,
    of: Vec<Measurement>,
}

/// The set that `default`, `all`, names, and each of them behind a `-`, come to in their order.
fn chosen(choices: &[Choice]) -> Vec<Measurement> {
    let mut on = BTreeSet::new();
    for choice in choices {
        for measurement in &choice.of {
            if choice.is_on {
                on.insert(*measurement);
            } else {
                on.remove(measurement);
            }
        }
    }
    on.into_iter().collect()
}

fn choice(text: &str) -> Result<Choice, Complaint> {
    let (name, is_on) = text.strip_prefix('-').map_or((text, true), |name| (name, false));
    let known = &Measurement::ALL[1..];
    let which = |wanted: fn(&Measurement) -> bool| known.iter().copied().filter(wanted).collect();
    let of = match name {
        "all" => known.to_vec(),
        "default" => which(|measurement| measurement.is_default()),
        _ => known.iter().copied().filter(|measurement| measurement.name() == name).collect(),
    };
    if of.is_empty() {
        let names = known.iter().map(|measurement| measurement.name()).chain(["all", "default"]);
        return Err(Complaint::new(format!("{text:?} is no kernel measurement"), offer(name, names)));
    }
    Ok(Choice { is_on, of })
}

// ---- devices --------------------------------------------------------------------------------

fn devices(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Vec<String>> {
    let devices = each(table, "devices", findings, device)?;
    let site = table.site_of("devices");
    if devices.len() > MAX_DEVICES as usize {
        findings.error(&site, format!("{} devices", devices.len()), format!("keep them to {MAX_DEVICES}"));
        return None;
    }
    let mut seen = BTreeSet::new();
    if let Some(again) = devices.iter().find(|device| !seen.insert(*device)) {
        findings.error(&site, format!("{again:?} is there twice"), "remove one of them");
        return None;
    }
    Some(devices)
}

/// A name that the kernel allows a device to have.
fn device(text: &str) -> Result<String, Complaint> {
    let allowed = |c: char| !c.is_whitespace() && c != '/' && c != ':';
    if (1..=15).contains(&text.len()) && text.chars().all(allowed) && ![".", "..", OTHER].contains(&text) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(format!("{text:?} is no device"), "write a name of `ip link`, such as \"eth0\""))
}

// ---- peer groups ----------------------------------------------------------------------------

fn peers(tables: &[Table<'_>], findings: &mut Findings<'_>) -> Option<Vec<Peer>> {
    if let Some(surplus) = tables.get(MAX_PEERS as usize - 1) {
        let what = format!("{} peer groups", tables.len());
        findings.error(&surplus.site(), what, format!("keep them to {}", MAX_PEERS - 1));
    }
    let names = names(tables, findings);
    let peers: Vec<_> = tables.iter().zip(names).map(|(table, name)| peer(table, name, findings)).collect();
    peers.into_iter().collect()
}

/// Each forwarder has figures of its own for each peer group, and so has nobody: the product is bounded.
pub(super) fn refuse_too_many_groups(
    table: &Table<'_>,
    kernel: &Kernel,
    forwarders: usize,
    findings: &mut Findings<'_>,
) {
    let (forwarders, peers) = (forwarders as u32 + 1, kernel.peers.len() as u32 + 1);
    if !kernel.enabled || forwarders * peers <= MAX_GROUPS {
        return;
    }
    let what = format!("{} peer groups for each of {} forwarders", peers - 1, forwarders - 1);
    let most = (MAX_GROUPS / forwarders).saturating_sub(1);
    let advice = format!("keep the [[kernel.peer]] tables to {most}, or have fewer [[forwarder]] tables");
    findings.error(&table.site(), what, advice);
}

fn peer(table: &Table<'_>, name: Option<Stated<String>>, findings: &mut Findings<'_>) -> Option<Peer> {
    let networks = each(table, "networks", findings, network);
    let hosts = each(table, "hosts", findings, host);
    let ports = each(table, "ports", findings, port);
    let (name, networks, hosts) = (name?, networks?, hosts?);
    if name.value == OTHER {
        findings.error(&name.site, "this name stands for everybody else", "take another one");
        return None;
    }
    if networks.is_empty() && hosts.is_empty() {
        let advice = "add a network such as \"10.1.0.0/16\" or a host, or remove the table";
        findings.error(&table.site_of("networks"), "a group without addresses", advice);
        return None;
    }
    Some(Peer { name: name.value, networks, hosts, ports: ports? })
}

/// An address, alone or with the length of a prefix.
fn network(text: &str) -> Result<(IpAddr, u8), Complaint> {
    let refused = || {
        let what = format!("{text:?} is no network");
        Complaint::new(what, "write an address, or one with a prefix length such as \"10.1.0.0/16\"")
    };
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let address: IpAddr = address.parse().map_err(|_| refused())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Ok(most), |prefix| prefix.parse::<u8>().map_err(|_| refused()))?;
    if prefix > most {
        return Err(refused());
    }
    Ok((address, prefix))
}

/// A name that a resolver can be asked for.
fn host(text: &str) -> Result<String, Complaint> {
    let refused = |advice| Complaint::new(format!("{text:?} is no host name"), advice);
    if text.parse::<IpAddr>().is_ok() {
        return Err(refused("write addresses into networks"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=253).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(refused("write one such as \"gateway.sg.example\", without a port"))
}

fn port(text: &str) -> Result<u16, Complaint> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| Complaint::new(format!("{text:?} is no port"), "write a number such as \"443\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_with_or_without_a_prefix() {
        assert_eq!(network("10.1.0.0/16").unwrap(), ("10.1.0.0".parse().unwrap(), 16));
        assert_eq!(network("::1").unwrap(), ("::1".parse().unwrap(), 128));
        for text in ["10.1.0.0/33", "10.1/16", "host", "10.1.0.0/", "/8", ""] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_is_a_name_without_a_port_and_no_address() {
        assert_eq!(host("gateway_1.sg.example").unwrap(), "gateway_1.sg.example");
        for text in ["", "10.1.0.1", "::1", "gateway:443", "http://gateway", "a b"] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports_that_cannot_occur_are_refused() {
        assert_eq!(port("443").unwrap(), 443);
        assert!(port("0").is_err() && port("65536").is_err() && port("https").is_err());
    }

    #[test]
    fn names_that_no_device_can_have_are_refused() {
        assert_eq!(device("eth0.100").unwrap(), "eth0.100");
        for text in ["", "a name", "a/b", "..", "longer-than-15-c", OTHER] {
            assert!(device(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_misspelled_measurement_is_answered_with_the_nearest() {
        for text in ["socket_rt", "-socket_rt"] {
            let Err(complaint) = choice(text) else { panic!("{text} is taken") };
            assert!(complaint.advice.contains("socket_rtt"), "{}", complaint.advice);
        }
        assert!(choice("sockets").is_err(), "the table of sockets is no choice");
    }

    #[test]
    fn groups_of_all_forwarders_have_a_limit_together_and_other_is_nobodys_name() {
        let text = |forwarders: usize, peers: usize| {
            let mut text = String::from("[agent]\nregion = \"eu\"\n");
            for at in 0..forwarders {
                text += &format!("[[forwarder]]\nname = \"f{at}\"\nprocess = \"f\"\n");
            }
            for at in 0..peers {
                text += &format!("[[kernel.peer]]\nname = \"p{at}\"\nnetworks = [\"10.0.0.0/8\"]\n");
            }
            text
        };
        let parse = |text: &str| {
            crate::config::Config::parse(text, "insight.toml").map_err(|errors| errors.to_string())
        };
        assert!(parse(&text(8, 27)).is_ok());
        let error = parse(&text(8, 28)).unwrap_err();
        assert!(
            error.contains("28 peer groups for each of 8 forwarders") && error.contains("to 27"),
            "{error}"
        );
        let error = parse(&text(1, 0).replace("f0", "other")).unwrap_err();
        assert!(error.contains("forwarder.name") && error.contains("other"), "{error}");
    }

    #[test]
    fn measurements_are_chosen_by_words_names_and_exceptions_in_their_order() {
        let chosen = |texts: &[&str]| {
            let choices: Result<Vec<_>, _> = texts.iter().map(|text| choice(text)).collect();
            chosen(&choices.unwrap_or_else(|_| panic!("{texts:?} is refused")))
        };
        assert_eq!(chosen(&["all"]), Measurement::ALL[1..]);
        let default = chosen(&["default"]);
        assert!(default.iter().all(|measurement| measurement.is_default()) && !default.is_empty());
        let without = chosen(&["default", "-residence"]);
        assert_eq!(without.len(), default.len() - 1);
        assert!(!without.contains(&Measurement::Residence));
        assert_eq!(chosen(&["all", "-all", "response"]), [Measurement::Response]);
        assert_eq!(chosen(&["-response", "response", "response"]), [Measurement::Response]);
        assert_eq!(chosen(&[]), []);
    }
}
