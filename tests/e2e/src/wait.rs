//! Waiting for conditions: never for a time, always with an end.

use std::time::{Duration, Instant};

/// How long anything that should happen may take. On an idle machine nothing here takes a tenth of
/// it; half of it was seen to be too short when two builds share two cores.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks: a fifth of the shortest probing interval in use.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` gives a value, and returns it.
///
/// # Panics
/// `patience` has passed; the message has `what` and the last `Err`, which is what was seen.
pub fn wait_until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) if Instant::now() >= deadline => {
                panic!("waited {patience:?} for {what}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
