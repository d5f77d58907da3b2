//! `[discovery.kubernetes]`: which cluster, and which of its services.

use super::words;
use crate::config::check::tls;
use crate::config::errors::{Complaint, Findings};
use crate::config::files;
use crate::config::table::Table;
use crate::config::values::{self, HostPort};
use crate::model::discovery::kubernetes::{KUBERNETES_NAMESPACES_MOST, KubernetesPlan, PortChoice};
use crate::model::plan::TlsPlan;
use std::path::{Path, PathBuf};

/// Where a pod finds what it may use at the API server.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Most services: they stand in the address of each request.
const SERVICES_MOST: usize = 100;

/// The plan. **None**: `findings` has the reasons.
pub(super) fn read(table: &Table<'_>, base: &Path, findings: &mut Findings<'_>) -> Option<KubernetesPlan> {
    let address = table.text("address", findings, values::address);
    let token_file = files::secret(table, "token_file", base, findings);
    if let Some(file) = &token_file {
        files::require_sendable_token(&file.value, &file.site, findings);
    }
    let namespaces = words(table, "namespaces", KUBERNETES_NAMESPACES_MOST, findings);
    let services = words(table, "services", SERVICES_MOST, findings);
    for (key, names) in [("namespaces", &namespaces), ("services", &services)] {
        for name in names.iter().flatten().filter(|name| !is_label(name)) {
            let advice = "use at most 63 lower-case letters, digits and hyphens";
            findings.error(
                &table.stated_site(key, findings),
                format!("\"{name}\" is no name of Kubernetes"),
                advice,
            );
        }
    }
    let label_selector = table.text("labels", findings, selector);
    let endpoint_port = table.text("port", findings, port);
    let ready_only = table.flag("ready_only", findings);
    let tls = tls::read(table, base, findings);
    let token_file = token_file.map(|file| file.value);
    let (address, token_file, tls) = if table.states("address") {
        (address?.value, token_file, tls)
    } else {
        let variable = |name: &str| std::env::var(name).ok();
        match in_cluster(variable) {
            Ok(own) => (own.address, token_file.or(Some(own.token_file)), tls.or(Some(own.tls))),
            Err(complaint) => {
                findings.complain(&table.site_of("address"), complaint);
                return None;
            }
        }
    };
    Some(KubernetesPlan {
        host: address.host,
        port: address.port,
        tls,
        token_file,
        namespaces: namespaces?,
        services: services?,
        label_selector: label_selector.map(|text| text.value),
        endpoint_port: endpoint_port.map(|port| port.value),
        ready_only: ready_only?.value,
    })
}

/// What every pod is given. The files are not looked at: a configuration is checked elsewhere, too.
#[derive(Debug, PartialEq, Eq)]
struct InCluster {
    address: HostPort,
    token_file: PathBuf,
    tls: TlsPlan,
}

fn in_cluster(variable: impl Fn(&str) -> Option<String>) -> Result<InCluster, Complaint> {
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"));
    let (Some(host), Some(port)) = (host, port) else {
        return Err(Complaint::new(
            "this is no pod of a cluster (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set)",
            "add the API server's address, such as address = \"10.96.0.1:443\"",
        ));
    };
    let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let address = values::address(&text).map_err(|complaint| {
        let what =
            format!("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT make {text:?}: {}", complaint.what);
        Complaint::new(what, "correct them, or add address")
    })?;
    let file = |name: &str| Path::new(SERVICE_ACCOUNT).join(name);
    let tls = TlsPlan { ca_file: Some(file("ca.crt")), ..TlsPlan::default() };
    Ok(InCluster { address, token_file: file("token"), tls })
}

/// A name of a namespace or a service (RFC 1123 section 2.1).
fn is_label(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(fits)
}

/// A label selector is read by the API server; what no selector contains is refused here.
fn selector(text: &str) -> Result<String, Complaint> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./=!, ()".contains(c);
    if !text.trim().is_empty() && text.chars().all(fits) {
        return Ok(text.trim().to_owned());
    }
    Err(Complaint::new("not a label selector", "write one such as \"track=stable,tier in (front,back)\""))
}

fn port(text: &str) -> Result<PortChoice, Complaint> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse().ok().filter(|number| *number > 0);
        return number.map(PortChoice::Number).ok_or_else(|| {
            Complaint::new("the port is not a number from 1 to 65535", "write a number, or a port's name")
        });
    }
    if is_label(text) {
        return Ok(PortChoice::Named(text.to_owned()));
    }
    Err(Complaint::new(
        "not the name of a port",
        "write a name such as \"grpc\", or a number such as \"443\"",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_needs_nothing_but_its_environment() {
        let own =
            in_cluster(|name| Some(if name.ends_with("HOST") { "10.96.0.1" } else { "443" }.to_owned()));
        let own = own.unwrap();
        assert_eq!(own.address.to_string(), "10.96.0.1:443");
        assert_eq!(own.token_file, Path::new(SERVICE_ACCOUNT).join("token"));
        assert_eq!(own.tls.ca_file, Some(Path::new(SERVICE_ACCOUNT).join("ca.crt")));
        let dual = in_cluster(|name| Some(if name.ends_with("HOST") { "fd00::1" } else { "443" }.to_owned()));
        assert_eq!(dual.unwrap().address.to_string(), "[fd00::1]:443");
    }

    #[test]
    fn elsewhere_an_address_is_asked_for() {
        assert!(in_cluster(|_| None).unwrap_err().advice.contains("address = "));
        let odd = in_cluster(|_| Some("x".to_owned())).unwrap_err();
        assert!(odd.what.contains("KUBERNETES_SERVICE_PORT make \"x:x\": the port"), "{}", odd.what);
    }

    #[test]
    fn a_port_is_a_number_or_a_name() {
        assert_eq!(port("443"), Ok(PortChoice::Number(443)));
        assert_eq!(port("grpc-web"), Ok(PortChoice::Named("grpc-web".into())));
        for text in ["", "0", "65536", "gRPC", "a b"] {
            assert!(port(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_no_selector_contains_is_refused() {
        for text in ["app=orders", "app in (a,b), !x.io/y", " a!=b "] {
            assert!(selector(text).is_ok(), "{text:?}");
        }
        for text in ["", "  ", "a=\"b\"", "a=b\n", "a&limit=1"] {
            assert!(selector(text).is_err(), "{text:?}");
        }
    }
}
