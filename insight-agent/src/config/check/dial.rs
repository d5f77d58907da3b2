//! How connections reach their next hop: `probe.ip`, `probe.reused_connections` and `route.proxy`, and what
//! these have to agree with.

use super::Surroundings;
use crate::config::errors::{Findings, Stated};
use crate::config::files;
use crate::config::settings::{Ip, Probe, Route, Way};
use crate::config::table::Table;
use crate::config::values::{self, HostPort};
use crate::model::dial::{IpVersion, ProxyPlan};
use crate::model::plan::{Connection, Mode};
use std::io::Read;
use std::net::IpAddr;

/// Series that one of several reused connections makes: sum and count of its latency, its failures and
/// its connections.
const SLOT_SERIES: usize = 4;
/// Series of slots from which on a configuration is warned of: a tenth of what a page should have.
const SLOT_SERIES_MANY: usize = 10_000;

/// How a probe reaches its next hop.
pub(super) struct Reach {
    pub(super) ip: Ip,
    pub(super) reused_connections: usize,
    /// Whether its route has a proxy.
    pub(super) proxied: bool,
}

/// Of one probe. **None**: `findings` has the reasons.
pub(super) fn reach(
    table: &Table<'_>,
    mode: Option<Mode>,
    way: Option<&Way>,
    connections: Option<&[Connection]>,
    routes: &[Option<Route>],
    findings: &mut Findings<'_>,
) -> Option<Reach> {
    let ip = table.text("ip", findings, |word| {
        Ok(match word {
            "4" => Ip::One(IpVersion::V4),
            "6" => Ip::One(IpVersion::V6),
            "both" => Ip::Both,
            _ => Ip::One(IpVersion::Any),
        })
    });
    let reused = table.count("reused_connections", findings);
    let is_link = mode == Some(Mode::Link);
    if let Some(reused) = reused.as_ref().filter(|reused| reused.value > 1) {
        if is_link {
            let what = "a link probe has one connection for its PINGs";
            findings.error(&reused.site, what, "remove reused_connections");
        } else if connections.is_some_and(|kinds| !kinds.contains(&Connection::Reused)) {
            let what = "this probe has no reused connection";
            findings.error(&reused.site, what, "add \"reused\" to connections, or remove reused_connections");
        }
    }
    let (address, proxy) = match way? {
        Way::Direct { address, .. } => (address, None),
        Way::Route(name) => {
            let route = routes.iter().flatten().find(|route| route.name == *name)?;
            (&route.address, route.proxy.as_ref())
        }
    };
    let ip = ip?;
    if is_link && ip.value == Ip::Both {
        let what = "both would share the series of one link";
        findings.error(
            &ip.site,
            what,
            "write two link probes with ip = \"4\" and ip = \"6\", each with its own to",
        );
    }
    if is_link && proxy.is_some() && table.flag("ping", findings).is_some_and(|ping| !ping.value) {
        let what = "handshakes end at the route's proxy, and only PINGs reach the next hop";
        findings.error(
            &table.stated_site("ping", findings),
            what,
            "remove ping, or measure the link without a proxy",
        );
    }
    if address.is_unix() {
        refuse_unix(table, is_link, &ip, findings);
    } else if let Ok(literal) = proxy.map_or(&address.host, |proxy| &proxy.host).parse::<IpAddr>() {
        refuse_literal(literal, &ip, findings);
    }
    Some(Reach { ip: ip.value, reused_connections: reused?.value, proxied: proxy.is_some() })
}

fn refuse_unix(table: &Table<'_>, is_link: bool, ip: &Stated<Ip>, findings: &mut Findings<'_>) {
    if is_link {
        let what = "a link probe measures a network, and its address is a UNIX socket of this host";
        findings.error(
            &table.stated_site("mode", findings),
            what,
            "use mode = \"black-box\" or \"white-box\"",
        );
    }
    if ip.value != Ip::One(IpVersion::Any) {
        findings.error(&ip.site, "a UNIX socket has no IP address", "remove ip");
    }
}

/// An address that is written out is of one version.
fn refuse_literal(literal: IpAddr, ip: &Stated<Ip>, findings: &mut Findings<'_>) {
    let of = if literal.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 };
    let is_wrong = match ip.value {
        Ip::One(version) => !version.admits(literal),
        Ip::Both => true,
    };
    if is_wrong {
        let what = format!("the connection goes to {literal}, which is {} and nothing else", of.as_str());
        findings.error(&ip.site, what, "write a name that has such addresses, or remove ip");
    }
}

// ---- proxies --------------------------------------------------------------------------------

/// The proxy of one route. **None**: not stated, or refused.
pub(super) fn proxy(
    table: &Table<'_>,
    address: Option<&Stated<HostPort>>,
    around: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<ProxyPlan> {
    let proxy = table.text("proxy", findings, values::proxy);
    let auth_file = files::secret(table, "proxy_auth_file", around.base, findings);
    if let Some(file) = &auth_file {
        if !table.states("proxy") {
            let advice = "add proxy = \"http://host:port\", or remove this key";
            findings.error(&file.site, "this belongs to a proxy, and none is named", advice);
        }
        require_credentials(file, findings);
    }
    let proxy = proxy?;
    if address.is_some_and(|address| address.value.is_unix()) {
        findings.error(&proxy.site, "a proxy leads to no UNIX socket of this host", "remove proxy");
    }
    let HostPort { host, port } = proxy.value;
    Some(ProxyPlan { host, port, auth_file: auth_file.map(|file| file.value) })
}

/// Refuses a file that holds no `user:password`. Its content is never repeated.
fn require_credentials(file: &Stated<std::path::PathBuf>, findings: &mut Findings<'_>) {
    if findings.knows_files() {
        return;
    }
    let mut content = Vec::new();
    let read = std::fs::File::open(&file.value).and_then(|file| file.take(4096).read_to_end(&mut content));
    let text = String::from_utf8_lossy(&content);
    let is_pair = text.trim().split_once(':').is_some_and(|(user, _)| !user.is_empty());
    // An unreadable one has been reported.
    if read.is_ok() && (!is_pair || text.trim().chars().any(char::is_control)) {
        findings.error(
            &file.site,
            "the file holds no user:password",
            "write one line with user:password into it",
        );
    }
}

// ---- what is allowed but probably not meant -------------------------------------------------

/// Several connections make series of their own, and templates multiply them: `probes` with how many of each
/// there may be, and `tables` in which the first of them stands.
pub(super) fn warn_of_many_slots<'t>(
    mut tables: impl Iterator<Item = &'t Table<'t>>,
    probes: impl Iterator<Item = (&'t Probe, usize)>,
    findings: &mut Findings<'_>,
) {
    let series = probes.map(|(probe, count)| slot_series(probe).saturating_mul(count));
    let series = series.fold(0, usize::saturating_add);
    if series <= SLOT_SERIES_MANY {
        return;
    }
    let Some(table) = tables.find(|table| table.states("reused_connections")) else { return };
    let site = table.stated_site("reused_connections", findings);
    findings.warn(
        &site,
        format!("the slots of reused connections make up to {series} series, {SLOT_SERIES} for each"),
        "lower reused_connections, or the max_probes of its template",
    );
}

/// Series of a probe's slots.
fn slot_series(probe: &Probe) -> usize {
    let probes = if probe.ip == Ip::Both { 2 } else { 1 };
    if probe.reused_connections > 1 { probes * SLOT_SERIES * probe.reused_connections } else { 0 }
}
