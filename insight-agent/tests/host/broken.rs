//! Files that make no sense: nothing is believed of them, everything else is read.

use crate::trees::{copy, files, folder, nginx, read, reader};
use insight_agent::model::host::Pressure;
use proptest::prelude::*;
use std::fs;
use std::time::Instant;

#[test]
fn a_broken_file_gives_none_and_is_counted() {
    let snapshot = read(&folder("broken"), &[nginx()]);
    assert_eq!(snapshot.cpus, None);
    let node = snapshot.node.unwrap();
    assert_eq!((node.system, node.load, node.pressure), (None, None, Pressure::default()));
    assert_eq!((&node.memory, &node.devices, &node.softnet), (&None, &None, &None));
    assert_eq!((&node.netstat, &node.sockstat, &node.conntrack), (&None, &None, &None));
    assert!(node.uname.is_some(), "its files are whole");
    let edge = &snapshot.forwarders[0];
    assert_eq!(edge.pids, [41, 42], "of 43 not even the start is known");
    let worker = edge.threads.iter().find(|thread| thread.tid == 42).unwrap();
    assert_eq!((worker.run_delay, worker.voluntary_switches, &worker.allowed_cpus), (None, None, &None));
    assert_eq!(edge.cgroup, None);
    // /proc/stat, 14 files of the node, 43's stat, the mounts, and two of 42's thread.
    assert_eq!(snapshot.unparsed, 1 + 15 + 1 + 1 + 2);
}

#[test]
fn every_missing_file_is_no_loss_and_takes_nothing_with_it() {
    let tree = copy("hybrid");
    let all = files(tree.path());
    let whole = read(tree.path(), &[nginx()]);
    for file in &all {
        let text = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        let snapshot = read(tree.path(), &[nginx()]);
        assert_eq!(snapshot.unparsed, 0, "without {}", file.display());
        fs::write(file, text).unwrap();
    }
    let again = read(tree.path(), &[nginx()]);
    assert_eq!((again.node, again.forwarders), (whole.node, whole.forwarders));
}

#[test]
fn no_truncated_file_panics_or_invents_a_counter() {
    let tree = copy("hybrid");
    let whole = read(tree.path(), &[nginx()]);
    for file in &files(tree.path()) {
        let text = fs::read(file).unwrap();
        for part in [0, 1, 2, 3] {
            fs::write(file, &text[..text.len() * part / 4]).unwrap();
            let snapshot = read(tree.path(), &[nginx()]);
            if file.ends_with("proc/stat") {
                assert_eq!((snapshot.cpus, snapshot.unparsed), (None, 1));
            } else if file.ends_with("proc/net/dev") && part == 0 {
                assert_eq!(snapshot.node.unwrap().devices, None);
            } else if !file.starts_with(tree.path().join("proc/net")) {
                assert_eq!(snapshot.cpus, whole.cpus, "{} at {part}/4", file.display());
            }
        }
        fs::write(file, text).unwrap();
    }
}

proptest! {
    // Each case reads the tree twice; more of them find nothing that the parsers' own do not.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_in_any_file_panic(which in any::<prop::sample::Index>(), bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let tree = copy("hybrid");
        let all = files(tree.path());
        let file = &all[which.index(all.len())];
        let mut text = fs::read(file).unwrap();
        let mut reader = reader(tree.path(), &[nginx()]);
        fs::write(file, bytes).unwrap();
        let _ = reader.read(Instant::now());
        if !text.is_empty() {
            let at = at.index(text.len());
            text[at] = with;
        }
        fs::write(file, text).unwrap();
        let _ = reader.read(Instant::now());
    }
}
