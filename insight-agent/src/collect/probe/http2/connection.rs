//! A connection at work: the machine, its socket, and the tasks that wait for either.

use super::Begun;
use super::error::Break;
use super::io::Io;
use super::machine::{Ended, Machine, Opened};
use super::stream::{Answer, Came, End, Piece, remember};
use crate::collect::probe::event_log::EventLog;
use crate::collect::probe::stamped::{Clocks, on_steady_clock};
use crate::model::connection_event::{ConnectionEvent, EventKind, EventReason};
use bytes::Bytes;
use http::HeaderMap;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Bytes of a read at most: a whole frame of the longest kind fits, with its head.
const READ: usize = 32 * 1024;
/// How long a connection that nobody uses any more may take to say GOAWAY. A peer that reads nothing
/// would otherwise hold its socket, its task and a request body for ever.
const FAREWELL: Duration = Duration::from_secs(1);
/// A request that is held for longer by the peer's window is counted as stalled.
const STALL: Duration = Duration::from_millis(5);

thread_local! {
    /// What is read goes through here: no connection has a buffer of its own.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// A client's connection. Dropping it lets the requests under way on it end; then it says GOAWAY and closes.
#[derive(Debug)]
pub(in crate::collect::probe) struct Connection {
    shared: Arc<Shared>,
    driver: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something about the connection itself has changed: it has begun or ended, or a stream has.
    changed: Notify,
    events: Arc<EventLog>,
}

#[derive(Debug)]
struct State {
    io: Io,
    machine: Machine,
    /// Of the task that reads. **None**: it has not looked yet.
    driver: Option<Waker>,
    /// Both clocks when writing began last.
    clocks: Option<Clocks>,
    last_read: Option<Instant>,
    /// Something was written, and may not be on the socket yet.
    is_dirty: bool,
    /// The last write found no room.
    is_full: bool,
    /// Why nothing can be written any more. The peer is heard out all the same.
    unwritable: Option<Break>,
    /// What ended TLS, if that and not the socket below it ended the stream.
    tls_error: Option<rustls::Error>,
    /// Nobody will make another request.
    is_released: bool,
}

impl Connection {
    /// Begins to speak HTTP/2; what happens is counted in `events`. Within a runtime.
    pub(in crate::collect::probe) fn begin(io: Io, events: Arc<EventLog>) -> Self {
        let state = State {
            io,
            machine: Machine::new(),
            driver: None,
            clocks: None,
            last_read: None,
            is_dirty: false,
            is_full: false,
            unwritable: None,
            tls_error: None,
            is_released: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), events });
        let driven = Arc::clone(&shared);
        let driver = tokio::spawn(poll_fn(move |cx| driven.drive(cx))).abort_handle();
        Self { shared, driver }
    }

    /// How the peer's side began. Waits without bound: callers set the deadline. Cancelling loses nothing.
    pub(in crate::collect::probe) async fn begun(&self) -> Begun {
        loop {
            let changed = self.shared.changed.notified();
            if let Some(begun) = self.shared.state().machine.begun {
                return begun;
            }
            changed.await;
        }
    }

    /// Whether a request could be sent now, or once others have ended: not after GOAWAY or a broken connection.
    pub(in crate::collect::probe) fn refuses(&self) -> Option<Break> {
        self.shared.state().machine.refuses()
    }

    /// How it ended, once it has.
    pub(in crate::collect::probe) fn ended(&self) -> Option<Ended> {
        self.shared.state().machine.ended.clone()
    }

    /// The reason of the last GOAWAY. **None**: there was none.
    pub(in crate::collect::probe) fn goaway(&self) -> Option<EventReason> {
        self.shared.state().machine.goaway()
    }

    /// What ended TLS. **None**: nothing did, or the connection has none.
    pub(in crate::collect::probe) fn tls_error(&self) -> Option<rustls::Error> {
        self.shared.state().tls_error.clone()
    }

    /// Whether anything was read at or after `since`: a connection on which a whole deadline
    /// passed in silence is not worth keeping.
    pub(in crate::collect::probe) fn read_after(&self, since: Instant) -> bool {
        self.shared.state().last_read.is_some_and(|read| read >= since)
    }

    /// Sends a request with this header block, once the peer takes one more. Waits for that without bound.
    /// Cancelling sends nothing.
    pub(in crate::collect::probe) async fn request(
        &self,
        block: &[u8],
        body: Bytes,
    ) -> Result<Exchange, Break> {
        let start = Instant::now();
        let mut waited = false;
        loop {
            let changed = self.shared.changed.notified();
            match self.shared.with(|machine| machine.open(block, &body)) {
                Opened::Stream(id) => {
                    let asked = waited.then_some(start);
                    return Ok(Exchange { shared: Arc::clone(&self.shared), id, asked });
                }
                Opened::Never(why) => return Err(why),
                Opened::Full => {
                    waited = true;
                    changed.await;
                }
            }
        }
    }

    /// One PING → PING ACK. Waits without bound; the caller sets the deadline.
    ///
    /// **None**: one is under way already (samples overlap, or an earlier call was cancelled),
    /// or the connection ended.
    pub(in crate::collect::probe) async fn ping(&self) -> Option<Duration> {
        if !self.shared.with(|machine| machine.ping()) {
            return None;
        }
        poll_fn(|cx| self.shared.state().machine.poll_pong(cx)).await
    }

    /// Whether a PING was ever sent here.
    pub(in crate::collect::probe) fn was_pinged(&self) -> bool {
        self.shared.state().machine.was_pinged()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.state().is_released = true;
        self.shared.with(|_| ());
        let driver = self.driver.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !driver.is_finished() => {
                runtime.spawn(async move {
                    tokio::time::sleep(FAREWELL).await;
                    driver.abort();
                });
            }
            _ => driver.abort(),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means that a thread panicked while it read from this peer: that panic is told, and
        // whoever waits here gives up at its deadline.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the machine, and writes what that has to say as far as the socket takes it. Its driver
    /// is woken if the connection comes to its end by that.
    fn with<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> T {
        let mut state = self.state();
        let done = work(&mut state.machine);
        // What does not fit is written by the driver, which is woken when there is room.
        if let Some(driver) = state.driver.take() {
            let could_write = state.unwritable.is_none();
            state.write(&mut Context::from_waker(&driver), &self.events);
            if (could_write && state.unwritable.is_some()) || state.is_spent() {
                driver.wake_by_ref();
            }
            state.driver = Some(driver);
        }
        self.tell(state);
        done
    }

    /// Lets those go on who wait for the connection itself.
    fn tell(&self, mut state: MutexGuard<'_, State>) {
        let has_changed = std::mem::take(&mut state.machine.has_changed);
        drop(state);
        if has_changed {
            self.changed.notify_waiters();
        }
    }

    fn drive(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        remember(&mut state.driver, cx);
        let result = state.drive(cx, &self.events);
        self.tell(state);
        result
    }
}

