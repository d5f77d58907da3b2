//! TLS towards a next hop.

use crate::config::errors::Findings;
use crate::config::files;
use crate::config::table::Table;
use crate::config::values;
use crate::model::plan::TlsPlan;
use std::path::Path;

/// The `tls` table below a route or a direct probe. **None**: absent (plaintext), or refused.
pub(super) fn read(table: &Table<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<TlsPlan> {
    let tls = table.table("tls", findings)?;
    let ca_file = files::readable(&tls, "ca_file", base, findings);
    let server_name = tls.text("server_name", findings, values::server_name);
    let has = |key: &str| tls.states(key);
    let lonely = match (has("cert_file"), has("key_file")) {
        (true, false) => Some(("key_file", "cert_file")),
        (false, true) => Some(("cert_file", "key_file")),
        _ => None,
    };
    if let Some((missing, present)) = lonely {
        let advice = format!("add {missing}, or remove {present}");
        findings.error(&tls.site_of(missing), format!("{present} stands without {missing}"), advice);
    }
    let cert_file = files::readable(&tls, "cert_file", base, findings);
    let key_file = files::secret(&tls, "key_file", base, findings);
    Some(TlsPlan {
        ca_file: ca_file.map(|file| file.value),
        server_name: server_name.map(|name| name.value),
        client_identity: cert_file.zip(key_file).map(|(cert, key)| (cert.value, key.value)),
    })
}
