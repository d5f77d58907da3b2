//! What the agent of a half measures, and whether it does.

use super::apart::Site;
use super::process::Process;
use crate::demo::poll;
use crate::demo::status::Measurement;
use anyhow::{Result, bail};
use insight_lab::Interrupt;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a program may take to be ready on a machine that compiles beside it.
pub const READY_WITHIN: Duration = Duration::from_secs(20);

/// Reasons for which a measurement of the default set is missing rather than not asked for.
const MISSING: [&str; 4] = ["no_btf", "no_forwarder", "hook_absent", "member_absent"];

/// What an agent measures: a word that `kernel.measurements` understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// What is on unless the configuration says otherwise.
    Default,
    /// Everything that there is.
    All,
}

impl Set {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::All => "all",
        }
    }
}

/// A measurement that was asked for and does not run here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Disabled {
    /// Its name.
    pub measurement: String,
    /// Why, as the agent says it.
    pub reason: String,
}

/// Waits until the kernel measurements that an agent's configuration asks for are active; gives
/// those that this machine or this configuration cannot have.
///
/// # Errors
/// One has failed, or one of the default set does not run: its cost would be missing.
pub fn wait_measures(
    agent: &mut Process,
    site: &Site,
    admin: SocketAddr,
    set: Set,
    interrupt: &Interrupt,
) -> Result<Vec<Disabled>> {
    let states = agent.wait_until("measured", READY_WITHIN, interrupt, || {
        // It does not listen at first.
        let states = site.at_node(|| poll::read_status(admin))?.ok().map(|status| status.measurements);
        // The last that is known once the programs are loaded.
        Ok(states.filter(|states| states.iter().any(|state| state.name == "seeding")))
    })?;
    match absent(&states, set) {
        Ok(disabled) => Ok(disabled),
        Err(state) => bail!(
            "the agent's measurement {} is {} ({}), so its share would be missing; the agent's log:\n{}",
            state.name,
            state.state,
            state.reason,
            agent.log_tail()
        ),
    }
}

/// What may be missing of a set. The error is the first that may not.
fn absent(states: &[Measurement], set: Set) -> Result<Vec<Disabled>, &Measurement> {
    let is_lost = |state: &Measurement| {
        state.state == "failed" || (set == Set::Default && MISSING.contains(&state.reason.as_str()))
    };
    if let Some(lost) = states.iter().find(|state| is_lost(state)) {
        return Err(lost);
    }
    // `off` is what nobody asked for.
    let idle = states.iter().filter(|state| state.state == "disabled" && state.reason != "off");
    let disabled =
        |state: &Measurement| Disabled { measurement: state.name.clone(), reason: state.reason.clone() };
    Ok(idle.map(disabled).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, state: &str, reason: &str) -> Measurement {
        Measurement {
            name: name.into(),
            state: state.into(),
            reason: reason.into(),
            ..Measurement::default()
        }
    }

    #[test]
    fn a_failed_measurement_is_named_in_either_set() {
        let states = [state("resets", "active", ""), state("drops", "failed", "refused")];
        for set in [Set::Default, Set::All] {
            assert_eq!(absent(&states, set).unwrap_err().name, "drops");
        }
    }

    #[test]
    fn what_a_kernel_lacks_is_an_error_of_the_default_set_and_listed_of_all() {
        let states = [state("resets", "disabled", "hook_absent"), state("drops", "disabled", "off")];
        assert_eq!(absent(&states, Set::Default).unwrap_err().name, "resets");
        let disabled = Disabled { measurement: "resets".into(), reason: "hook_absent".into() };
        assert_eq!(absent(&states, Set::All).unwrap(), [disabled]);
    }
}
