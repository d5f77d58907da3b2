//! The `node_*` families of a snapshot.

use super::super::numbers::NumberRow;
use super::super::registry::Family;
use crate::model::host::{
    CpuTimes, DeviceTotals, Figures, Load, NodeSnapshot, Pressure, SoftnetTotals, SystemTotals,
    TICKS_PER_SECOND, Uname,
};
use crate::model::series::Series;
use crate::model::series::host::{conntrack, cpu, memory, netstat, network, pressure, sockstat, system};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

const CPU_SECONDS: NumberRow<2> = NumberRow::of(&cpu::SECONDS);
const CPU_GUEST_SECONDS: NumberRow<2> = NumberRow::of(&cpu::GUEST_SECONDS);
const UNAME: NumberRow<6> = NumberRow::of(&system::UNAME);
const TIME: NumberRow<0> = NumberRow::of(&system::TIME);

/// Every `node_*` family that has a figure.
pub(super) fn families(node: &NodeSnapshot, cpus: Option<&BTreeMap<u32, CpuTimes>>) -> Vec<Family> {
    let mut families = Vec::new();
    families.extend(cpus.into_iter().flat_map(cpu_families));
    families.extend(node.system.iter().flat_map(system_families));
    families.extend(node.load.iter().flat_map(load_families));
    families.extend(pressure_families(&node.pressure));
    families.extend(node.devices.iter().flat_map(device_families));
    families.extend(node.softnet.iter().flat_map(softnet_families));
    families.extend(node.uname.iter().map(uname_family));
    families.push(time_family());
    for (figures, prefix, rows) in [
        (&node.memory, memory::PREFIX, memory::SERIES),
        (&node.netstat, netstat::PREFIX, netstat::SERIES),
        (&node.sockstat, sockstat::PREFIX, sockstat::SERIES),
        (&node.conntrack, conntrack::PREFIX, conntrack::SERIES),
    ] {
        families.extend(figures.iter().flat_map(|figures| named_families(figures, prefix, rows)));
    }
    families
}

/// Each row that begins with `prefix` and has a figure by the rest of its name.
fn named_families(figures: &Figures, prefix: &str, rows: &'static [Series]) -> Vec<Family> {
    let figure = |row: &Series| row.name.strip_prefix(prefix).and_then(|name| figures.get(name)).copied();
    rows.iter().map(|row| NumberRow::of(row).single(figure(row))).collect()
}

fn cpu_families(cpus: &BTreeMap<u32, CpuTimes>) -> [Family; 2] {
    let seconds = |ticks: u64| Some(ticks as f64 / TICKS_PER_SECOND as f64);
    let (mut modes, mut guests) = (CPU_SECONDS.family(), CPU_GUEST_SECONDS.family());
    for (number, times) in cpus {
        let number = number.to_string();
        for (mode, ticks) in CpuTimes::MODES.into_iter().zip(times.modes()) {
            modes.put([&number, mode], seconds(ticks));
        }
        for (mode, ticks) in cpu::GUEST_MODES.into_iter().zip([times.guest, times.guest_nice]) {
            guests.put([&number, mode], seconds(ticks));
        }
    }
    [modes.into_family(), guests.into_family()]
}

fn single(row: &'static Series, value: f64) -> Family {
    NumberRow::of(row).single(Some(value))
}

fn system_families(totals: &SystemTotals) -> [Family; 6] {
    [
        single(&system::INTERRUPTS, totals.interrupts as f64),
        single(&system::CONTEXT_SWITCHES, totals.context_switches as f64),
        single(&system::FORKS, totals.forks as f64),
        single(&system::BOOT_TIME, totals.boot_time as f64),
        single(&system::RUNNING, totals.running as f64),
        single(&system::BLOCKED, totals.blocked as f64),
    ]
}

fn load_families(load: &Load) -> [Family; 3] {
    [
        single(&system::LOAD1, load.one),
        single(&system::LOAD5, load.five),
        single(&system::LOAD15, load.fifteen),
    ]
}

fn pressure_families(stalls: &Pressure) -> [Family; 5] {
    let single = |row: &'static Series, stall: Option<Duration>| {
        NumberRow::of(row).single(stall.map(|stall| stall.as_secs_f64()))
    };
    [
        single(&pressure::CPU_WAITING, stalls.cpu_some),
        single(&pressure::IO_WAITING, stalls.io_some),
        single(&pressure::IO_STALLED, stalls.io_full),
        single(&pressure::MEMORY_WAITING, stalls.memory_some),
        single(&pressure::MEMORY_STALLED, stalls.memory_full),
    ]
}

fn device_families(devices: &BTreeMap<String, DeviceTotals>) -> Vec<Family> {
    let family = |row: &'static Series, total: &dyn Fn(&DeviceTotals) -> Option<u64>| {
        let mut family = NumberRow::<1>::of(row).family();
        for (name, totals) in devices {
            family.put([name], total(totals).map(|total| total as f64));
        }
        family.into_family()
    };
    let received = network::RECEIVE_ROWS.iter().enumerate();
    let sent = network::TRANSMIT_ROWS.iter().enumerate();
    let mut families: Vec<_> =
        received.map(|(at, row)| family(row, &|totals| Some(totals.receive[at]))).collect();
    families.extend(sent.map(|(at, row)| family(row, &|totals| Some(totals.transmit[at]))));
    families.push(family(&network::RECEIVE_NOHANDLER, &|totals| totals.receive_nohandler));
    families
}

fn softnet_families(cpus: &BTreeMap<u32, SoftnetTotals>) -> [Family; 3] {
    let family = |row: &'static Series, total: fn(&SoftnetTotals) -> u64| {
        let mut family = NumberRow::<1>::of(row).family();
        for (number, totals) in cpus {
            family.put([&number.to_string()], Some(total(totals) as f64));
        }
        family.into_family()
    };
    [
        family(&network::PROCESSED, |totals| totals.processed),
        family(&network::DROPPED, |totals| totals.dropped),
        family(&network::SQUEEZED, |totals| totals.times_squeezed),
    ]
}

fn uname_family(uname: &Uname) -> Family {
    let mut family = UNAME.family();
    let Uname { sysname, release, version, machine, nodename, domainname } = uname;
    family.put([sysname, release, version, machine, nodename, domainname], Some(1.0));
    family.into_family()
}

/// The clock at the scrape, not at the reading: alerts on it compare it with Prometheus' own.
fn time_family() -> Family {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    TIME.single(now.ok().map(|now| now.as_secs_f64()))
}
