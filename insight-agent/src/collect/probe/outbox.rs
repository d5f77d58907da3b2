//! What happened, on its way to whoever adds it up.
//!
//! Each event that finds its receiver asleep costs a wake-up, on both sides: with thousands of probes a sixth
//! of what the whole agent uses. Nobody needs to know within milliseconds, so events go together.

use crate::model::sample::ProbeEvent;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// How long the first one waits for others. With half of it, 4,000 samples a second are 400 wake-ups instead
/// of 200; a window of one second, the shortest, misses at most a 200th of its samples to the next one.
const TOGETHER: Duration = Duration::from_millis(5);

/// So many do not wait for more, and no more than so many are kept.
const MOST: usize = 1024;

/// Where events go. Nothing waits: one that finds no room is dropped and counted.
pub(super) struct Outbox {
    waiting: Mutex<Vec<ProbeEvent>>,
    /// There are some.
    some: Notify,
    events: mpsc::Sender<ProbeEvent>,
    lost: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Outbox").finish_non_exhaustive()
    }
}

impl Outbox {
    pub(super) fn new(events: mpsc::Sender<ProbeEvent>, lost: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { waiting: Mutex::default(), some: Notify::new(), events, lost }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<ProbeEvent>> {
        // Pushing and taking leave it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event, to be delivered soon.
    pub(super) fn send(&self, event: ProbeEvent) {
        let mut waiting = self.waiting();
        waiting.push(event);
        let count = waiting.len();
        drop(waiting);
        match count {
            1 => self.some.notify_one(),
            MOST => self.deliver(),
            _ => {}
        }
    }

    /// Delivers what is waiting.
    pub(super) fn deliver(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        for event in waiting {
            if self.events.try_send(event).is_err() {
                (self.lost)();
            }
        }
    }

    /// Delivers what comes, until it is cancelled. What waits then stays.
    pub(super) async fn deliver_in_turn(self: Arc<Self>) {
        loop {
            self.some.notified().await;
            tokio::time::sleep(TOGETHER).await;
            self.deliver();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::lost::Loss;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn event() -> ProbeEvent {
        ProbeEvent::Lost("ping", Loss::Missing)
    }

    fn outbox(room: usize) -> (Arc<Outbox>, mpsc::Receiver<ProbeEvent>, Arc<AtomicUsize>) {
        let (events, received) = mpsc::channel(room);
        let lost = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lost);
        let count = Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        (Arc::new(Outbox::new(events, count)), received, lost)
    }

    #[tokio::test]
    async fn events_come_together_and_those_after_them_again() {
        let (outbox, mut received, lost) = outbox(10);
        let delivery = tokio::spawn(Arc::clone(&outbox).deliver_in_turn());
        for count in [3, 1, 2] {
            (0..count).for_each(|_| outbox.send(event()));
            assert_eq!(received.len(), 0, "not yet");
            let mut events = Vec::new();
            assert_eq!(received.recv_many(&mut events, 10).await, count, "woken once for all");
        }
        assert_eq!(lost.load(Ordering::Relaxed), 0);
        delivery.abort();
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted_and_many_wait_for_nobody() {
        let (outbox, mut received, lost) = outbox(5);
        (0..MOST + 2).for_each(|_| outbox.send(event()));
        assert_eq!((received.len(), lost.load(Ordering::Relaxed)), (5, MOST - 5));
        let mut events = Vec::new();
        received.recv_many(&mut events, 10).await;
        outbox.deliver();
        assert_eq!((received.len(), lost.load(Ordering::Relaxed)), (2, MOST - 5));
    }
}
