//! One rendering for all who ask: any number of scrapers cost what one does.
//!
//! A scrape that gets a place among few can be shut out by whoever holds those places. So nobody gets one:
//! all who asked while a page was being written get the next one together. It is written after each of them
//! asked, so nobody sees figures from before, and one thread at most is at work.
//!
//! A page is read while it is written, piece by piece, and all its readers share the pieces. Writing waits for
//! nobody, since it would keep the others waiting: a piece is held until the last of them has taken it. So
//! a slow reader holds what it has not read yet, and no more than one page. Slow readers together hold no more
//! than [`PAGES`] pages: while they do, the next one waits for [`PATIENCE`], and then the oldest one ends.

use super::metrics::Exposition;
use crate::door::Door;
use crate::model::refusal::Refusal;
use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

/// Pages of which somebody has not read all, at most, before another one is begun. A page of 10,000 probes has
/// 34 MB, and is read in a fraction of a second by all who take what they asked for.
pub(super) const PAGES: usize = 4;

/// How long a page waits while so many are held. Under that pressure each reader still gets this time for
/// each of the pages: far more than a scraper's usual timeout leaves for a page that is read at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time between two looks whether one of them is read.
const LOOK: Duration = Duration::from_millis(10);

/// Writing the page panicked; the panic's message is on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the page broke off: see the agent's log")]
pub(super) struct Broken;

/// A piece of a page.
#[derive(Debug, Clone)]
enum Piece {
    /// Others follow.
    Some(Bytes),
    /// The page's end.
    Last(Bytes),
}

/// One reader's page.
#[derive(Debug)]
pub(super) struct Page {
    /// What has been taken already. **None**: it has been given away too.
    first: Option<Piece>,
    /// **None**: the page's end has been taken.
    rest: Option<Rest>,
    door: Arc<Door>,
}

/// What one reader has not taken yet.
#[derive(Debug)]
struct Queue {
    pieces: UnboundedReceiver<Piece>,
    /// It read too slowly, and gets no more.
    is_cut: bool,
}

/// A queue that can be emptied behind its reader's back: one who waits for a socket is not asked.
type Rest = Arc<Mutex<Queue>>;

/// Somebody who waits for the next page.
struct Reader {
    tell: UnboundedSender<Piece>,
    rest: Weak<Mutex<Queue>>,
}

/// See the module.
#[derive(Clone)]
pub(super) struct SharedPage {
    exposition: Exposition,
    waiting: Arc<Mutex<Waiting>>,
    door: Arc<Door>,
}

#[derive(Default)]
struct Waiting {
    /// Those who get the next page.
    next: Vec<Reader>,
    /// Whether a task is writing pages.
    is_writing: bool,
    /// The readers of each page that was begun, the oldest page first.
    held: VecDeque<Vec<Weak<Mutex<Queue>>>>,
}

/// What is to be done for those who wait.
enum Next {
    /// There is nobody.
    Nobody,
    /// Wait: too many pages are held.
    Full,
    /// Write a page for these.
    Write(Vec<Reader>),
}

impl SharedPage {
    /// Readers who are too slow count at `door`.
    pub(super) fn new(exposition: Exposition, door: Arc<Door>) -> Self {
        Self { exposition, waiting: Arc::default(), door }
    }

    /// A page that was begun after this call, once its first piece is there. Cancelling loses nothing: the
    /// others still get theirs.
    pub(super) async fn get(&self) -> Result<Page, Broken> {
        let (tell, pieces) = mpsc::unbounded_channel();
        let rest = Arc::new(Mutex::new(Queue { pieces, is_cut: false }));
        let begins = {
            let mut waiting = lock(&self.waiting);
            waiting.next.push(Reader { tell, rest: Arc::downgrade(&rest) });
            !std::mem::replace(&mut waiting.is_writing, true)
        };
        if begins {
            // A task of its own: who asked first may go before the page is there.
            tokio::spawn(self.clone().write());
        }
        let mut page = Page { first: None, rest: Some(rest), door: Arc::clone(&self.door) };
        page.first = Some(std::future::poll_fn(|context| page.poll_rest(context)).await?);
        Ok(page)
    }

