//! The namespaces and links of a run, made with iproute2.
//!
//! What keeps the regions apart: a node has a route to its region's network and to its own /30
//! of the management network, and to nothing else; everything else of the lab's block is
//! unreachable by an entry of its own. No namespace forwards, and the harness's ends of the
//! management links do not forward even where the host does.

use super::host::{cpu_mask, ip};
use super::inside::{inside, inside_with_sysfs};
use super::names::{RunName, netns_path};
use super::plan::{Region, SEATS, Seat, traffic};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Everything that addresses of any run come from.
const BLOCK: &str = "198.18.0.0/15";
/// The names of a node's devices: region, harness, and the mediaries' end of the WAN.
const REGION_DEVICE: &str = "eth0";
const MANAGEMENT_DEVICE: &str = "mgmt0";
pub(crate) const WAN_DEVICE: &str = "wan0";
/// The bridge in a switch's namespace.
const BRIDGE: &str = "br0";

/// Makes everything; `cpus` tells the CPUs of a node (or, for `None`, of everything else).
///
/// # Errors
/// `ip` is missing or refuses a command: then it is quoted with its answer. What was made by
/// then stays, for the caller to remove.
pub(super) fn create(run: &RunName, cpus: impl Fn(Option<&str>) -> Vec<usize> + Sync) -> Result<()> {
    let parts = parts();
    for part in &parts {
        ip(&["netns", "add", &run.netns(part)])?;
        inside(&netns_path(&run.netns(part)), quiet)
            .and_then(|done| done)
            .with_context(|| format!("prepare the namespace of {part}"))?;
    }
    for region in [Region::Eu, Region::Sg] {
        if let Some(switch) = region.switch() {
            batch(Some(&run.netns(switch)), &switch_commands(run, region))?;
        }
    }
    let links: Vec<String> = SEATS.iter().flat_map(|seat| link_commands(run, seat)).collect();
    batch(None, &links)?;
    for seat in &SEATS {
        no_forwarding(&run.device(seat.index))?;
        batch(Some(&run.netns(seat.node)), &node_commands(run, seat))?;
    }
    // Last: from here on the harness reaches the nodes.
    let harness: Vec<String> = SEATS.iter().flat_map(|seat| harness_commands(run, seat)).collect();
    batch(None, &harness)?;
    for part in &parts {
        let node = SEATS.iter().any(|seat| seat.node == *part).then_some(*part);
        inside_with_sysfs(&netns_path(&run.netns(part)), || steer_packets(None, &cpus(node)))?;
    }
    SEATS.iter().try_for_each(|seat| steer_packets(Some(&run.device(seat.index)), &cpus(None)))
}

/// Nodes and switches: everything that has a namespace.
pub(super) fn parts() -> Vec<&'static str> {
    let switches = [Region::Eu, Region::Sg].into_iter().filter_map(Region::switch);
    switches.chain(SEATS.iter().map(|seat| seat.node)).collect()
}

/// Inside a new namespace: no forwarding, and no IPv6, whose own traffic would only be noise.
fn quiet() -> Result<()> {
    let set = |key: &str, value: &str| {
        let file = Path::new("/proc/sys/net").join(key);
        match fs::write(&file, value) {
            // A kernel without IPv6 has nothing to switch off.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done.with_context(|| format!("write {value} to {}", file.display())),
        }
    };
    set("ipv4/ip_forward", "0")?;
    set("ipv6/conf/all/disable_ipv6", "1")?;
    set("ipv6/conf/default/disable_ipv6", "1")
}

/// Nothing that arrives on this device of the harness goes on to another one.
fn no_forwarding(device: &str) -> Result<()> {
    for (file, value) in [("ipv4/conf/DEV/forwarding", "0"), ("ipv6/conf/DEV/disable_ipv6", "1")] {
        let file = Path::new("/proc/sys/net").join(file.replace("DEV", device));
        if file.exists() {
            fs::write(&file, value).with_context(|| format!("write {value} to {}", file.display()))?;
        }
    }
    Ok(())
}

