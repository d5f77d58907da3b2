//! The one thread that starts children.
//!
//! The kernel sends a parent-death signal when the *thread* that forked the child ends, not the
//! process. A run started on a short-lived thread would lose its children with that thread, so
//! all of them are forked by this one, which lives as long as the process.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

type Job = (Command, Sender<io::Result<Child>>);

static JOBS: OnceLock<Sender<Job>> = OnceLock::new();

/// Starts `command` from the long-lived thread.
///
/// # Errors
/// The program cannot be started, or no thread can be.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    let jobs = JOBS.get_or_init(|| {
        let (jobs, queue) = channel::<Job>();
        let started = std::thread::Builder::new().name("lab-spawner".to_owned()).spawn(move || {
            for (mut command, reply) in queue {
                // Nobody waiting for a child means that the harness is ending: it goes with it.
                let _ = reply.send(command.spawn());
            }
        });
        if let Err(error) = started {
            tracing::error!("spawner thread: {error}");
        }
        jobs
    });
    let gone = |_| io::Error::other("the lab's spawner thread could not be started");
    let (reply, answer) = channel();
    jobs.send((command, reply)).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}
