//! What did the network devices carry?
//!
//! **Source**: `/proc/net/dev` through `procfs`, of the reader's network namespace; what inactive
//! devices received is only in `/sys/class/net/DEVICE/statistics`. node_exporter asks netlink, and
//! adds the same detailed counters up as the kernel does for the file.

use super::root::Source;
use crate::model::host::DeviceTotals;
use procfs::FromBufRead;
use procfs::net::InterfaceDeviceStatus;
use std::collections::BTreeMap;

/// Every device. **None**: no such file.
pub(super) fn read(source: &Source<'_>) -> Option<BTreeMap<String, DeviceTotals>> {
    let mut devices = source.read("proc/net/dev", parse)?;
    for (name, totals) in &mut devices {
        // No kernel allows a slash; a mangled file shall not lead out of the folder.
        if !name.contains('/') {
            let path = format!("sys/class/net/{name}/statistics/rx_nohandler");
            totals.receive_nohandler = source.number(path);
        }
    }
    Some(devices)
}

/// **None**: a line that is no device's, or no device at all.
pub(super) fn parse(text: &str) -> Option<BTreeMap<String, DeviceTotals>> {
    let devices = InterfaceDeviceStatus::from_buf_read(text.as_bytes()).ok()?.0;
    let totals = devices.into_iter().map(|(name, of)| {
        let receive = [
            of.recv_bytes,
            of.recv_packets,
            of.recv_errs,
            of.recv_drop,
            of.recv_fifo,
            of.recv_frame,
            of.recv_compressed,
            of.recv_multicast,
        ];
        let transmit = [
            of.sent_bytes,
            of.sent_packets,
            of.sent_errs,
            of.sent_drop,
            of.sent_fifo,
            of.sent_colls,
            of.sent_carrier,
            of.sent_compressed,
        ];
        (name, DeviceTotals { receive, transmit, receive_nohandler: None })
    });
    let devices: BTreeMap<_, _> = totals.collect();
    // Every namespace has its loopback device: an empty list is a cut file.
    (!devices.is_empty()).then_some(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n";

    #[test]
    fn columns_keep_their_order() {
        let text = format!(
            "{HEAD}  eth0: 1 2 3 4 5 6 7 8 11 12 13 14 15 16 17 18\n    lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        );
        let devices = parse(&text).unwrap();
        assert_eq!(devices.keys().collect::<Vec<_>>(), ["eth0", "lo"]);
        assert_eq!(devices["eth0"].receive, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(devices["eth0"].transmit, [11, 12, 13, 14, 15, 16, 17, 18]);
    }

    #[test]
    fn a_cut_line_gives_none() {
        assert_eq!(parse(&format!("{HEAD}  eth0: 1 2 3 4\n")), None);
        assert_eq!(parse(&format!("{HEAD}  eth0: 1 2 3 4 5 6 7 8 11 12 13 14 15 16 17 x\n")), None);
    }
}
