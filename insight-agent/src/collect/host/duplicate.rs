//! Does something else on this host export the same `node_*` families?

use super::detect::find;
use super::listeners::{Listeners, parse};
use super::root::{Root, Source};
use crate::model::host::Selector;

/// Names of the exporter's process and program; the last is the second one as the kernel cuts it.
const NAMES: [&str; 3] = ["node_exporter", "prometheus-node-exporter", "prometheus-node"];

/// The port that it listens on unless told otherwise.
pub const NODE_EXPORTER_PORT: u16 = 9100;

/// A process that is called like node_exporter, with the ports it listens on as far as that may be
/// read; or a listener on its port in this process' network namespace. The port alone counts if
/// `by_port`, that is, if it is not this agent's own. In words. **None**: there is neither.
pub fn node_exporter(root: &Root, by_port: bool) -> Option<String> {
    let source = Source::new(root);
    let called = |name: &&str| Selector {
        name: (*name).to_owned(),
        process: Some((*name).to_owned()),
        ..Selector::default()
    };
    let selectors: Vec<_> = NAMES.iter().map(called).collect();
    let found = find(&source, &selectors).processes;
    if let Some(process) = found.iter().flatten().next() {
        let mut listeners = Listeners::default();
        let mut ports = listeners.ports(&source, process.pid);
        // Of another user, whose sockets may not be read: then its usual port, if that is taken there.
        if ports.is_empty() && by_port && listeners.listens(&source, process.pid, NODE_EXPORTER_PORT) {
            ports.insert(NODE_EXPORTER_PORT);
        }
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        let listens = match &ports[..] {
            [] => String::new(),
            ports => format!(" on port {}", ports.join(", ")),
        };
        return Some(format!("process {} is a node_exporter{listens}", process.pid));
    }
    let listens = |table: &&str| {
        let sockets = source.read(format!("proc/self/net/{table}"), parse).unwrap_or_default();
        sockets.iter().any(|(port, _)| *port == NODE_EXPORTER_PORT)
    };
    let port_is_taken = by_port && ["tcp", "tcp6"].iter().any(listens);
    port_is_taken.then(|| format!("something listens on port {NODE_EXPORTER_PORT}, node_exporter's"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn process(root: &Path, pid: u32, comm: &str) {
        let folder = root.join(format!("proc/{pid}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
        let zeros = "0 ".repeat(48);
        fs::write(folder.join("stat"), format!("{pid} ({comm}) S {zeros}\n")).unwrap();
    }

    #[test]
    fn an_exporter_is_found_by_its_name_however_its_package_calls_it() {
        for comm in ["node_exporter", "prometheus-node"] {
            let folder = tempfile::tempdir().unwrap();
            let root = Root::new(folder.path());
            process(folder.path(), 40, "node_exporter_x");
            assert_eq!(node_exporter(&root, true), None);
            process(folder.path(), 41, comm);
            assert_eq!(node_exporter(&root, true), Some("process 41 is a node_exporter".into()), "{comm}");
        }
    }

    #[test]
    fn an_exporter_that_was_found_is_told_with_its_port() {
        let folder = tempfile::tempdir().unwrap();
        process(folder.path(), 41, "node_exporter");
        let line = " 0: 00000000:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1\n";
        let own = folder.path().join("proc/41");
        fs::create_dir_all(own.join("net")).unwrap();
        fs::write(own.join("net/tcp"), format!("head\n{line}")).unwrap();
        fs::create_dir(own.join("fd")).unwrap();
        std::os::unix::fs::symlink("socket:[4711]", own.join("fd/3")).unwrap();
        let found = node_exporter(&Root::new(folder.path()), true);
        assert_eq!(found, Some("process 41 is a node_exporter on port 9000".into()));
    }

    #[test]
    fn of_an_exporter_whose_sockets_may_not_be_read_its_usual_port_is_told_if_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        process(folder.path(), 41, "node_exporter");
        let line = " 0: 00000000:238C 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1\n";
        fs::create_dir_all(folder.path().join("proc/41/net")).unwrap();
        fs::write(folder.path().join("proc/41/net/tcp"), format!("head\n{line}")).unwrap();
        let found = |by_port| node_exporter(&Root::new(folder.path()), by_port).unwrap();
        assert_eq!(found(true), "process 41 is a node_exporter on port 9100");
        assert_eq!(found(false), "process 41 is a node_exporter", "that port is the agent's own");
    }

    #[test]
    fn its_port_counts_unless_it_is_the_agents_own() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        fs::create_dir_all(folder.path().join("proc/self/net")).unwrap();
        let line = " 0: 00000000:238C 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1\n";
        fs::write(folder.path().join("proc/self/net/tcp"), format!("head\n{line}")).unwrap();
        assert!(node_exporter(&root, true).unwrap().contains("port 9100"));
        assert_eq!(node_exporter(&root, false), None);
    }
}
