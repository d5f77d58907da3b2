//! Whose sockets are measured, and who says why one is not.

use crate::support::{Bench, GROUP, REQUEST};
use insight_agent::collect::kernel::Kernel;
use insight_agent::collect::kernel::settings::Settings;
use insight_agent::model::kernel::{Reason, State};
use insight_common::kernel::layout::Distribution;
use insight_common::kernel::loss::Measurement;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

/// Sends something and says whether its receive wait was seen.
fn is_seen(bench: &Bench) -> bool {
    let (mut near, mut far) = bench.connect();
    near.write_all(&REQUEST).unwrap();
    far.read_exact(&mut [0; REQUEST.len()]).unwrap();
    // The program ran before the read returned.
    bench.snapshot().of_peer(Distribution::ReceiveWaitAccepted, GROUP).is_some()
}

fn seen_with(name: &str, adapt: impl FnOnce(&mut Settings)) -> Option<bool> {
    Bench::start(name, &[Measurement::ReceiveWait], adapt).map(|bench| is_seen(&bench))
}

#[test]
fn only_sockets_of_the_scopes_namespaces_are_measured() {
    let name = "only_sockets_of_the_scopes_namespaces_are_measured";
    let own = std::fs::metadata("/proc/self/ns/net").unwrap().ino() as u32;
    let with = |inum| seen_with(name, |settings| settings.scope.namespaces = vec![inum]);
    let Some(seen) = with(own) else { return };
    assert!(seen, "the test's own namespace");
    assert_eq!(with(1), Some(false), "a namespace that does not exist");
}

#[test]
fn only_sockets_below_the_scopes_cgroup_are_measured() {
    let name = "only_sockets_below_the_scopes_cgroup_are_measured";
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let Some(root) = mounts.lines().find(|line| line.contains(" - cgroup2 ")) else {
        return insight_lab::skip::skip(
            name,
            insight_lab::skip::SkipReason::Missing("no cgroup2 is mounted"),
        );
    };
    let root = std::path::PathBuf::from(root.split(' ').nth(4).unwrap());
    let with = |path| seen_with(name, |settings| settings.scope.cgroup = Some(path));
    let Some(seen) = with(root.clone()) else { return };
    assert!(seen, "everything lies below the root");
    let other = root.join(format!("insight-test-{}", std::process::id()));
    std::fs::create_dir(&other).unwrap();
    let seen = with(other.clone());
    std::fs::remove_dir(&other).unwrap();
    assert_eq!(seen, Some(false), "a cgroup without this test");
}

#[test]
fn a_measurement_that_nobody_asked_for_is_disabled_and_loads_nothing() {
    let kernel = Kernel::start(&Settings { measurements: vec![], ..Settings::default() });
    assert_eq!(kernel.state(Measurement::SocketRtt), State::Disabled(Reason::Off));
    assert_eq!(kernel.snapshot(), None);
    let wanted = vec![Measurement::Residence];
    let kernel = Kernel::start(&Settings { measurements: wanted, ..Settings::default() });
    assert_eq!(kernel.state(Measurement::Residence), State::Disabled(Reason::NoForwarder));
}
