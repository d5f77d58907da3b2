//! Turns Ctrl-C, SIGTERM and SIGHUP into a question the commands ask, so that what they changed
//! on the machine is put back before they end.

use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody asked this program to end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes the signals over, for the rest of the process' life: from here on they set the flag
    /// and end nothing by themselves. Children keep the default action.
    ///
    /// # Errors
    /// The listening thread or its runtime cannot be created.
    pub fn watch() -> Result<Self> {
        let interrupt = Self::default();
        let flag = Arc::clone(&interrupt.0);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("create the runtime that listens for signals")?;
        let mut signals = {
            // Registered before this function returns: no signal falls between.
            let _inside = runtime.enter();
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal)
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                runtime.block_on(async {
                    let [Ok(interrupt), Ok(terminate), Ok(hangup)] = &mut signals else { return };
                    loop {
                        tokio::select! {
                            _ = interrupt.recv() => {}
                            _ = terminate.recv() => {}
                            _ = hangup.recv() => {}
                        }
                        flag.store(true, Ordering::SeqCst);
                    }
                });
            })
            .context("start the thread that listens for signals")?;
        Ok(interrupt)
    }

    /// True once a signal came.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
