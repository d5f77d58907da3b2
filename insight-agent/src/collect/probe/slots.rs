//! The connections of a probe that stay: slots that its samples go round over.
//!
//! Each slot has a lock of its own: while one opens its connection, or cannot, the samples of the others
//! notice nothing.

use super::access::Access;
use super::connect::{Attempt, NotOpened, Opening, Session};
use super::failure;
use super::ping::PingPolicy;
use crate::model::plan::{Connection, ProbePlan};
use crate::model::sample::Phases;
use crate::model::series::lost::Loss;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::Mutex;
use tokio::time::timeout_at;

/// A session, and whether it had to be opened for whoever asked.
pub(super) struct Lease {
    pub(super) session: Arc<Session>,
    pub(super) opened: bool,
}

/// All slots of a probe, at least one.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Box<[Slot]>,
    next: AtomicUsize,
    /// Most samples under way on one of several: else one that hangs would take the places of all.
    share: usize,
}

/// A slot for the time of a sample on it.
pub(super) struct Turn<'a> {
    /// Its number, from 0.
    pub(super) index: usize,
    slot: &'a Slot,
}

impl Deref for Turn<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        self.slot
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.slot.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slots {
    /// So many, none of them open, of a probe with at most so many samples under way. 0 counts as 1.
    pub(super) fn new(count: usize, most_in_flight: usize) -> Self {
        let slots: Box<[_]> = (0..count.max(1)).map(|_| Slot::default()).collect();
        let share = most_in_flight.div_ceil(slots.len()).max(1);
        Self { slots, next: AtomicUsize::new(0), share }
    }

    /// The slot whose turn it is.
    pub(super) fn next(&self) -> Turn<'_> {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        let slot = &self.slots[index];
        slot.under_way.fetch_add(1, Ordering::Relaxed);
        Turn { index, slot }
    }

    /// Whether the slot whose turn it is may take one more sample. One that may not is passed over.
    pub(super) fn has_room(&self) -> bool {
        let turn = self.next.load(Ordering::Relaxed);
        let under_way = self.slots[turn % self.slots.len()].under_way.load(Ordering::Relaxed);
        let has_room = self.slots.len() == 1 || under_way < self.share;
        if !has_room {
            self.next.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }
}

/// A place for one connection that is opened when a sample needs it.
#[derive(Debug, Default)]
pub(super) struct Slot {
    held: Mutex<Held>,
    /// Samples on it.
    under_way: AtomicUsize,
    /// How far whoever holds that lock has come.
    opening: Opening,
}

#[derive(Debug, Default)]
struct Held {
    session: Option<Arc<Session>>,
    /// When the last attempt to open one failed, and how.
    failed: Option<(Instant, NotOpened)>,
}

impl Slot {
    /// Its connection, opened if there is none that can take a request.
    ///
    /// The lock is held while one is opened. Whoever waits for it meanwhile shares the outcome, also a
    /// failure: else a peer that hangs would be asked by one after the other, each with less time.
    pub(super) async fn lease(
        &self,
        plan: &ProbePlan,
        access: &Access,
        deadline: Instant,
        losses: &mut Vec<(&'static str, Loss)>,
    ) -> Result<Lease, NotOpened> {
        let arrived = Instant::now();
        let Ok(mut held) = timeout_at(deadline.into(), self.held.lock()).await else {
            let failure = failure::setup_deadline(plan, self.opening.phase());
            return Err(NotOpened { phases: Phases::default(), failure });
        };
        if let Some(session) = held.session.as_ref() {
            if session.connection.refuses().is_none() {
                return Ok(Lease { session: Arc::clone(session), opened: false });
            }
            held.retire(&access.pings);
        }
        if let Some((_, failed)) = held.failed.as_ref().filter(|(when, _)| *when >= arrived) {
            return Err(failed.clone());
        }
        let attempt = Attempt { plan, keys: access.keys(), deadline, opening: &self.opening, losses };
        match Box::pin(Session::open(attempt, access.events(Connection::Reused))).await {
            Ok((session, _)) => {
                let session = Arc::new(session);
                held.session = Some(Arc::clone(&session));
                Ok(Lease { session, opened: true })
            }
            Err(failed) => {
                held.failed = Some((Instant::now(), failed.clone()));
                Err(failed)
            }
        }
    }

    /// Gives this connection up, if it is still the one in use.
    pub(super) async fn forget(&self, session: &Arc<Session>, pings: &PingPolicy) {
        let mut held = self.held.lock().await;
        if held.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            held.retire(pings);
        }
    }
}

impl Held {
    /// Takes the connection out of its slot and learns from how it ended.
    fn retire(&mut self, pings: &PingPolicy) {
        if let Some(session) = self.session.take() {
            pings.connection_ended(&session.connection);
        }
    }
}