impl State {
    fn drive(&mut self, cx: &mut Context<'_>, events: &EventLog) -> Poll<()> {
        BUFFER.with_borrow_mut(|buffer| {
            while self.machine.ended.is_none()
                && let Poll::Ready(read) = self.io.poll_read(cx, buffer)
            {
                match read {
                    Ok(0) => self.machine.finish(self.unwritable.take().unwrap_or(Break::Closed)),
                    Ok(length) => self.take(&buffer[..length], events),
                    Err(error) => {
                        self.note_tls(&error);
                        self.machine.finish(Break::io(&error));
                    }
                }
            }
        });
        if self.is_spent() {
            self.machine.say_goodbye();
        }
        self.write(cx, events);
        if self.machine.ended.is_none() {
            return Poll::Pending;
        }
        if self.unwritable.is_none() && (self.is_dirty || !self.machine.out.is_empty()) {
            return Poll::Pending;
        }
        // Whoever closed first, there is nothing to be done about an error.
        let _ = ready!(self.io.poll_shutdown(cx));
        Poll::Ready(())
    }

    /// Whether nobody needs the connection any more. A peer that said GOAWAY waits for this end to close.
    fn is_spent(&self) -> bool {
        self.machine.is_idle() && (self.is_released || self.machine.goaway().is_some())
    }

    /// Takes what was read.
    fn take(&mut self, bytes: &[u8], events: &EventLog) {
        let now = Clocks::read();
        let stamp = self.io.stamp().zip(self.clocks);
        let stamp = stamp.and_then(|(stamp, before)| on_steady_clock(stamp, before, now));
        self.last_read = Some(now.steady);
        let came = Came { looked: now.steady, stamp };
        self.machine.receive(bytes, came, |event| events.note(event));
    }

