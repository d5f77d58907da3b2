//! The two ledgers of one path, entry beside entry.
//!
//! `PROBE` is about the probe's own requests, `WINDOW` about what the nodes report of a window.
//! They stand beside each other and are never mixed: no figure of one fills a gap of the other.

use super::status::{Ledger, Segment, Status};

/// The ledgers of the main probe's path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ledgers<'a> {
    /// Of the main probe's last window. **None**: not yet.
    pub probe: Option<&'a Ledger>,
    /// Of the last window for which the nodes' reports are there. **None**: no node reports.
    pub window: Option<&'a Ledger>,
}

impl<'a> Ledgers<'a> {
    /// Those that `status` has. Ledgers of other probes are passed over where the main one has its
    /// own.
    pub fn of(status: &'a Status) -> Self {
        let main = status.main_probe().map(|probe| probe.probe.as_str());
        let all = || status.paths.iter().flat_map(|path| &path.ledgers);
        let find = |window: bool| {
            let kind = move |ledger: &&Ledger| ledger.is_window() == window;
            let own = all().filter(kind).find(|ledger| ledger.probe.as_deref() == main);
            own.or_else(|| all().find(kind))
        };
        Self { probe: find(false), window: find(true) }
    }

    /// The one whose figures stand where there is room for one only.
    pub fn first(&self) -> Option<&'a Ledger> {
        self.probe.or(self.window)
    }

    /// Entries of the same name beside each other, in path order.
    pub fn entries(&self) -> Vec<Entry<'a>> {
        let mut entries: Vec<Entry<'a>> = segments(self.probe)
            .map(|segment| Entry { name: segment.name(), probe: Some(segment), window: None })
            .collect();
        let mut after = 0;
        for segment in segments(self.window) {
            let name = segment.name();
            let found = entries.iter().position(|entry| entry.name == name);
            // One that the probe's ledger does not have stands behind its predecessor.
            let index = found.unwrap_or_else(|| {
                entries.insert(after, Entry { name, probe: None, window: None });
                after
            });
            entries[index].window = Some(segment);
            after = index + 1;
        }
        entries
    }
}

fn segments(ledger: Option<&Ledger>) -> impl Iterator<Item = &Segment> {
    ledger.into_iter().flat_map(|ledger| &ledger.segments)
}

/// One row of the table.
#[derive(Debug)]
pub struct Entry<'a> {
    /// With the silent hops that it covers.
    pub name: String,
    /// What the probe's requests tell.
    pub probe: Option<&'a Segment>,
    /// What the nodes tell.
    pub window: Option<&'a Segment>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(ledgers: &[(&str, &str, &[&str])]) -> Status {
        let ledgers: Vec<_> = ledgers
            .iter()
            .map(|(kind, probe, names)| {
                let segments: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
                json!({"kind": kind, "probe": probe, "segments": segments})
            })
            .collect();
        serde_json::from_value(json!({
            "paths": [{"ledgers": ledgers}],
            "probes": [{"probe": "sg-insight", "mode": "white-box", "connection": "reused"}],
        }))
        .unwrap()
    }

    fn names(status: &Status) -> Vec<(String, bool, bool)> {
        let entries = Ledgers::of(status).entries();
        entries.into_iter().map(|e| (e.name, e.probe.is_some(), e.window.is_some())).collect()
    }

    #[test]
    fn entries_that_only_one_ledger_has_keep_their_place_on_the_path() {
        let status = status(&[
            ("probe", "sg-insight", &["link:a>b", "hop:b", "link:b>service", "transfer"]),
            ("window", "sg-insight", &["link:a>b", "hop:b", "link:b>c", "hop:c", "service"]),
        ]);
        let expected = [
            ("link:a>b", true, true),
            ("hop:b", true, true),
            ("link:b>c", false, true),
            ("hop:c", false, true),
            ("service", false, true),
            ("link:b>service", true, false),
            ("transfer", true, false),
        ];
        assert_eq!(names(&status), expected.map(|(name, probe, window)| (name.to_owned(), probe, window)));
    }

    #[test]
    fn the_main_probes_own_ledgers_come_first_and_a_missing_one_is_none() {
        let both =
            status(&[("probe", "other", &["x"]), ("probe", "sg-insight", &["y"]), ("window", "", &["z"])]);
        let found = Ledgers::of(&both);
        assert_eq!(found.probe.unwrap().segments[0].name, "y");
        assert_eq!(found.window.unwrap().segments[0].name, "z");
        let one = status(&[("probe", "sg-insight", &["y"])]);
        assert!(Ledgers::of(&one).window.is_none());
        assert!(Ledgers::of(&Status::default()).first().is_none());
    }
}
