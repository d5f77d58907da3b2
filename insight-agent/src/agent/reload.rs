//! A new configuration while the agent runs: what of it counts at once, and what after a restart?
//!
//! `[kernel]` counts at once where the running one says `reloadable`: its programs are loaded anew, which
//! costs the reports one window. Peer groups keep their names and number, which other figures rest on.

use crate::config::{self, Config};
use std::sync::mpsc::Sender;

/// Takes new configurations of a running agent.
#[derive(Debug)]
pub struct Reloader {
    running: Config,
    kernel: Sender<config::Kernel>,
}

/// What became of a new configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// It says what the running one says.
    Same,
    /// The kernel measurements begin anew as it says. **Names** the sections that wait for a restart.
    Kernel(Vec<&'static str>),
    /// Nothing counts before a restart; with the reason why.
    Nothing(&'static str),
}

impl Reloader {
    pub(super) fn new(running: Config, kernel: Sender<config::Kernel>) -> Self {
        Self { running, kernel }
    }

    /// Makes what can be made of a new configuration.
    pub fn apply(&mut self, new: Config) -> Reloaded {
        let others: Vec<_> = changed(&self.running, &new);
        let (had, wanted) = (&self.running.kernel, new.kernel);
        if text(had) == text(&wanted) {
            return if others.is_empty() {
                Reloaded::Same
            } else {
                Reloaded::Nothing("only [kernel] counts without a restart")
            };
        }
        if !had.reloadable {
            return Reloaded::Nothing("kernel.reloadable is off: what loads programs has been given up");
        }
        let names = |of: &config::Kernel| of.peers.iter().map(|peer| peer.name.clone()).collect::<Vec<_>>();
        if names(had) != names(&wanted) {
            return Reloaded::Nothing("other peer groups than before take a restart");
        }
        // Whether they are kept was decided at the start.
        let wanted = config::Kernel { reloadable: had.reloadable, ..wanted };
        if self.kernel.send(wanted.clone()).is_err() {
            return Reloaded::Nothing("kernel measurements do not run: kernel.enabled is read at the start");
        }
        self.running.kernel = wanted;
        Reloaded::Kernel(others)
    }
}

/// The other sections that differ.
fn changed(old: &Config, new: &Config) -> Vec<&'static str> {
    let sections = [
        ("agent", text(&old.agent) == text(&new.agent)),
        ("metrics", text(&old.metrics) == text(&new.metrics)),
        ("admin", text(&old.admin) == text(&new.admin)),
        ("grpc", text(&old.grpc) == text(&new.grpc)),
        ("probing", text(&old.probing) == text(&new.probing)),
        ("host", text(&old.host) == text(&new.host)),
        ("forwarder", text(&old.forwarders) == text(&new.forwarders)),
        ("node", text(&old.nodes) == text(&new.nodes)),
        ("route", text(&old.routes) == text(&new.routes)),
        ("probe", text(&old.probes) == text(&new.probes)),
    ];
    sections.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

/// All that a section says.
fn text(section: &impl std::fmt::Debug) -> String {
    format!("{section:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    fn config(kernel: &str, more: &str) -> Config {
        let text = format!("[agent]\nregion = \"eu\"\nname = \"node\"\n[kernel]\n{kernel}\n{more}");
        Config::parse(&text, "insight.toml").unwrap().config
    }

    fn reloader(kernel: &str) -> (Reloader, Receiver<config::Kernel>) {
        let (sender, receiver) = channel();
        (Reloader::new(config(kernel, ""), sender), receiver)
    }

    const ON: &str = "reloadable = true";

    #[test]
    fn kernel_measurements_are_replaced_and_other_sections_are_named() {
        let (mut reloader, wanted) = reloader(ON);
        assert_eq!(reloader.apply(config(ON, "")), Reloaded::Same);
        let fewer = format!("{ON}\nmeasurements = [\"connect\"]");
        let host = "[host]\nperiod = \"7s\"\n";
        assert_eq!(reloader.apply(config(&fewer, host)), Reloaded::Kernel(vec!["host"]));
        assert_eq!(wanted.try_recv().unwrap().measurements.len(), 1);
        assert_eq!(reloader.apply(config(&fewer, "")), Reloaded::Same, "it is the running one now");
    }

    #[test]
    fn what_takes_a_restart_changes_nothing_and_says_so() {
        let (mut fixed, wanted) = reloader("");
        assert!(matches!(fixed.apply(config("http2 = false", "")), Reloaded::Nothing(_)));
        assert!(matches!(fixed.apply(config("", "[host]\nperiod = \"7s\"\n")), Reloaded::Nothing(_)));
        assert!(wanted.try_recv().is_err());

        let (mut reloader, wanted) = reloader(ON);
        let peer = "[[kernel.peer]]\nname = \"a\"\nnetworks = [\"10.0.0.0/8\"]\n";
        assert!(matches!(reloader.apply(config(ON, peer)), Reloaded::Nothing(_)));
        assert!(wanted.try_recv().is_err());
        drop(wanted);
        let off = format!("{ON}\nhttp2 = false");
        assert!(matches!(reloader.apply(config(&off, "")), Reloaded::Nothing(_)), "nobody listens");
    }

    #[test]
    fn giving_the_capabilities_up_is_decided_at_the_start() {
        let (mut reloader, wanted) = reloader(ON);
        let off = "reloadable = false\nhttp2 = false";
        assert_eq!(reloader.apply(config(off, "")), Reloaded::Kernel(vec![]));
        assert!(wanted.try_recv().unwrap().reloadable);
    }
}
