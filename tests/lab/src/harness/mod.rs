//! Starting, recording and ending a run: everything that touches processes and files.
//!
//! Nothing of a run may outlive its harness. Four things see to that, each for when the one
//! before had no chance: [`Lab::stop`](lab::Lab::stop) and `Drop`; [`interrupt`] for Ctrl-C; the
//! kernel's parent-death signal for a harness that was killed ([`launch`]); and the next start,
//! which sweeps what a dead harness recorded ([`sweep`]) and what carries its name outside the
//! folder ([`crate::namespaces`]).

mod agent_config;
mod files;
mod injection;
pub mod interrupt;
pub mod lab;
pub mod launch;
mod node;
pub mod options;
pub mod real;
pub(crate) mod record;
mod spawner;
mod specs;
mod sweep;

pub use sweep::{runs_folder, sweep};
