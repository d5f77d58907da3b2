//! Competitors for a CPU: threads that only compute, for a bounded time.
//!
//! One spinner hardly delays a forwarder that mostly waits, since the scheduler prefers what
//! slept; it takes several in the forwarder's own cpu cgroup on its CPU.

use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

/// Most threads at once: more would not make a node busier, only slower to end.
pub const MAX_THREADS: u32 = 256;

/// Spins on `threads` further threads until `duration` is over.
///
/// # Errors
/// No thread or more than [`MAX_THREADS`] asked for, or a thread cannot be started.
pub fn run(threads: u32, duration: Duration) -> Result<()> {
    ensure!((1..=MAX_THREADS).contains(&threads), "spin: {threads} threads: expected 1 to {MAX_THREADS}");
    let end = Instant::now() + duration;
    let spinning = (0..threads).map(|_| {
        let spin = move || {
            // The clock is read now and then only: this is to use the CPU, not the vDSO.
            while Instant::now() < end {
                (0..10_000).for_each(|_| std::hint::spin_loop());
            }
        };
        std::thread::Builder::new().name("lab-spinner".to_owned()).spawn(spin).context("spin: start a thread")
    });
    let spinning = spinning.collect::<Result<Vec<_>>>()?;
    for thread in spinning {
        let _ = thread.join(); // it has nothing to panic about
    }
    Ok(())
}
