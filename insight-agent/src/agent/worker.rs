//! A thread of the agent that works in turns until it is told to stop.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{Builder, JoinHandle};

/// The running thread. Without it nobody can stop the thread any more, and so it stops.
pub(super) struct Worker {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a thread called `name`, at most 15 bytes. `work` gets a channel on which nothing ever
    /// comes, and which ends when it shall return: between two turns it waits there.
    ///
    /// # Errors
    /// The system refused a thread.
    pub(super) fn spawn(name: &str, work: impl FnOnce(Receiver<()>) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = Builder::new().name(name.to_owned()).spawn(move || work(stopped))?;
        Ok(Self { stop, thread })
    }

    /// Blocks until the turn that is under way is done, and what the thread holds is gone.
    pub(super) fn stop(self) {
        drop(self.stop);
        // A panic of that thread has been printed; there is nothing left to stop.
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::RecvTimeoutError;
    use std::time::Duration;

    #[test]
    fn a_worker_waits_between_its_turns_and_has_returned_when_it_is_stopped() {
        let (turns, counted) = mpsc::channel();
        let worker = Worker::spawn("turns", move |stopped| {
            assert_eq!(std::thread::current().name(), Some("turns"));
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                turns.send(()).unwrap();
            }
        });
        counted.recv_timeout(Duration::from_secs(20)).unwrap();
        counted.recv_timeout(Duration::from_secs(20)).unwrap();
        worker.unwrap().stop();
        while counted.try_recv().is_ok() {}
        assert_eq!(counted.try_recv(), Err(mpsc::TryRecvError::Disconnected), "it has returned");
    }

    #[test]
    fn a_worker_that_panicked_can_be_stopped() {
        Worker::spawn("panics", |_| panic!("as it may")).unwrap().stop();
    }
}
