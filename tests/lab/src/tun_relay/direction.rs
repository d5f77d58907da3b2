//! One direction of the link: packets in, and out again when their time has come.

use super::Counters;
use super::device::Tun;
use crate::clock::Timer;
use crate::relay::schedule::Schedule;
use crate::relay::{DirectionSettings, RelaySettings};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Largest packet that a device can hand over: an IP packet's own limit.
const PACKET_BYTES: usize = 65_536;
/// Bytes on the wire at once; the packet after that is lost. It bounds memory, and at 40 ms one
/// way it still allows 400 MB/s, more than the lab sends.
const IN_FLIGHT_BYTES: usize = 16 * 1024 * 1024;
/// How long a packet may queue for a link with a rate: the buffer of a router.
const MAX_QUEUEING: Duration = Duration::from_millis(200);

/// Packets under way, in the order in which they leave: by release, then by arrival.
struct Wire {
    packets: BTreeMap<(Instant, u64), Box<[u8]>>,
    bytes: usize,
    arrivals: u64,
    schedule: Schedule,
}

impl Wire {
    fn new(now: Instant) -> Wire {
        Wire { packets: BTreeMap::new(), bytes: 0, arrivals: 0, schedule: Schedule::starting_at(now) }
    }

    /// Takes a packet that arrived at `now`, or loses it: then `false`. The draws lie in [0, 1).
    fn take(&mut self, now: Instant, packet: &[u8], link: &DirectionSettings, draws: [f64; 2]) -> bool {
        let [loss, jitter] = draws;
        let full = self.bytes + packet.len() > IN_FLIGHT_BYTES || self.schedule.queueing(now) > MAX_QUEUEING;
        if loss < link.loss_probability || full {
            return false;
        }
        let release = self.schedule.release(now, packet.len(), link, jitter);
        self.arrivals += 1;
        self.bytes += packet.len();
        self.packets.insert((release, self.arrivals), packet.into());
        true
    }

    /// When the next packet leaves; `None` when nothing is under way.
    fn next_release(&self) -> Option<Instant> {
        self.packets.first_key_value().map(|((release, _), _)| *release)
    }

    /// The next packet whose time has come.
    fn due(&mut self, now: Instant) -> Option<Box<[u8]>> {
        let packet = self.packets.first_entry().filter(|first| first.key().0 <= now)?.remove();
        self.bytes -= packet.len();
        Some(packet)
    }
}

/// Carries packets `from` one device `to` the other until a device or the timer fails.
pub(super) async fn run(
    from: &Tun,
    to: &Tun,
    settings: &watch::Sender<RelaySettings>,
    side: fn(&RelaySettings) -> DirectionSettings,
    counters: &Counters,
) -> Result<()> {
    let timer = Timer::new().context("tun-relay: timer")?;
    let mut wire = Wire::new(Instant::now());
    let mut buffer = vec![0; PACKET_BYTES];
    loop {
        let next = wire.next_release();
        let release = async {
            match next {
                Some(at) => timer.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What is due goes first: a flood of arrivals must not hold it up.
            biased;
            slept = release => slept.context("tun-relay: timer")?,
            read = from.read(&mut buffer) => {
                let length = read.context("tun-relay: read a packet")?;
                let (link, blackhole) = {
                    let all = settings.borrow();
                    (side(&all), all.blackhole)
                };
                let draws = [rand::random(), rand::random()];
                if blackhole || !wire.take(Instant::now(), &buffer[..length], &link, draws) {
                    counters.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        while let Some(packet) = wire.due(Instant::now()) {
            // In a black hole, what was under way is lost with the rest.
            let passed = !settings.borrow().blackhole && to.write(&packet);
            let counter = if passed { &counters.packets } else { &counters.lost };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn packets_leave_in_the_order_of_their_release_and_never_early() {
        let start = Instant::now();
        let mut wire = Wire::new(start);
        let link =
            DirectionSettings { delay_us: 10_000, jitter_us: 8_000, reorder: true, ..Default::default() };
        assert!(wire.take(start, b"slow", &link, [0.5, 1.0]));
        assert!(wire.take(start, b"fast", &link, [0.5, 0.0]));
        assert_eq!(wire.next_release(), Some(start + 10 * MS));
        assert_eq!(wire.due(start + 9 * MS), None);
        assert_eq!(wire.due(start + 18 * MS).as_deref(), Some(&b"fast"[..]));
        assert_eq!(wire.due(start + 18 * MS).as_deref(), Some(&b"slow"[..]));
        assert_eq!((wire.bytes, wire.next_release()), (0, None));
    }

    #[test]
    fn loss_follows_its_probability() {
        let mut wire = Wire::new(Instant::now());
        let link = DirectionSettings { loss_probability: 0.3, ..Default::default() };
        assert!(!wire.take(Instant::now(), b"x", &link, [0.29, 0.0]));
        assert!(wire.take(Instant::now(), b"x", &link, [0.3, 0.0]));
    }

    #[test]
    fn a_link_with_a_rate_loses_what_would_queue_too_long() {
        let start = Instant::now();
        let mut wire = Wire::new(start);
        // 100 bytes take 1 ms: the packet that would wait longer than 200 ms is lost.
        let link = DirectionSettings { rate_bytes_per_s: Some(100_000), ..Default::default() };
        let taken = (0..400).filter(|_| wire.take(start, &[0; 100], &link, [0.9, 0.0])).count();
        assert_eq!(taken, 201);
        assert!(wire.take(start + 10 * MS, &[0; 100], &link, [0.9, 0.0]), "room again when some have left");
    }
}