    /// Writes pages until nobody waits for one.
    async fn write(self) {
        while let Some(readers) = self.readers().await {
            let exposition = Arc::clone(&self.exposition);
            let (ends, ended) = oneshot::channel::<()>();
            // If it panics, its readers' pages end without their last pieces.
            let write = move || {
                let _ends = ends;
                give_way();
                hand_out(&exposition, readers);
            };
            if let Err(error) = std::thread::Builder::new().name("page".into()).spawn(write) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no thread for a page: check the limit on threads"
                );
            }
            // Nobody sends: it is over when its sender goes, however that happens.
            let _ = ended.await;
        }
    }

    /// Who gets the next page, once there is room for it. **None**: nobody waits for one.
    async fn readers(&self) -> Option<Vec<Reader>> {
        let full_at = Instant::now();
        loop {
            let next = lock(&self.waiting).begin(full_at.elapsed() >= PATIENCE);
            match next {
                Next::Nobody => return None,
                Next::Write(readers) => return Some(readers),
                Next::Full => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

impl Waiting {
    /// Begins the next page, if there is room. With `may_cut` there is: the oldest page ends for who still reads it.
    fn begin(&mut self, may_cut: bool) -> Next {
        self.next.retain(|reader| !reader.tell.is_closed());
        if self.next.is_empty() {
            self.is_writing = false;
            return Next::Nobody;
        }
        self.held.retain(|readers| readers.iter().any(|reader| reader.strong_count() > 0));
        if self.held.len() >= PAGES {
            if !may_cut {
                return Next::Full;
            }
            let slow = self.held.pop_front().into_iter().flatten();
            slow.filter_map(|reader| reader.upgrade()).for_each(|reader| lock(&reader).cut());
        }
        self.held.push_back(self.next.iter().map(|reader| Weak::clone(&reader.rest)).collect());
        Next::Write(std::mem::take(&mut self.next))
    }
}

impl Queue {
    /// Lets go of all that is in it, and takes nothing more.
    fn cut(&mut self) {
        self.is_cut = true;
        self.pieces.close();
        while self.pieces.try_recv().is_ok() {}
    }
}

/// What is left by a thread that panicked is as good as before.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this thread less urgent than all others: where CPUs are scarce, a page comes later, and no probe does.
/// A page of thousands of targets takes a CPU for a tenth of a second.
fn give_way() {
    const NICENESS: i32 = 5;
    // In Linux this is of the calling thread alone. It is always allowed; a page is written without it, too.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a page is written as urgently as all else"
        );
    }
}

/// Writes a page for these readers. One that has gone needs none, and without any the rest is not written.
fn hand_out(exposition: &Exposition, mut readers: Vec<Reader>) {
    let mut tell = |piece: Piece| {
        readers.retain(|reader| reader.tell.send(piece.clone()).is_ok());
        if readers.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    // Held back until the next one is there: only then is it not the last one.
    let mut held: Option<String> = None;
    exposition(&mut |piece| match held.replace(piece) {
        Some(before) => tell(Piece::Some(before.into())),
        None => ControlFlow::Continue(()),
    });
    let _ = tell(Piece::Last(held.unwrap_or_default().into()));
}

impl Page {
    /// Reads all of it. **Unit**: bytes.
    ///
    /// # Errors
    /// It broke off.
    pub(super) async fn length(mut self) -> Result<usize, Broken> {
        let mut length = 0;
        while let Some(piece) = std::future::poll_fn(|context| self.poll_piece(context)).await {
            length += piece?.len();
        }
        Ok(length)
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let piece = match self.first.take() {
            Some(first) => Ok(first),
            None if self.rest.is_none() => return Poll::Ready(None),
            None => ready!(self.poll_rest(context)),
        };
        Poll::Ready(Some(piece.map(|piece| match piece {
            Piece::Some(piece) | Piece::Last(piece) => piece,
        })))
    }

    /// The next piece of the rest. Behind the last one, or a failure, there is no rest any more.
    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        let Some(rest) = &self.rest else { return Poll::Ready(Err(Broken)) };
        let mut queue = lock(rest);
        let piece = ready!(queue.pieces.poll_recv(context)).ok_or(Broken);
        if piece.is_err() && queue.is_cut {
            self.door.refuse(Refusal::SlowReader);
        }
        drop(queue);
        if !matches!(piece, Ok(Piece::Some(_))) {
            self.rest = None;
        }
        Poll::Ready(piece)
    }
}

impl Body for Page {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.poll_piece(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_none()
    }

    /// Known of a page of one piece.
    fn size_hint(&self) -> SizeHint {
        match (&self.first, &self.rest) {
            (Some(Piece::Last(piece)), None) => SizeHint::with_exact(piece.len() as u64),
            (None, None) => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
