//! How far a probe has come, for whoever waits at a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// What takes less needs no words.
const PATIENCE: Duration = Duration::from_secs(2);
/// Least time between two of them.
const EVERY: Duration = Duration::from_millis(200);

/// One line on stderr that is written over. Nothing at all where stderr is no terminal.
pub(super) struct Progress {
    count: u32,
    begun: Instant,
    /// When it was shown last. **None**: it has not been.
    shown: Option<Instant>,
    is_watched: bool,
}

impl Progress {
    /// Of so many samples.
    pub(super) fn new(count: u32) -> Self {
        let is_watched = std::io::stderr().is_terminal();
        Self { count, begun: Instant::now(), shown: None, is_watched }
    }

    /// So many have been taken.
    pub(super) fn at(&mut self, done: u32) {
        if self.is_watched && is_due(self.begun.elapsed(), self.shown.map(|shown| shown.elapsed())) {
            self.shown = Some(Instant::now());
            // Who cannot be told misses nothing but this.
            let _ = write!(std::io::stderr(), "\r{}", line(done, self.count));
        }
    }
}

impl Drop for Progress {
    /// The result stands where the line stood.
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r{}\r", " ".repeat(line(self.count, self.count).len()));
        }
    }
}

fn is_due(waited: Duration, since_shown: Option<Duration>) -> bool {
    waited >= PATIENCE && since_shown.is_none_or(|since| since >= EVERY)
}

fn line(done: u32, count: u32) -> String {
    format!("{done} of {count} samples")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_speaks_after_a_while_and_now_and_then() {
        let ms = Duration::from_millis;
        assert!(!is_due(ms(1_999), None));
        assert!(is_due(ms(2_000), None) && is_due(ms(9_000), Some(ms(200))));
        assert!(!is_due(ms(9_000), Some(ms(199))));
    }
}
