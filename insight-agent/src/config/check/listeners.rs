//! The three listeners, and who may reach them.

use crate::config::errors::{Findings, Stated};
use crate::config::files;
use crate::config::settings::{Admin, Connections, Grpc, Metrics, ServerTls};
use crate::config::table::Table;
use crate::config::values;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The three tables. **None**: `findings` has the reasons.
pub(super) fn read(
    root: &Table<'_>,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<(Metrics, Admin, Grpc)> {
    let metrics_table = root.table_or_defaults("metrics", findings);
    let admin_table = root.table_or_defaults("admin", findings);
    let grpc_table = root.table_or_defaults("grpc", findings);
    let [metrics_listen, admin_listen, grpc_listen] = [&metrics_table, &admin_table, &grpc_table]
        .map(|table| table.text("listen", findings, values::listen));
    let stated: Vec<_> = [&metrics_listen, &admin_listen, &grpc_listen].into_iter().flatten().collect();
    refuse_shared_ports(&stated, findings);

    let web_config_file = files::readable(&metrics_table, "web_config_file", base, findings);
    let admin = admin(&admin_table, admin_listen, base, findings);
    let grpc = grpc(&grpc_table, grpc_listen, base, findings);
    let web_config_file = web_config_file.map(|file| file.value);
    let connections = connections(&metrics_table, findings);
    let metrics = Metrics { listen: metrics_listen?.value, web_config_file, connections: connections? };
    Some((metrics, admin?, grpc?))
}

fn admin(
    table: &Table<'_>,
    listen: Option<Stated<SocketAddr>>,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<Admin> {
    let token_stated = table.states("token_file");
    let token_file = files::secret(table, "token_file", base, findings);
    if let Some(file) = &token_file {
        files::require_token(&file.value, &file.site, findings);
    }
    let insecure = table.flag("insecure", findings);
    let connections = connections(table, findings);
    let (listen, insecure) = (listen?, insecure?);
    if !is_loopback(listen.value.ip()) && !token_stated {
        if insecure.value {
            findings.warn(
                &insecure.site,
                format!("anyone who reaches {} may read every state of this agent", listen.value),
                "set admin.token_file, or listen on loopback",
            );
        } else {
            findings.error(
                &listen.site,
                "it is reachable from other hosts",
                "set admin.token_file, or admin.insecure = true to accept the risk, or listen on loopback",
            );
        }
    }
    let token_file = token_file.map(|file| file.value);
    Some(Admin { listen: listen.value, token_file, insecure: insecure.value, connections: connections? })
}

fn grpc(
    table: &Table<'_>,
    listen: Option<Stated<SocketAddr>>,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<Grpc> {
    let max_delay = table.duration("max_delay", findings);
    let max_payload = table.bytes("max_payload", findings);
    let reflection = table.flag("reflection", findings);
    let drill_delay_file = files::planned(table, "drill_delay_file", base, findings);
    let tls_stated = table.states("tls");
    let tls_table = table.table("tls", findings);
    let asks_for_certificates = tls_table.as_ref().is_some_and(|tls| tls.states("client_ca_file"));
    let tls = tls_table.and_then(|tls| server_tls(&tls, base, findings));
    let reports = table.flag("reports", findings);
    let token_stated = table.states("token_file");
    let token_file = files::secret(table, "token_file", base, findings);
    if let Some(file) = &token_file {
        files::require_sendable_token(&file.value, &file.site, findings);
    }
    let insecure = table.flag("insecure", findings);
    let connections = connections(table, findings);
    if tls_stated && tls.is_none() {
        return None;
    }
    let (listen, reports, insecure) = (listen?, reports?.value, insecure?);
    let guarded = token_stated || asks_for_certificates || !reports;
    if !is_loopback(listen.value.ip()) && !guarded {
        if insecure.value {
            findings.warn(
                &insecure.site,
                format!("anyone who reaches {} may read every figure of this region's nodes", listen.value),
                "set grpc.token_file or grpc.tls.client_ca_file, or grpc.reports = false",
            );
        } else {
            findings.error(
                &listen.site,
                "node reports are reachable from other hosts",
                "set grpc.token_file, or grpc.tls.client_ca_file, or grpc.reports = false to serve none, or \
                 grpc.insecure = true to accept the risk",
            );
        }
    }
    Some(Grpc {
        listen: listen.value,
        reports,
        token_file: token_file.map(|file| file.value),
        insecure: insecure.value,
        max_delay: max_delay?.value,
        max_payload_bytes: max_payload?.value,
        reflection: reflection?.value,
        drill_delay_file: drill_delay_file.map(|file| file.value),
        tls,
        connections: connections?,
    })
}

fn connections(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Connections> {
    let most = table.count("max_connections", findings);
    let per_peer = table.count("max_connections_per_peer", findings);
    Some(Connections { most: most?.value, per_peer: per_peer?.value })
}

fn server_tls(table: &Table<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<ServerTls> {
    let cert_file = files::readable(table, "cert_file", base, findings);
    let key_file = files::secret(table, "key_file", base, findings);
    let client_ca_file = files::readable(table, "client_ca_file", base, findings).map(|file| file.value);
    Some(ServerTls { cert_file: cert_file?.value, key_file: key_file?.value, client_ca_file })
}

/// Whether only this host reaches an address.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The second of two listeners would fail to bind, at start and not at the check.
fn refuse_shared_ports(listens: &[&Stated<SocketAddr>], findings: &mut Findings<'_>) {
    for (index, first) in listens.iter().enumerate() {
        for second in &listens[index + 1..] {
            if !clash(first.value, second.value) {
                continue;
            }
            // The finding belongs to a line that the user wrote, if only one of the two is.
            let (here, other) = if second.site.written { (second, first) } else { (first, second) };
            findings.error(
                &here.site,
                format!("{} = \"{}\" takes the same address and port", other.site.key, other.value),
                "give each listener a port of its own",
            );
        }
    }
}

/// Whether two sockets cannot both be bound. A wildcard covers every address, `[::]` those of
/// IPv4 too (`net.ipv6.bindv6only` is 0 by default); port 0 is a new port each time.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (wildcard || a.ip().to_canonical() == b.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_clashes_with_every_address_of_its_port() {
        for (a, b, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("[::]:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "10.0.0.1:1", true),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(clash(a.parse().unwrap(), b.parse().unwrap()), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_loopback_is_loopback() {
        for (address, expected) in [
            ("127.8.9.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
        ] {
            assert_eq!(is_loopback(address.parse().unwrap()), expected, "{address}");
        }
    }
}
