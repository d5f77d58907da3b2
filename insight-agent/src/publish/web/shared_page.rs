//! One rendering for all who ask: any number of scrapers cost what one does.
//!
//! A scrape that gets a place among few can be shut out by whoever holds those places. So nobody gets one:
//! all who asked while a page was being written get the next one together. It is written after each of them
//! asked, so nobody sees figures from before, and one thread at most is at work.
//!
//! A page is read while it is written, piece by piece, and all its readers share the pieces. Writing waits for
//! nobody, since it would keep the others waiting: a piece is held until the last of them has taken it. So
//! a slow reader holds what it has not read yet, and no more than one page.

use super::metrics::Exposition;
use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

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
    rest: Option<UnboundedReceiver<Piece>>,
}

/// See the module.
#[derive(Clone)]
pub(super) struct SharedPage {
    exposition: Exposition,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// Those who get the next page.
    next: Vec<UnboundedSender<Piece>>,
    /// Whether a task is writing pages.
    is_writing: bool,
}

impl SharedPage {
    pub(super) fn new(exposition: Exposition) -> Self {
        Self { exposition, waiting: Arc::default() }
    }

    /// A page that was begun after this call, once its first piece is there. Cancelling loses nothing: the
    /// others still get theirs.
    pub(super) async fn get(&self) -> Result<Page, Broken> {
        let (tell, mut told) = mpsc::unbounded_channel();
        let begins = {
            let mut waiting = self.lock();
            waiting.next.push(tell);
            !std::mem::replace(&mut waiting.is_writing, true)
        };
        if begins {
            // A task of its own: who asked first may go before the page is there.
            tokio::spawn(self.clone().write());
        }
        let first = told.recv().await.ok_or(Broken)?;
        let rest = matches!(first, Piece::Some(_)).then_some(told);
        Ok(Page { first: Some(first), rest })
    }

    /// Writes pages until nobody waits for one.
    async fn write(self) {
        loop {
            let readers = {
                let mut waiting = self.lock();
                waiting.next.retain(|reader| !reader.is_closed());
                if waiting.next.is_empty() {
                    waiting.is_writing = false;
                    return;
                }
                std::mem::take(&mut waiting.next)
            };
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

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
fn hand_out(exposition: &Exposition, mut readers: Vec<UnboundedSender<Piece>>) {
    let mut tell = |piece: Piece| {
        readers.retain(|reader| reader.send(piece.clone()).is_ok());
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
        let piece = match (self.first.take(), &mut self.rest) {
            (Some(first), _) => Some(first),
            (None, Some(rest)) => ready!(rest.poll_recv(context)),
            (None, None) => return Poll::Ready(None),
        };
        Poll::Ready(Some(match piece {
            Some(Piece::Some(piece)) => Ok(piece),
            Some(Piece::Last(piece)) => {
                self.rest = None;
                Ok(piece)
            }
            None => {
                self.rest = None;
                Err(Broken)
            }
        }))
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
