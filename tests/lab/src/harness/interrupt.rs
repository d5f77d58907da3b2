//! Ctrl-C and SIGTERM for programs that hold a [`Lab`](super::lab::Lab): ask, then clean up.

use anyhow::{Context, Result};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Whether this process was asked to end.
///
/// Install it before the lab is started, wait on it instead of sleeping, and drop the lab when
/// it was requested. A second signal ends the process at once; the kernel then ends the
/// children, and the next start removes the folder.
#[derive(Clone)]
pub struct Interrupt {
    state: Arc<(Mutex<bool>, Condvar)>,
}

impl Interrupt {
    /// Takes over SIGINT and SIGTERM of this process, with a thread that lives as long as it.
    ///
    /// # Errors
    /// The handlers or the thread cannot be set up.
    pub fn install() -> Result<Interrupt> {
        let state = Arc::new((Mutex::new(false), Condvar::new()));
        let told = state.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("signals: start a runtime")?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            let take = |kind| signal(kind).context("signals: install a handler");
            (take(SignalKind::interrupt())?, take(SignalKind::terminate())?)
        };
        let waiting = async move {
            let mut asked = false;
            loop {
                // 128 + signal number: what a shell reports for a process that a signal ended.
                let code = tokio::select! {
                    _ = interrupt.recv() => 130,
                    _ = terminate.recv() => 143,
                };
                if asked {
                    std::process::exit(code);
                }
                asked = true;
                *told.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
                told.1.notify_all();
            }
        };
        std::thread::Builder::new()
            .name("lab-signals".to_owned())
            .spawn(move || runtime.block_on(waiting))
            .context("signals: start a thread")?;
        Ok(Interrupt { state })
    }

    /// Whether a signal has come.
    pub fn requested(&self) -> bool {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps for `duration`, or until a signal has come; tells whether one has.
    pub fn wait(&self, duration: Duration) -> bool {
        let deadline = Instant::now() + duration;
        let mut asked = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*asked {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.state.1.wait_timeout(asked, left);
            asked = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        *asked
    }
}
