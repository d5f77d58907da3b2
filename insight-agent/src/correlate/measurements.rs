//! Which measurements deliver, and why the others do not.

use crate::model::ledger::{LedgerKind, hop_name};
use crate::model::plan::{Connection, Mode};
use crate::model::status::{MeasurementState, MeasurementStatus};
use crate::model::window::{LedgerWindow, ProbeWindow, Window};
use std::collections::{BTreeMap, HashMap, HashSet};

/// States after a window; `None` is before the first one.
///
/// **Shape**: ordered by node and name; one entry per measurement and node.
pub fn measurement_states(node: &str, window: Option<&Window>, probing: bool) -> Vec<MeasurementStatus> {
    let mut states = BTreeMap::new();
    let probe = if !probing {
        state(MeasurementState::Disabled, "off", "no probe is configured: this agent only answers")
    } else {
        match window {
            None => warming_up(),
            Some(window) if window.probes.iter().any(|probe| probe.ended > 0) => active(),
            Some(_) => state(MeasurementState::Failed, "no_answer", "no probe ended in the last window"),
        }
    };
    states.insert((node.to_owned(), "probe".to_owned()), probe);
    if let Some(window) = window {
        let told = Told::of(window);
        for probe in window.probes.iter().filter(|probe| probe.connection == Connection::Reused) {
            if probe.plan.ping && probe.plan.mode != Mode::Link {
                merge(&mut states, node, "ping", ping_state(probe));
            }
            if probe.plan.mode == Mode::WhiteBox {
                let Some(ledger) = told.ledgers.get(probe.plan.name.as_str()) else { continue };
                let answered = ledger.count > 0;
                let known = |segment: &str| ledger.segments.iter().any(|s| s.name == segment && s.count > 0);
                let service = evidence_state(answered, known("service"), "the receiver's duration");
                merge(&mut states, "service", "service_timing", service);
                for hop in &probe.plan.route.hops {
                    let found = told.linked.contains(hop.as_str()) || known(&hop_name(hop));
                    merge(&mut states, hop, "hop_headers", evidence_state(answered, found, "its header"));
                }
            }
        }
        for probe in &window.probes {
            if let Some(ends) = probe.plan.link()
                && probe.connection == Connection::Fresh
            {
                let pings = told.reused_links.get(probe.plan.name.as_str()).copied();
                merge(&mut states, &ends.to, "link", link_state(probe, pings));
            }
            // Through a proxy there are no handshakes with the next hop, and PINGs stand alone.
            if let Some(ends) = probe.plan.link()
                && !probe.plan.connections.contains(&Connection::Fresh)
            {
                merge(&mut states, &ends.to, "link", ping_state(probe));
            }
        }
    }
    states
        .into_iter()
        .map(|((node, name), (state, reason, detail))| MeasurementStatus {
            node,
            name,
            state,
            reason: reason.to_owned(),
            detail,
        })
        .collect()
}

type State = (MeasurementState, &'static str, String);

fn state(state: MeasurementState, reason: &'static str, detail: &str) -> State {
    (state, reason, detail.to_owned())
}

fn active() -> State {
    state(MeasurementState::Active, "", "")
}

fn warming_up() -> State {
    state(MeasurementState::Disabled, "warming_up", "the first window is not complete yet")
}

fn ping_state(probe: &ProbeWindow) -> State {
    let [_, _, _, ping] = probe.rulers;
    match (ping, probe.good) {
        (Some(_), _) => active(),
        (None, 0) => state(MeasurementState::Failed, "no_answer", "no probe was answered in the last window"),
        (None, _) => {
            state(MeasurementState::Failed, "no_evidence", "the next hop answers requests but no PING")
        }
    }
}

/// `pings` is `None` where the probe sends none.
fn link_state(handshakes: &ProbeWindow, pings: Option<&ProbeWindow>) -> State {
    if handshakes.good == 0 {
        return state(MeasurementState::Failed, "no_answer", "no handshake was answered in the last window");
    }
    match pings {
        Some(pings) if pings.ended == 0 => {
            let detail = "handshakes are answered, but no PING counted: the node asked for fewer or is stuck, or this prober starved";
            state(MeasurementState::Failed, "no_evidence", detail)
        }
        // Voided ones are not among the ended: this one was answered, or failed.
        Some(pings) if pings.good == 0 => {
            let detail = "handshakes are answered but no PING: see docs/links.md";
            state(MeasurementState::Failed, "no_evidence", detail)
        }
        _ => active(),
    }
}

fn evidence_state(answered: bool, found: bool, what: &str) -> State {
    if found {
        active()
    } else if answered {
        let detail = format!("answers come, but without {what}: see docs/hop-timing.md");
        (MeasurementState::Failed, "no_evidence", detail)
    } else {
        state(MeasurementState::Failed, "no_answer", "no probe was answered in the last window")
    }
}

/// A window by names: it is asked for each probe, of which there may be thousands.
struct Told<'a> {
    /// What each probe's requests said, by its name.
    ledgers: HashMap<&'a str, &'a LedgerWindow>,
    /// The ends of links with a figure. A hop that told only one of its two times has no entry of its own, but
    /// ends or begins a link.
    linked: HashSet<&'a str>,
    /// PINGs of link probes, by their names.
    reused_links: HashMap<&'a str, &'a ProbeWindow>,
}

