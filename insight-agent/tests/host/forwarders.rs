//! Finding forwarders, and counters that outlive their processes.

use crate::trees::{copy, copy_into, edit, folder, nginx, read, reader};
use insight_agent::collect::host::{Root, detect};
use insight_agent::model::host::{MAX_FORWARDERS, MAX_PROCESSES, Selector, ThreadState};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

fn found(tree: &Path, selectors: &[Selector]) -> Vec<Vec<u32>> {
    detect(&Root::new(tree), selectors).pids
}

fn by(change: impl FnOnce(&mut Selector)) -> Vec<Selector> {
    let mut selector = Selector { name: "edge".into(), ..Selector::default() };
    change(&mut selector);
    vec![selector]
}

#[test]
fn a_process_is_found_by_name_program_port_unit_and_group() {
    let tree = copy("hybrid");
    // Started under another name, and updated since.
    edit(tree.path(), "proc/43/comm", "nginx", "renamed");
    fs::remove_file(tree.path().join("proc/43/exe")).unwrap();
    symlink("/usr/sbin/nginx (deleted)", tree.path().join("proc/43/exe")).unwrap();
    let all = [vec![41, 42, 43]];
    assert_eq!(found(tree.path(), &by(|of| of.process = Some("nginx".into()))), all);
    assert_eq!(found(tree.path(), &by(|of| of.process = Some("renamed".into()))), [vec![43]]);
    assert_eq!(found(tree.path(), &by(|of| of.port = Some(8443))), all);
    assert_eq!(found(tree.path(), &by(|of| of.unit = Some("nginx.service".into()))), all);
    assert_eq!(found(tree.path(), &by(|of| of.unit = Some("nginx".into()))), all);
    assert_eq!(found(tree.path(), &by(|of| of.cgroup = Some("/forwarders".into()))), all);
    assert_eq!(found(tree.path(), &by(|of| of.cgroup = Some("/system.slice".into()))), all);
    let folder = "/sys/fs/cgroup/cpu/forwarders";
    assert_eq!(found(tree.path(), &by(|of| of.cgroup = Some(folder.into()))), all);
}

#[test]
fn what_only_resembles_is_not_found() {
    let tree = folder("hybrid");
    let none = [Vec::<u32>::new()];
    assert_eq!(found(&tree, &by(|of| of.process = Some("ngin".into()))), none);
    assert_eq!(found(&tree, &by(|of| of.port = Some(8444))), none);
    assert_eq!(found(&tree, &by(|of| of.unit = Some("gin".into()))), none);
    assert_eq!(found(&tree, &by(|of| of.cgroup = Some("/forward".into()))), none);
    assert_eq!(found(&tree, &by(|_| {})), none, "nothing but a name");
}

#[test]
fn all_that_a_selector_gives_must_hold() {
    let tree = copy("hybrid");
    // One worker has let its listening sockets go.
    fs::remove_dir_all(tree.path().join("proc/42/fd")).unwrap();
    let both = by(|of| (of.process, of.port) = (Some("nginx".into()), Some(8443)));
    assert_eq!(found(tree.path(), &both), [vec![41, 43]]);
}

#[test]
fn a_port_is_looked_for_in_the_process_own_namespace() {
    let tree = copy("hybrid");
    fs::remove_file(tree.path().join("proc/43/ns/net")).unwrap();
    symlink("net:[1]", tree.path().join("proc/43/ns/net")).unwrap();
    for table in ["tcp", "tcp6"] {
        fs::write(tree.path().join("proc/43/net").join(table), "  sl  local_address\n").unwrap();
    }
    assert_eq!(found(tree.path(), &by(|of| of.port = Some(8443))), [vec![41, 42]]);
}

#[test]
fn a_process_counts_for_the_first_selector_that_matches() {
    let mut selectors = by(|of| of.port = Some(8443));
    selectors.extend(by(|of| of.process = Some("nginx".into())));
    assert_eq!(found(&folder("hybrid"), &selectors), [vec![41, 42, 43], vec![]]);
}

#[test]
fn what_is_beyond_the_bounds_is_counted() {
    let tree = copy("hybrid");
    for pid in 1000..1000 + MAX_PROCESSES as u32 {
        copy_into(&folder("hybrid/proc/41"), &tree.path().join("proc").join(pid.to_string()));
    }
    let detection = detect(&Root::new(tree.path()), &[nginx()]);
    assert_eq!((detection.pids[0].len(), detection.capped), (MAX_PROCESSES, 3));
    let many = vec![Selector { process: None, ..nginx() }; MAX_FORWARDERS + 2];
    let detection = detect(&Root::new(tree.path()), &many);
    assert_eq!((detection.pids.len(), detection.capped), (MAX_FORWARDERS, 2));
}

