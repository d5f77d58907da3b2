//! What happens in a row, one thing after the other, with a reading between each.

use super::ground::{Ground, Stand};
use super::inject::{self, STOP, Stop};
use super::reading::{Reading, Span};
use super::rows::{HOLD, LINK, Proxy, Row};
use super::traffic::{Seen, Traffic};
use crate::bench::scrapes::pause;
use anyhow::{Context, Result};
use insight_lab::control;
use insight_lab::forwarder::{ForwarderRequest, ForwarderState};
use insight_lab::relay::RelaySettings;
use std::time::Duration;

/// Share of packets that get lost on the link to the origin, in either direction.
const LOSS: f64 = 0.04;

/// Threads that use the CPUs beside the proxy, on two.
const SPINNERS: u32 = 6;

/// How long the rough part lasts. **Unit**: s.
const ROUGH: u32 = 2;

/// Everything that a row's cells are judged by.
pub struct Happened {
    /// The row's traffic alone.
    pub calm: Span,
    /// What its callers saw.
    pub seen: Seen,
    /// A stop with probes, resets, datagrams, and a caller who does not read. No traffic.
    pub quiet: Span,
    /// What is known of the stop.
    pub stop: Stop,
    /// How long connecting to the origin took from the node, for others than the proxy. **Unit**: s.
    pub connects: Vec<f64>,
    /// What is known of the caller who did not read.
    pub stall: Stop,
    /// Traffic, and a stop in the middle of it.
    pub stopped: Span,
    /// What its callers saw.
    pub seen_stopped: Seen,
    /// Traffic over a link that loses, on CPUs that are not free.
    pub rough: Span,
    /// All of it.
    pub whole: Span,
    /// Bytes that HAProxy has spliced. **None**: it is another proxy.
    pub spliced: Option<u64>,
}

/// Does it.
///
/// # Errors
/// A program failed, requests were not answered, or Ctrl-C.
pub fn run(ground: &Ground<'_>, row: Row, stand: &Stand, seconds: u32) -> Result<Happened> {
    let target = stand.addresses.forwarder;
    let read = || Reading::take(ground.site, stand.addresses.metrics, &stand.proxy, ground.interrupt);
    let is_held = row.proxy() == Proxy::WorkStealing;
    if is_held {
        hold(ground, HOLD)?;
    }
    let start = read()?;
    let seen = Traffic::start(ground, row, target, seconds, row.burns())?.finish(ground)?;
    let calm = read()?;
    if is_held {
        hold(ground, Duration::ZERO)?;
    }

    let stop = inject::stop_with_probes(ground, stand)?;
    let connects = inject::connects(ground, stand.addresses.origin)?;
    inject::reset(ground, target)?;
    inject::datagrams(ground.site, target.ip())?;
    let bulk = Traffic::bulk(ground, row, target)?;
    let stall = inject::stall(ground, stand, &bulk)?;
    bulk.finish(ground).context("an answer of many bytes")?;
    let quiet = read()?;

    let traffic = Traffic::start(ground, row, target, 2, false)?;
    pause(Duration::from_millis(800), ground.interrupt)?;
    inject::stop(&stand.proxy, STOP, ground.interrupt)?;
    let seen_stopped = traffic.finish(ground)?;
    let stopped = read()?;

    let mut lossy = RelaySettings::round_trip(LINK);
    lossy.forward.loss_probability = LOSS;
    lossy.backward.loss_probability = LOSS;
    stand.set_link(lossy)?;
    let spin = ["spin", "--threads", &SPINNERS.to_string(), "--seconds", &ROUGH.to_string()];
    let spinners = ground.launcher().start("spinners", &[], &ground.lab, spin)?;
    let traffic = Traffic::start(ground, row, target, ROUGH, false)?;
    traffic.finish(ground).context("over a link that loses packets")?;
    drop(spinners);
    stand.set_link(RelaySettings::round_trip(LINK))?;
    let rough = read()?;
    Ok(Happened {
        calm: Span::new(start.clone(), calm.clone()),
        seen,
        quiet: Span::new(calm, quiet.clone()),
        stop,
        stall,
        connects,
        stopped: Span::new(quiet, stopped.clone()),
        seen_stopped,
        rough: Span::new(stopped, rough.clone()),
        whole: Span::new(start, rough),
        spliced: match row.proxy() {
            Proxy::HaproxyTcp => Some(spliced(ground)?),
            _ => None,
        },
    })
}

/// Has the work-stealing proxy hold each request so long, without computing.
fn hold(ground: &Ground<'_>, time: Duration) -> Result<()> {
    let us = u64::try_from(time.as_micros()).context("a time to hold requests")?;
    let address = ([127, 0, 0, 1], 5057).into();
    let request = ForwarderRequest::SetRequestDelayUs(us);
    ground.site.at_node(|| control::ask::<_, ForwarderState>(address, &request))?.map(|_| ())
}

/// What HAProxy says it has spliced.
fn spliced(ground: &Ground<'_>) -> Result<u64> {
    use std::io::{Read, Write};
    let path = ground.folder.join("haproxy.sock");
    let mut socket = std::os::unix::net::UnixStream::connect(&path)
        .with_context(|| format!("connect to {}", path.display()))?;
    socket.write_all(b"show info\n").context("ask HAProxy")?;
    let mut text = String::new();
    socket.read_to_string(&mut text).context("read HAProxy's answer")?;
    parse_spliced(&text).context("HAProxy does not say how many bytes it has spliced")
}

fn parse_spliced(info: &str) -> Option<u64> {
    let line = info.lines().find(|line| line.starts_with("TotalSplic"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spliced_bytes_are_found_by_their_name() {
        let info = "Name: HAProxy\nTotalBytesOut: 12\nTotalSplicdedBytesOut: 345\nBytesOutRate: 0\n";
        assert_eq!(parse_spliced(info), Some(345));
        assert_eq!(parse_spliced("Name: HAProxy\n"), None);
    }
}