impl<'a> Told<'a> {
    fn of(window: &'a Window) -> Self {
        let ledgers = window.paths.iter().flat_map(|path| &path.ledgers);
        let ledgers: HashMap<_, _> = ledgers
            .filter(|ledger| ledger.kind == LedgerKind::Probe)
            .map(|ledger| (ledger.probe.as_str(), ledger))
            .collect();
        let segments = ledgers.values().flat_map(|ledger| &ledger.segments).filter(|s| s.count > 0);
        let links = segments.filter_map(|s| s.name.strip_prefix("link:")?.split_once('>'));
        let linked = links.flat_map(|(from, to)| [from, to]).collect();
        let links = window.probes.iter().filter(|probe| probe.plan.mode == Mode::Link);
        let reused_links = links
            .filter(|probe| probe.connection == Connection::Reused)
            .map(|probe| (probe.plan.name.as_str(), probe))
            .collect();
        Self { ledgers, linked, reused_links }
    }
}

/// Several probes may measure one node: it is active when one of them delivers.
fn merge(states: &mut BTreeMap<(String, String), State>, node: &str, name: &str, new: State) {
    let slot = states.entry((node.to_owned(), name.to_owned())).or_insert_with(|| new.clone());
    if new.0 == MeasurementState::Active {
        *slot = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::fixtures::{hop, link_plan, link_sample, ms, plan, sample};
    use crate::correlate::nodes::NodeWindows;
    use crate::correlate::window::Aggregator;
    use crate::model::plan::ProbePlan;
    use std::sync::Arc;
    use std::time::Instant;

    fn reason(states: &[MeasurementStatus], node: &str, name: &str) -> (MeasurementState, String) {
        let found = states.iter().find(|s| s.node == node && s.name == name);
        let found = found.unwrap_or_else(|| panic!("{node} {name} in {states:?}"));
        (found.state, found.reason.clone())
    }

    #[test]
    fn a_silent_hop_is_named_while_its_neighbour_is_active() {
        let plan = Arc::new(plan("p"));
        let now = Instant::now();
        let mut aggregator = Aggregator::new(vec![Arc::clone(&plan)], now);
        let mut spoken = sample(&plan, now, ms(20));
        spoken.hops.hops = vec![hop("a", 18, 15)];
        spoken.rulers.ping = Some(ms(1));
        aggregator.record(&spoken);
        let states = measurement_states("me", Some(&aggregator.rotate(now, &NodeWindows::default())), true);
        let active = (MeasurementState::Active, String::new());
        assert_eq!(reason(&states, "a", "hop_headers"), active);
        assert_eq!(reason(&states, "service", "service_timing"), active);
        assert_eq!(reason(&states, "me", "ping"), active);
        assert_eq!(reason(&states, "b", "hop_headers"), (MeasurementState::Failed, "no_evidence".into()));
    }

    #[test]
    fn without_answers_nothing_is_active_and_the_reason_says_so() {
        let plan = Arc::new(plan("p"));
        let now = Instant::now();
        let window = Aggregator::new(vec![plan], now).rotate(now, &NodeWindows::default());
        let states = measurement_states("me", Some(&window), true);
        assert!(states.iter().all(|s| s.state == MeasurementState::Failed && s.reason == "no_answer"));
        let before = measurement_states("me", None, true);
        assert_eq!(reason(&before, "me", "probe").1, "warming_up");
        let receiver = measurement_states("me", None, false);
        assert_eq!(reason(&receiver, "me", "probe"), (MeasurementState::Disabled, "off".into()));
    }

    #[test]
    fn a_link_is_active_with_both_rulers_and_names_the_one_that_is_missing() {
        let both = Arc::new(link_plan("both", "me", "a"));
        let mut plain = link_plan("plain", "me", "db");
        plain.ping = false;
        plain.connections = vec![Connection::Fresh];
        let plain = Arc::new(plain);
        let now = Instant::now();
        let mut aggregator = Aggregator::new(vec![Arc::clone(&both), Arc::clone(&plain)], now);
        let mut after = |samples: &[(&Arc<ProbePlan>, Connection)]| {
            for (plan, connection) in samples {
                aggregator.record(&link_sample(plan, *connection, now, ms(1)));
            }
            let states =
                measurement_states("me", Some(&aggregator.rotate(now, &NodeWindows::default())), true);
            assert!(states.iter().all(|s| s.name != "ping"), "no PING goes beside a request: {states:?}");
            ["a", "db"].map(|node| reason(&states, node, "link"))
        };
        let active = (MeasurementState::Active, String::new());
        let failed = |why: &str| (MeasurementState::Failed, why.to_owned());
        let (handshake, ping) = ((&both, Connection::Fresh), (&both, Connection::Reused));
        let plain = (&plain, Connection::Fresh);
        assert_eq!(after(&[handshake, ping, plain]), [active.clone(), active.clone()]);
        assert_eq!(after(&[handshake]), [failed("no_evidence"), failed("no_answer")]);
        assert_eq!(after(&[plain]), [failed("no_answer"), active]);
    }
}