#[test]
fn a_snapshot_has_the_threads_and_their_sums() {
    let snapshot = read(&folder("hybrid"), &[nginx()]);
    let edge = &snapshot.forwarders[0];
    assert_eq!((edge.name.as_str(), edge.pids.as_slice()), ("edge", [41, 42, 43].as_slice()));
    let names: Vec<_> = edge.threads.iter().map(|thread| (thread.tid, thread.name.as_str())).collect();
    assert_eq!(names, [(41, "nginx"), (42, "nginx"), (43, "nginx")]);
    assert!(edge.threads.iter().all(|thread| thread.state == ThreadState::Sleeping));
    assert_eq!(edge.allowed_cpus, Some([0, 1].into()));
    let totals = edge.totals.unwrap();
    // 779863, 8014571 and 8118416 ns in the three schedstat files.
    assert_eq!(totals.run_delay, Some(Duration::from_nanos(16_912_850)));
    assert_eq!(edge.allowed_busy, None, "there was no reading before");
    assert_eq!((snapshot.unparsed, snapshot.capped), (0, 0));
}

#[test]
fn counters_do_not_fall_when_a_worker_ends_or_its_id_is_used_again() {
    let tree = copy("hybrid");
    for (pid, faults) in [(41, "27 0 0 0"), (42, "123 0 2 0"), (43, "123 0 3 0")] {
        let file = format!("proc/{pid}/stat");
        edit(tree.path(), &file, &format!(" {faults} 0 0 "), &format!(" {faults} {pid}0 0 "));
    }
    let mut reader = reader(tree.path(), &[nginx()]);
    // Far enough apart for a look for new processes at each.
    let mut now = Instant::now();
    let mut totals = || {
        now += Duration::from_secs(10);
        reader.read(now).forwarders[0].totals.unwrap()
    };
    let first = totals();
    assert_eq!(first.user, Duration::from_millis((410 + 420 + 430) * 10));
    // A worker ends: it stays counted.
    fs::rename(tree.path().join("proc/43"), tree.path().join("ended")).unwrap();
    assert_eq!(totals(), first);
    // Its id belongs to another one now, which has used less.
    fs::rename(tree.path().join("ended"), tree.path().join("proc/43")).unwrap();
    for file in ["proc/43/stat", "proc/43/task/43/stat"] {
        edit(tree.path(), file, " 1632793 ", " 9999999 ");
    }
    edit(tree.path(), "proc/43/stat", " 430 0 ", " 5 0 ");
    fs::write(tree.path().join("proc/43/task/43/schedstat"), "1 1000 1\n").unwrap();
    let later = totals();
    assert_eq!(later.user, first.user + Duration::from_millis(50));
    assert_eq!(later.run_delay, Some(first.run_delay.unwrap() + Duration::from_micros(1)));
    // All of them end: what they had counted is left.
    for pid in [41, 42, 43] {
        fs::remove_dir_all(tree.path().join("proc").join(pid.to_string())).unwrap();
    }
    assert_eq!(totals(), later);
}

#[test]
fn the_busy_share_is_of_the_cpus_that_the_threads_may_use() {
    let tree = copy("hybrid");
    for pid in [41, 42, 43] {
        let status = format!("proc/{pid}/task/{pid}/status");
        edit(tree.path(), &status, "Cpus_allowed_list:\t0-1", "Cpus_allowed_list:\t1");
    }
    let rest = "intr 1\nctxt 1\nbtime 1\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n";
    let stat = |one: &str| format!("cpu0 0 0 0 500 0 0 0 0 0 0\ncpu1 {one} 0 0 0\n{rest}");
    let mut reader = reader(tree.path(), &[nginx()]);
    fs::write(tree.path().join("proc/stat"), stat("100 0 0 100 0 0 0")).unwrap();
    assert_eq!(reader.read(Instant::now()).forwarders[0].allowed_busy, None);
    fs::write(tree.path().join("proc/stat"), stat("175 0 0 125 0 0 0")).unwrap();
    let edge = reader.read(Instant::now()).forwarders.remove(0);
    assert_eq!((edge.allowed_cpus, edge.allowed_busy), (Some([1].into()), Some(0.75)));
}

#[test]
fn a_worker_that_was_started_later_is_found_at_the_next_look() {
    let tree = copy("hybrid");
    fs::rename(tree.path().join("proc/43"), tree.path().join("later")).unwrap();
    let mut reader = reader(tree.path(), &[nginx()]);
    let now = Instant::now();
    let mut pids = |after| reader.read(now + Duration::from_secs(after)).forwarders[0].pids.clone();
    assert_eq!(pids(0), [41, 42]);
    fs::rename(tree.path().join("later"), tree.path().join("proc/43")).unwrap();
    assert_eq!(pids(5), [41, 42], "not before its time");
    assert_eq!(pids(10), [41, 42, 43]);
}

#[test]
fn a_forwarder_that_never_ran_has_no_counters() {
    let snapshot = read(&folder("hybrid"), &by(|of| of.process = Some("envoy".into())));
    let envoy = &snapshot.forwarders[0];
    assert_eq!((envoy.pids.len(), envoy.totals, envoy.cgroup), (0, None, None));
    assert_eq!((envoy.allowed_cpus.as_ref(), envoy.allowed_busy), (None, None));
}
