//! Everything that was loaded to see whether it loads is gone again.

use crate::support::is_root;
use insight_agent::collect::host::Root;
use insight_agent::collect::kernel::examine::{Trial, examine};
use insight_agent::collect::kernel::settings::{Forwarders, Settings};
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests that load programs into this very process, one at a time: nextest gives each a process of its
/// own, `cargo test` does not.
static OWN_PROGRAMS: Mutex<()> = Mutex::new(());

pub fn alone() -> MutexGuard<'static, ()> {
    OWN_PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many maps, programs and links this process has open.
fn open() -> usize {
    let entries = fs::read_dir("/proc/self/fdinfo").unwrap();
    let infos = entries.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    let is_bpf = |info: &String| ["map_id:", "prog_id:", "link_id:"].iter().any(|key| info.contains(key));
    infos.filter(is_bpf).count()
}

#[test]
fn nothing_stays_loaded() {
    if !is_root("nothing_stays_loaded") {
        return;
    }
    let _alone = alone();
    let before = open();
    let settings =
        Settings { forwarders: Some(Forwarders::one(&[std::process::id()])), ..Settings::default() };
    let mut steps = 0;
    let facts = examine(&Root::default(), Trial::Load(&settings), &mut |_| steps += 1);
    assert!(facts.memory.is_some_and(|memory| memory.maps > 0), "something was loaded: {facts:#?}");
    assert_eq!(open(), before);
    assert!(steps > 2, "and somebody who watches was told of it");
}
