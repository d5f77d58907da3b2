//! What the readers make of a captured host.

use crate::trees::{copy, folder, read};
use insight_agent::model::host::{CpuTimes, Load, NodeSnapshot, SoftnetTotals};
use std::fs;
use std::time::Duration;

fn node() -> NodeSnapshot {
    read(&folder("hybrid"), &[]).node.unwrap()
}

#[test]
fn each_file_of_the_captured_host_gives_its_figures() {
    let snapshot = read(&folder("hybrid"), &[]);
    assert_eq!((snapshot.unparsed, snapshot.forwarders.len()), (0, 0));
    let cpus = snapshot.cpus.unwrap();
    assert_eq!(
        cpus[&1],
        CpuTimes::from_ticks([793_208, 56_108, 103_375, 651_805, 9956, 0, 11_667, 1379, 0, 0])
    );
    let node = snapshot.node.unwrap();
    assert_eq!(node.load, Some(Load { one: 9.59, five: 5.83, fifteen: 3.47 }));
    assert_eq!(node.pressure.cpu_some, Some(Duration::from_micros(4_322_893_824)));
    assert_eq!(node.pressure.io_full, Some(Duration::from_micros(90_573_678)));
    assert_eq!(node.system.unwrap().boot_time, 1_795_250_598);
    let softnet = &node.softnet.unwrap()[&1];
    assert_eq!(*softnet, SoftnetTotals { processed: 0x0353_94d5, dropped: 0, times_squeezed: 0x16 });
    assert_eq!(node.uname.unwrap().nodename, "node-1");
}

#[test]
fn named_figures_have_node_exporters_names() {
    let node = node();
    let (memory, netstat) = (node.memory.unwrap(), node.netstat.unwrap());
    assert_eq!(memory["MemTotal_bytes"], 24_684_084.0 * 1024.0);
    assert!(memory.contains_key("Active_anon_bytes") && memory.contains_key("HugePages_Total"));
    assert_eq!(netstat["Tcp_RetransSegs"], 61_506.0);
    assert!(netstat.contains_key("TcpExt_ListenOverflows") && netstat.contains_key("Ip6_InOctets"));
    let sockstat = node.sockstat.unwrap();
    assert_eq!((sockstat["sockets_used"], sockstat["TCP_tw"]), (19.0, 619.0));
    assert!(sockstat.contains_key("TCP_mem_bytes") && sockstat.contains_key("FRAG6_memory"));
    let conntrack = node.conntrack.unwrap();
    assert_eq!((conntrack["entries"], conntrack["entries_limit"]), (0.0, 262_144.0));
    assert!(conntrack.contains_key("stat_insert_failed"));
}

#[test]
fn a_device_that_sys_does_not_show_has_no_figure_from_there() {
    let devices = node().devices.unwrap();
    assert_eq!(devices["lo"].receive[0], 14_610_728_031);
    assert_eq!(devices["lo"].receive_nohandler, Some(0));
    assert_eq!(devices["ifb0"].receive_nohandler, None);
}

#[test]
fn an_empty_root_gives_none_and_no_loss() {
    let empty = tempfile::tempdir().unwrap();
    let snapshot = read(empty.path(), &[]);
    assert_eq!((snapshot.cpus, snapshot.node), (None, Some(NodeSnapshot::default())));
    assert_eq!(snapshot.unparsed, 0);
}

#[test]
fn snmp6_absent_leaves_the_other_protocols() {
    let tree = copy("hybrid");
    for file in ["snmp6", "sockstat6"] {
        fs::remove_file(tree.path().join("proc/net").join(file)).unwrap();
    }
    let snapshot = read(tree.path(), &[]);
    let node = snapshot.node.unwrap();
    let netstat = node.netstat.unwrap();
    assert!(netstat.contains_key("Tcp_CurrEstab") && !netstat.contains_key("Ip6_InOctets"));
    assert!(!node.sockstat.unwrap().contains_key("TCP6_inuse"));
    assert_eq!(snapshot.unparsed, 0);
}
