//! Takes a reload to the parts that it concerns, in the order in which nothing is counted twice or to the
//! wrong probe: the correlator knows a probe before its first sample comes.

use super::asked::{AskChange, Askers, Places};
use crate::collect::probe::{ProbeChange, ProbeControl};
use crate::model::plan::ProbePlan;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Everything that a reload changes in the running parts. Nothing of it can fail any more.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) probes: ProbeChange,
    pub(super) asked: AskChange,
    pub(super) known: Known,
}

/// What the correlator counts for.
#[derive(Debug)]
pub(super) struct Known {
    /// Every probe, in the order of the file.
    pub(super) plans: Vec<Arc<ProbePlan>>,
    /// Everyone who is asked.
    pub(super) places: Places,
}

/// Something that is handed over; the other end says when it counts.
pub(super) type Handed<T> = (T, oneshot::Sender<()>);

/// Hands something over and waits until it counts. **None**: the other end has gone.
pub(super) async fn hand_over<T>(to: &mpsc::Sender<Handed<T>>, what: T) -> Option<()> {
    let (done, counts) = oneshot::channel();
    to.send((what, done)).await.ok()?;
    counts.await.ok()
}

/// The task that does it.
pub(super) struct Conductor {
    pub(super) correlator: mpsc::Sender<Handed<Known>>,
    pub(super) prober: ProbeControl,
    pub(super) askers: Askers,
}

impl Conductor {
    /// Ends when one of the agents is not asked any more, although it should be; or with the correlator.
    pub(super) async fn run(mut self, mut changes: mpsc::Receiver<Handed<Change>>) {
        loop {
            tokio::select! {
                () = self.askers.ended() => return,
                Some((change, done)) = changes.recv() => {
                    let Change { probes, asked, known } = change;
                    if hand_over(&self.correlator, known).await.is_none() {
                        return;
                    }
                    self.prober.apply(probes).await;
                    self.askers.apply(asked);
                    // Whoever asked may have given up waiting.
                    let _ = done.send(());
                }
            }
        }
    }
}
