//! Something for each probe on each kind of connection.

use crate::model::plan::Connection;
use std::collections::HashMap;

/// By the probe's name, then by connection. Asking takes no memory, however many there are. Boxed: most probes
/// have one kind of connection, and a table has room that nobody uses.
#[derive(Debug)]
pub(super) struct ByProbe<T>(HashMap<String, [Option<Box<T>>; Connection::NAMES.len()]>);

impl<T> Default for ByProbe<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> ByProbe<T> {
    /// What there is. **None**: nothing was entered.
    pub(super) fn get(&self, probe: &str, connection: Connection) -> Option<&T> {
        self.0.get(probe)?[connection as usize].as_deref()
    }

    /// What there is; made if there is nothing.
    pub(super) fn entry(&mut self, probe: &str, connection: Connection) -> &mut T
    where
        T: Default,
    {
        if !self.0.contains_key(probe) {
            self.0.insert(probe.to_owned(), [const { None }; Connection::NAMES.len()]);
        }
        let of = self.0.get_mut(probe).expect("it was there, or has just been entered");
        of[connection as usize].get_or_insert_default()
    }

    /// All there is, with the probe's name.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut T)> {
        self.0
            .iter_mut()
            .flat_map(|(probe, of)| of.iter_mut().flatten().map(move |value| (probe.as_str(), &mut **value)))
    }

    /// Takes it out.
    pub(super) fn remove(&mut self, probe: &str, connection: Connection) -> Option<T> {
        self.0.get_mut(probe)?[connection as usize].take().map(|value| *value)
    }

    /// Forgets what does not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(&str, Connection, &T) -> bool) {
        for (probe, of) in &mut self.0 {
            for (connection, slot) in [Connection::Reused, Connection::Fresh].into_iter().zip(of) {
                slot.take_if(|value| !stays(probe, connection, value));
            }
        }
        self.0.retain(|_, of| of.iter().any(Option::is_some));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_a_probe_are_apart_and_go_apart() {
        let mut sums = ByProbe::<u32>::default();
        *sums.entry("a", Connection::Reused) += 1;
        *sums.entry("a", Connection::Fresh) += 2;
        *sums.entry("a", Connection::Reused) += 3;
        *sums.entry("b", Connection::Fresh) += 5;
        assert_eq!(sums.get("a", Connection::Reused), Some(&4));
        assert_eq!(sums.get("b", Connection::Reused), None);
        sums.retain(|probe, connection, value| (probe, connection, *value) == ("a", Connection::Fresh, 2));
        assert_eq!(sums.get("a", Connection::Reused), None);
        assert_eq!(sums.0.len(), 1, "nothing is left of b");
        assert_eq!(
            (sums.remove("a", Connection::Fresh), sums.remove("a", Connection::Fresh)),
            (Some(2), None)
        );
    }
}
