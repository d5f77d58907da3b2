//! What keeps the demo's nodes apart: as much as this machine and this user allow.

use anyhow::{Result, bail};
use clap::ValueEnum;
use insight_lab::{Fault, Isolation};

/// What the command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// namespaces where they can be made, else loopback
    Auto,
    /// Addresses only, without root
    Loopback,
    /// A network namespace and CPUs per node, an agent on every hop, kernel measurements (root)
    Namespaces,
}

impl Choice {
    /// What to start, and a line that says what is done without, where something is. `available`
    /// tells whether namespaces can be had, or why not.
    ///
    /// # Errors
    /// What is asked for cannot be had: namespaces, or a fault that needs them.
    pub fn decide(
        self,
        faults: &[Fault],
        available: impl FnOnce() -> Result<(), String>,
    ) -> Result<(Isolation, Option<String>)> {
        let refused = match self {
            Self::Loopback => Some("--isolation loopback has no namespaces".to_owned()),
            Self::Auto | Self::Namespaces => available().err(),
        };
        let Some(reason) = refused else { return Ok((Isolation::Namespaces, None)) };
        if self == Self::Namespaces {
            bail!("--isolation namespaces: {reason}; run it as root, or with --isolation loopback");
        }
        if let Some(fault) = faults.iter().find(|fault| fault.needs_namespaces()) {
            bail!("fault {fault} needs namespaces, and {reason}; run as root with --isolation namespaces");
        }
        let line = (self == Self::Auto)
            .then(|| format!("on loopback, without kernel measurements and agents on the hops: {reason}"));
        Ok((Isolation::Loopback, line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Result<(), String> {
        Err("namespaces need root".into())
    }

    #[test]
    fn auto_falls_back_with_the_reason_and_takes_namespaces_where_it_can() {
        let (isolation, line) = Choice::Auto.decide(&[], refusal).unwrap();
        assert_eq!(isolation, Isolation::Loopback);
        assert!(line.unwrap().contains("namespaces need root"));
        assert_eq!(Choice::Auto.decide(&[], || Ok(())).unwrap(), (Isolation::Namespaces, None));
    }

    #[test]
    fn what_is_asked_for_and_cannot_be_had_is_an_error_that_says_why() {
        let error = Choice::Namespaces.decide(&[], refusal).unwrap_err().to_string();
        assert!(error.contains("need root") && error.contains("loopback"), "{error}");
        let busy = ["mediary-a-busy".parse().unwrap()];
        for choice in [Choice::Auto, Choice::Loopback] {
            let error = choice.decide(&busy, refusal).unwrap_err().to_string();
            assert!(error.contains("mediary-a-busy=6") && error.contains("namespaces"), "{error}");
        }
        assert!(Choice::Auto.decide(&busy, || Ok(())).is_ok());
    }

    #[test]
    fn loopback_is_taken_without_a_look_and_without_a_word() {
        let never = || -> Result<(), String> { panic!("nobody asked") };
        assert_eq!(Choice::Loopback.decide(&[], never).unwrap(), (Isolation::Loopback, None));
    }
}
