//! One rendering for all who ask: any number of scrapers cost what one does.
//!
//! A scrape that gets a place among few can be shut out by whoever holds those places. So nobody gets one:
//! all who asked while a page was being written get the next one together. It is written after each of them
//! asked, so nobody sees figures from before, and one thread at most is at work.

use super::metrics::Exposition;
use axum::body::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoPage {
    /// It cannot be written.
    Failed(String),
    /// Writing it panicked; the panic's message is on stderr.
    Broken,
}

type Page = Result<Bytes, NoPage>;

/// See the module.
#[derive(Clone)]
pub(super) struct SharedPage {
    exposition: Exposition,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// Those who get the next page.
    next: Vec<oneshot::Sender<Page>>,
    /// Whether a task is writing pages.
    is_writing: bool,
}

impl SharedPage {
    pub(super) fn new(exposition: Exposition) -> Self {
        Self { exposition, waiting: Arc::default() }
    }

    /// A page that was begun after this call. Cancelling loses nothing: the others still get theirs.
    pub(super) async fn get(&self) -> Page {
        let (tell, told) = oneshot::channel();
        let begins = {
            let mut waiting = self.lock();
            waiting.next.push(tell);
            !std::mem::replace(&mut waiting.is_writing, true)
        };
        if begins {
            // A task of its own: who asked first may go before the page is there.
            tokio::spawn(self.clone().write());
        }
        told.await.unwrap_or(Err(NoPage::Broken))
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
            // Kept off the threads that probe.
            let page = match tokio::task::spawn_blocking(move || exposition()).await {
                Ok(Ok(text)) => Ok(Bytes::from(text)),
                Ok(Err(error)) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a scrape failed");
                    Err(NoPage::Failed(error.to_string()))
                }
                Err(_) => Err(NoPage::Broken),
            };
            // A reader that has gone needs none.
            readers.into_iter().for_each(|reader| drop(reader.send(page.clone())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