    fn note_tls(&mut self, error: &io::Error) {
        if let Some(tls) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            self.tls_error = Some(tls.clone());
        }
    }

    /// Writes as much as the socket takes.
    ///
    /// An error is kept until the peer is heard out: who closes a connection says why (GOAWAY, a TLS alert) and
    /// may then reset it; whether a write fails before that is read is chance.
    fn write(&mut self, cx: &mut Context<'_>, events: &EventLog) {
        while self.unwritable.is_none() {
            self.machine.pump();
            let result = if self.machine.out.is_empty() {
                // What the last write left to be done by the next one is none of an idle connection.
                self.machine.out = Vec::new();
                if !self.is_dirty {
                    return;
                }
                let Poll::Ready(result) = self.io.poll_flush(cx) else { return };
                result.map(|()| {
                    self.is_dirty = false;
                    self.machine.note_flushed(Instant::now());
                })
            } else {
                if !self.is_dirty {
                    self.clocks = Some(Clocks::read());
                    self.is_dirty = true;
                }
                self.machine.note_writing(Instant::now());
                let written = self.io.poll_write(cx, &self.machine.out);
                let was_full = std::mem::replace(&mut self.is_full, written.is_pending());
                let Poll::Ready(written) = written else {
                    if !was_full {
                        events.note(stall(EventReason::Socket));
                    }
                    return;
                };
                written.and_then(|length| match length {
                    0 => Err(io::ErrorKind::WriteZero.into()),
                    length => {
                        self.machine.out.drain(..length);
                        Ok(())
                    }
                })
            };
            if let Err(error) = result {
                self.note_tls(&error);
                self.unwritable = Some(Break::io(&error));
            }
        }
    }
}

fn stall(reason: EventReason) -> ConnectionEvent {
    ConnectionEvent { kind: EventKind::SendStall, reason }
}

/// A request and its answer. Dropping it before the answer has ended resets the stream.
#[derive(Debug)]
pub(in crate::collect::probe) struct Exchange {
    shared: Arc<Shared>,
    id: u32,
    /// When it was asked for, if it had to wait for the peer to take one more.
    asked: Option<Instant>,
}

impl Exchange {
    /// When it began: as it was first written, or as it was asked for if the peer made it wait. **None**: it has
    /// not been written.
    pub(in crate::collect::probe) fn began(&self) -> Option<Instant> {
        self.asked.or(self.shared.state().machine.stream(self.id)?.sending.began)
    }

    /// When all of it was on the socket. **None**: it is not.
    pub(in crate::collect::probe) fn written(&self) -> Option<Instant> {
        self.shared.state().machine.stream(self.id)?.sending.written
    }

    /// Waits for the beginning of the answer. A server may answer before it has read the whole request.
    pub(in crate::collect::probe) async fn answer(&mut self) -> Result<Answer, Break> {
        if self.is_held() {
            let answer = poll_fn(|cx| self.shared.state().machine.poll_answer(self.id, cx));
            if let Ok(answer) = tokio::time::timeout(STALL, answer).await {
                return answer;
            }
            if self.is_held() {
                self.shared.events.note(stall(EventReason::Http2Window));
            }
        }
        poll_fn(|cx| self.shared.state().machine.poll_answer(self.id, cx)).await
    }

    /// Whether the peer's windows, and not the socket, hold the request.
    fn is_held(&self) -> bool {
        let mut state = self.shared.state();
        let room = state.machine.out.is_empty();
        room && state
            .machine
            .stream(self.id)
            .is_some_and(|stream| !stream.sending.is_framed && stream.is_waiting())
    }

    /// Waits for the next piece of the answer's body. **None**: it has ended. Cancelling loses nothing.
    pub(in crate::collect::probe) async fn piece(&mut self) -> Result<Option<Piece>, Break> {
        poll_fn(|cx| self.shared.with(|machine| machine.poll_piece(self.id, cx))).await
    }

    /// Takes the trailers behind the last piece, if there are any; and when the end came, as of
    /// [`Came::since`].
    pub(in crate::collect::probe) fn end(&mut self, since: Instant) -> (Option<HeaderMap>, (Instant, bool)) {
        match self.shared.state().machine.take_end(self.id) {
            Some(End { trailers, came }) => (trailers, came.since(since)),
            None => (None, (Instant::now(), false)),
        }
    }

    /// Whether its end has come, and all before it was taken.
    pub(in crate::collect::probe) fn has_ended(&self) -> bool {
        let mut state = self.shared.state();
        state
            .machine
            .stream(self.id)
            .is_some_and(|stream| stream.receiving.end.is_some() && stream.receiving.pieces.is_empty())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.shared.with(|machine| machine.close(self.id));
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
