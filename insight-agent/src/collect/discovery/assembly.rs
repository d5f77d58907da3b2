//! One roster out of several watches: what each of them knows last, and which of them fail.

use super::Outlet;
use crate::model::discovery::{Endpoint, Found, LookupFailure};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A roster that did not change is told again when a registry confirmed it and it was last told so long ago: then its
/// age is that of the last word from the registry, and not of the last change.
const CONFIRM: Duration = Duration::from_secs(30);

/// What a watch tells: its key, and everyone it knows of.
pub(super) type Told = (String, Result<Vec<Endpoint>, LookupFailure>);

/// The parts of a roster by the watches' keys.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    wanted: BTreeSet<String>,
    known: BTreeMap<String, Vec<Endpoint>>,
    failing: BTreeMap<String, LookupFailure>,
    /// The last roster, and when it was told.
    told: Option<(Found, Instant)>,
}

impl Assembly {
    /// Whose parts make up the roster from now on. Others are forgotten.
    pub fn want(&mut self, keys: BTreeSet<String>) {
        self.known.retain(|key, _| keys.contains(key));
        self.failing.retain(|key, _| keys.contains(key));
        self.wanted = keys;
    }

    /// What a watch tells. What is to be told on, in this order: each failure, and the roster when it is another
    /// one or no watch fails any more. As long as a watch has never known its part, there is no whole roster.
    pub fn learn(&mut self, told: Told, now: Instant) -> Vec<Found> {
        let (key, what) = told;
        if !self.wanted.contains(&key) {
            // A watch that has just been ended.
            return Vec::new();
        }
        match what {
            Err(failure) => {
                self.failing.insert(key, failure.clone());
                vec![Found::Failed(failure)]
            }
            Ok(endpoints) => {
                let recovered = self.failing.remove(&key).is_some() && self.failing.is_empty();
                self.known.insert(key, endpoints);
                self.whole(recovered, now)
            }
        }
    }

    /// The whole roster, if it is known and news: by itself, as the end of a trouble, or by its age.
    fn whole(&mut self, recovered: bool, now: Instant) -> Vec<Found> {
        if self.wanted.iter().any(|key| !self.known.contains_key(key)) {
            return Vec::new();
        }
        let found = Found::roster(self.known.values().flatten().cloned().collect());
        let old = self.told.as_ref().is_some_and(|(last, at)| {
            let recent = now.saturating_duration_since(*at) < CONFIRM;
            *last == found && !recovered && (recent || !self.failing.is_empty())
        });
        if old {
            return Vec::new();
        }
        self.told = Some((found.clone(), now));
        // A roster would read as if all were well.
        let still_failing = self.failing.values().next().cloned().map(Found::Failed);
        std::iter::once(found).chain(still_failing).collect()
    }
}

/// Tells what an assembly has found.
pub(super) async fn tell(outlet: &Outlet, all: Vec<Found>) {
    for found in all {
        match found {
            Found::Roster(endpoints) => outlet.roster(endpoints).await,
            Found::Unchanged => outlet.unchanged().await,
            Found::Failed(failure) => outlet.failed(failure).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::discovery::LookupClass;

    fn endpoint(name: &str) -> Endpoint {
        Endpoint { name: name.into(), host: "h".into(), port: 1, meta: BTreeMap::new() }
    }

    fn failure(detail: &str) -> LookupFailure {
        LookupFailure { class: LookupClass::Timeout, detail: detail.into() }
    }

    fn assembly(keys: &[&str]) -> Assembly {
        let mut assembly = Assembly::default();
        assembly.want(keys.iter().map(|key| (*key).to_owned()).collect());
        assembly
    }

    fn roster(names: &[&str]) -> Found {
        Found::Roster(names.iter().map(|name| endpoint(name)).collect())
    }

    fn ok(key: &str, names: &[&str]) -> Told {
        (key.into(), Ok(names.iter().map(|name| endpoint(name)).collect()))
    }

    #[test]
    fn nothing_is_whole_before_each_part_was_known_once() {
        let (mut assembly, now) = (assembly(&["a", "b"]), Instant::now());
        assert_eq!(assembly.learn(ok("a", &["x"]), now), []);
        assert_eq!(assembly.learn(ok("b", &[]), now), [roster(&["x"])]);
        assert_eq!(assembly.learn(ok("b", &["y"]), now), [roster(&["x", "y"])]);
    }

    #[test]
    fn a_failing_part_keeps_what_it_knew_and_stays_told_until_it_recovers() {
        let (mut assembly, now) = (assembly(&["a", "b"]), Instant::now());
        assembly.learn(ok("a", &["x"]), now);
        assembly.learn(ok("b", &["y"]), now);
        let failed = Found::Failed(failure("late"));
        let told = assembly.learn(("a".into(), Err(failure("late"))), now);
        assert_eq!(told, std::slice::from_ref(&failed));
        assert_eq!(assembly.learn(ok("b", &["y"]), now), []);
        assert_eq!(assembly.learn(ok("b", &["y", "z"]), now), [roster(&["x", "y", "z"]), failed]);
        assert_eq!(assembly.learn(ok("a", &["x"]), now), [roster(&["x", "y", "z"])]);
    }

    #[test]
    fn the_same_roster_is_told_again_only_when_it_has_become_old() {
        let (mut assembly, now) = (assembly(&["a"]), Instant::now());
        assert_eq!(assembly.learn(ok("a", &["x"]), now), [roster(&["x"])]);
        assert_eq!(assembly.learn(ok("a", &["x"]), now), []);
        assert_eq!(assembly.learn(ok("a", &["x"]), now + CONFIRM), [roster(&["x"])]);
    }

    #[test]
    fn what_is_not_wanted_any_more_goes_with_its_failure() {
        let (mut assembly, now) = (assembly(&["a", "b"]), Instant::now());
        assembly.learn(ok("a", &["x"]), now);
        assembly.learn(ok("b", &["y"]), now);
        assembly.learn(("b".into(), Err(failure("late"))), now);
        assembly.want(["a".to_owned()].into());
        assert_eq!(assembly.whole(true, now), [roster(&["x"])]);
        assert_eq!(assembly.learn(ok("b", &["y"]), now), []);
    }

    #[test]
    fn nobody_wanted_is_an_empty_roster() {
        assert_eq!(assembly(&[]).whole(false, Instant::now()), [roster(&[])]);
    }
}
