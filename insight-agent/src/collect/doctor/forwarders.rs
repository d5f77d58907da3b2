//! Who forwards on this host, and which other agents run on it?

use crate::collect::host::{Root, Source, detect};
use crate::model::doctor::ForwarderFact;
use crate::model::host::Selector;

/// Forwarders that are looked for when nobody says which there are, by the names of their processes.
pub const KNOWN: [&str; 3] = ["nginx", "haproxy", "envoy"];

/// The agent's own name.
const AGENT: &str = "insight-agent";

/// Selectors of [`KNOWN`].
pub fn known() -> Vec<Selector> {
    KNOWN.iter().map(|name| called(name)).collect()
}

/// The processes of each selector; `configured` says whose selectors they are.
pub fn forwarders(root: &Root, selectors: &[Selector], configured: bool) -> Vec<ForwarderFact> {
    let source = Source::new(root);
    let threads = |pid: &u32| source.numbers(format!("proc/{pid}/task")).len();
    let found = detect(root, selectors).pids;
    let fact = |(selector, pids): (&Selector, Vec<u32>)| ForwarderFact {
        name: selector.name.clone(),
        criteria: criteria(selector),
        configured,
        threads: pids.iter().map(threads).sum(),
        pids,
    };
    selectors.iter().zip(found).map(fact).collect()
}

/// Ids of other agents' processes.
pub fn agents(root: &Root) -> Vec<u32> {
    let own = std::process::id();
    detect(root, &[called(AGENT)]).pids.concat().into_iter().filter(|pid| *pid != own).collect()
}

/// Whether the process is an agent.
pub(super) fn is_agent(root: &Root, pid: u32) -> bool {
    detect(root, &[called(AGENT)]).pids.concat().contains(&pid)
}

fn called(name: &str) -> Selector {
    Selector { name: name.to_owned(), process: Some(name.to_owned()), ..Selector::default() }
}

/// What a selector looks for, as the configuration writes it.
fn criteria(selector: &Selector) -> String {
    let Selector { name: _, process, port, unit, cgroup } = selector;
    let of = [
        process.as_ref().map(|process| format!("process = {process:?}")),
        port.map(|port| format!("port = {port}")),
        unit.as_ref().map(|unit| format!("unit = {unit:?}")),
        cgroup.as_ref().map(|cgroup| format!("cgroup = {:?}", cgroup.display().to_string())),
    ];
    of.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_known_forwarder_is_found_with_its_threads() {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/trees/hybrid");
        let found = forwarders(&Root::new(tree), &known(), false);
        let nginx = &found[0];
        assert_eq!((nginx.name.as_str(), nginx.criteria.as_str()), ("nginx", "process = \"nginx\""));
        assert!(nginx.pids.len() >= 2 && nginx.threads >= nginx.pids.len(), "{nginx:?}");
        assert!(found[1].pids.is_empty() && found[1].threads == 0);
    }

    #[test]
    fn all_that_a_selector_asks_for_is_told() {
        let unit = Some("edge.service".into());
        let selector = Selector { name: "edge".into(), port: Some(443), unit, ..Selector::default() };
        assert_eq!(criteria(&selector), "port = 443, unit = \"edge.service\"");
    }
}