/// A region's switch: a bridge, and one cable to each node of the region.
fn switch_commands(run: &RunName, region: Region) -> Vec<String> {
    let mut commands = vec![
        "link set lo up".to_owned(),
        format!("link add {BRIDGE} type bridge mcast_snooping 0"),
        format!("link set {BRIDGE} up"),
    ];
    for seat in SEATS.iter().filter(|seat| seat.region == region) {
        let (node, netns) = (seat.node, run.netns(seat.node));
        commands.push(format!("link add {node} type veth peer name {REGION_DEVICE} netns {netns}"));
        commands.push(format!("link set {node} master {BRIDGE} up"));
    }
    commands
}

/// The management link of a node, still down. The alias tells whose it is.
fn link_commands(run: &RunName, seat: &Seat) -> [String; 2] {
    let (device, netns) = (run.device(seat.index), run.netns(seat.node));
    [
        format!("link add {device} type veth peer name {MANAGEMENT_DEVICE} netns {netns}"),
        // `link add` takes an alias and forgets it.
        format!("link set {device} alias {}", run.text()),
    ]
}

/// Inside a node: its addresses, and the one thing it must not reach.
fn node_commands(run: &RunName, seat: &Seat) -> Vec<String> {
    let (subnet, [_, own]) = (run.subnet, seat.management(run.subnet));
    let mut commands = vec![
        "link set lo up".to_owned(),
        format!("route add unreachable {BLOCK}"),
        format!("addr add {own}/30 dev {MANAGEMENT_DEVICE}"),
        format!("link set {MANAGEMENT_DEVICE} up"),
    ];
    let address = seat.address(subnet);
    if seat.region == Region::Between {
        commands.push(format!("addr add {address}/32 dev lo"));
    } else {
        commands.push(format!("addr add {address}/26 dev {REGION_DEVICE}"));
        commands.push(format!("link set {REGION_DEVICE} up"));
    }
    if let Some((own, other)) = seat.wan {
        let [own, other] = [own, other].map(|host| traffic(subnet, host));
        commands.extend([
            format!("tuntap add dev {WAN_DEVICE} mode tun"),
            format!("addr add {own} peer {other} dev {WAN_DEVICE}"),
            format!("link set {WAN_DEVICE} up"),
        ]);
    }
    commands
}

/// In the harness's namespace: the other end, and the routes to what listens on the node.
fn harness_commands(run: &RunName, seat: &Seat) -> Vec<String> {
    let device = run.device(seat.index);
    let [own, node] = seat.management(run.subnet);
    let mut commands = vec![format!("addr add {own}/30 dev {device}"), format!("link set {device} up")];
    let reachable = seat.reachable(run.subnet);
    commands.extend(reachable.map(|address| format!("route add {address}/32 via {node} dev {device}")));
    commands
}

/// Has packets handled on these CPUs, whichever CPU they were sent from: a device hands them
/// over on the sender's. `None` means every device of the namespace.
fn steer_packets(device: Option<&str>, cpus: &[usize]) -> Result<()> {
    let devices = Path::new("/sys/class/net");
    let all = fs::read_dir(devices).context("list /sys/class/net")?.flatten();
    for entry in all.filter(|entry| device.is_none_or(|device| entry.file_name() == device)) {
        let queues = fs::read_dir(entry.path().join("queues")).into_iter().flatten().flatten();
        for queue in queues {
            let file = queue.path().join("rps_cpus");
            // Only receive queues have it, and only where the kernel knows receive steering.
            if file.exists() {
                fs::write(&file, cpu_mask(cpus)).with_context(|| format!("write {}", file.display()))?;
            }
        }
    }
    Ok(())
}

// ── iproute2 ────────────────────────────────────────────────────────────────────────────────

/// Runs commands in one `ip`, in the namespace of that name; the first that fails ends it.
fn batch(netns: Option<&str>, commands: &[String]) -> Result<()> {
    let place = netns.unwrap_or("the harness's namespace");
    let what = || format!("ip -batch in {place}");
    let mut command = Command::new("ip");
    if let Some(netns) = netns {
        command.args(["-netns", netns]);
    }
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{}: is iproute2 installed?", what()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // An `ip` that gave up no longer reads; its own message says why.
        let _ = stdin.write_all((commands.join("\n") + "\n").as_bytes());
    }
    let done = child.wait_with_output().with_context(what)?;
    if !done.status.success() {
        bail!("{}: {} (of: {})", what(), String::from_utf8_lossy(&done.stderr).trim(), commands.join("; "));
    }
    Ok(())
}
