//! How connections reach their next hop: `probe.ip`, `probe.reused_connections` and `route.proxy`, and what
//! these have to agree with.

use super::Surroundings;
use crate::config::errors::{Findings, Stated};
use crate::config::files;
use crate::config::reach;
use crate::config::settings::{Ip, Probe, Route, Way};
use crate::config::table::Table;
use crate::config::values::{self, HostPort};
use crate::model::dial::ProxyPlan;
use crate::model::plan::{Connection, Mode};

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
    let ip = table.text("ip", findings, |word| Ok(Ip::from_word(word)));
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
        let refusal = reach::one_link_twice();
        findings.error(&ip.site, refusal.what, refusal.advice);
    }
    if is_link && proxy.is_some() && table.flag("ping", findings).is_some_and(|ping| !ping.value) {
        let refusal = reach::proxied_handshakes("ping");
        findings.error(&table.stated_site("ping", findings), refusal.what, refusal.advice);
    }
    if is_link && address.is_unix() {
        let refusal = reach::link_over_unix();
        findings.error(&table.stated_site("mode", findings), refusal.what, refusal.advice);
    }
    if let Some(refusal) = reach::version(ip.value, address, proxy) {
        findings.error(&ip.site, refusal.what, refusal.advice);
    }
    Some(Reach { ip: ip.value, reused_connections: reused?.value, proxied: proxy.is_some() })
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
    if let Some(refusal) = address.and_then(|address| reach::proxy_to(&address.value)) {
        findings.error(&proxy.site, refusal.what, refusal.advice);
    }
    let HostPort { host, port } = proxy.value;
    Some(ProxyPlan { host, port, auth_file: auth_file.map(|file| file.value) })
}

/// Refuses a file that holds no `user:password`.
fn require_credentials(file: &Stated<std::path::PathBuf>, findings: &mut Findings<'_>) {
    if findings.knows_files() {
        return;
    }
    if let Some(refusal) = reach::credentials(&file.value) {
        findings.error(&file.site, refusal.what, refusal.advice);
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
