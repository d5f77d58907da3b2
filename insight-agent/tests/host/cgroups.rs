//! CPU quota and throttling on hosts of each kind.

use crate::trees::{copy, edit, folder, nginx, read, reader};
use insight_agent::model::host::{CgroupCpu, Selector};
use std::fs;
use std::time::{Duration, Instant};

fn cgroup(tree: &str) -> CgroupCpu {
    read(&folder(tree), &[nginx()]).forwarders[0].cgroup.unwrap()
}

#[test]
fn version_one_is_read_in_nanoseconds() {
    let expected = CgroupCpu {
        periods: 400,
        throttled_periods: 40,
        throttled: Duration::from_millis(1500),
        quota_cores: Some(1.5),
        period: Some(Duration::from_millis(100)),
    };
    assert_eq!(cgroup("v1"), expected);
}

#[test]
fn a_hybrid_hosts_version_one_group_is_read_though_version_two_is_mounted() {
    let cgroup = cgroup("hybrid");
    assert_eq!((cgroup.periods, cgroup.throttled_periods), (30, 3));
    assert_eq!((cgroup.throttled, cgroup.quota_cores), (Duration::from_millis(250), Some(0.5)));
}

#[test]
fn version_two_is_read_in_microseconds_and_groups_are_added_up() {
    // The service's own quota, and of the container the one of its pod.
    let cgroup = cgroup("v2");
    assert_eq!((cgroup.periods, cgroup.throttled_periods), (1500, 150));
    assert_eq!(cgroup.throttled, Duration::from_micros(3_250_000));
    assert_eq!(cgroup.quota_cores, Some(2.5));
    assert_eq!(cgroup.period, None, "100 ms and 50 ms");
}

#[test]
fn without_a_quota_there_are_periods_and_no_cores() {
    let tree = copy("v1");
    let quota = "sys/fs/cgroup/cpu,cpuacct/system.slice/nginx.service/cpu.cfs_quota_us";
    edit(tree.path(), quota, "150000", "-1");
    let cgroup = read(tree.path(), &[nginx()]).forwarders[0].cgroup.unwrap();
    assert_eq!((cgroup.periods, cgroup.quota_cores, cgroup.period), (400, None, None));
}

#[test]
fn a_version_two_group_without_the_controller_gives_none() {
    let tree = copy("v2");
    let one = Selector { unit: Some("nginx".into()), ..nginx() };
    fs::remove_dir_all(tree.path().join("sys/fs/cgroup/system.slice")).unwrap();
    let snapshot = read(tree.path(), &[one]);
    assert_eq!(snapshot.forwarders[0].pids, [41]);
    assert_eq!((snapshot.forwarders[0].cgroup, snapshot.unparsed), (None, 0));
}

#[test]
fn a_group_that_was_made_anew_does_not_let_a_counter_fall() {
    let tree = copy("v1");
    let stat = tree.path().join("sys/fs/cgroup/cpu,cpuacct/system.slice/nginx.service/cpu.stat");
    let mut reader = reader(tree.path(), &[nginx()]);
    let mut periods = || reader.read(Instant::now()).forwarders[0].cgroup.unwrap().periods;
    assert_eq!(periods(), 400);
    fs::write(&stat, "nr_periods 2\nnr_throttled 0\nthrottled_time 0\n").unwrap();
    assert_eq!(periods(), 402);
    fs::remove_file(&stat).unwrap();
    fs::remove_file(tree.path().join("sys/fs/cgroup/cpu,cpuacct/system.slice/cpu.stat")).unwrap();
    fs::remove_file(tree.path().join("sys/fs/cgroup/cpu,cpuacct/cpu.stat")).unwrap();
    assert_eq!(periods(), 402);
}
