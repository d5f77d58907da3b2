//! A delay that an operator adds on purpose, to rehearse an incident: does the ledger name the
//! service, do the alerts fire?

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the file is read: a drill starts within this time.
const REREAD: Duration = Duration::from_millis(200);

/// Longest text that can be a delay; a longer file is not one.
const MAX_TEXT: usize = 32;

/// The delay in force, shared between the reader of the file and the receiver.
#[derive(Debug, Clone, Default)]
pub struct Drill {
    delay_ns: Arc<AtomicU64>,
}

impl Drill {
    /// The delay to add to every answer now; zero without a drill.
    pub fn delay(&self) -> Duration {
        Duration::from_nanos(self.delay_ns.load(Ordering::Relaxed))
    }

    /// Follows the file until the future is dropped. It holds a number of milliseconds; a
    /// missing or empty file is no drill. A text that is no number ends a drill under way and is
    /// logged once. Delays beyond `max` are cut to it.
    pub async fn follow(self, file: PathBuf, max: Duration) {
        let mut complained = false;
        loop {
            let path = file.clone();
            // A file on a hanging mount must not hold up the receiver's thread.
            let text = tokio::task::spawn_blocking(move || read_text(&path)).await;
            let delay = match text.map_err(io::Error::other).flatten().and_then(|text| parse(&text)) {
                Ok(delay) => {
                    complained = false;
                    delay.min(max)
                }
                Err(error) => {
                    if !complained {
                        tracing::warn!(
                            "[grpc] drill_delay_file = {file:?}: {error}: write milliseconds such as `30`, or remove the file"
                        );
                        complained = true;
                    }
                    Duration::ZERO
                }
            };
            let before =
                self.delay_ns.swap(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            if before != self.delay_ns.load(Ordering::Relaxed) {
                tracing::warn!("drill: every answer of this receiver is now delayed by {delay:?}");
            }
            tokio::time::sleep(REREAD).await;
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

fn parse(text: &str) -> io::Result<Duration> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let milliseconds = (text.len() <= MAX_TEXT)
        .then(|| text.parse::<f64>().ok())
        .flatten()
        .and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok());
    milliseconds.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a number of milliseconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_milliseconds_and_refuses_the_rest() {
        assert_eq!(parse("").unwrap(), Duration::ZERO);
        assert_eq!(parse(" 30\n").unwrap(), Duration::from_millis(30));
        assert_eq!(parse("0.5").unwrap(), Duration::from_micros(500));
        for bad in ["30ms", "-1", "NaN", "inf", "1e400", &"9".repeat(40)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn follows_its_file_and_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("delay");
        let drill = Drill::default();
        let task = tokio::spawn(drill.clone().follow(file.clone(), Duration::from_millis(50)));
        let until = async |wanted| {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
            while drill.delay() != wanted {
                assert!(tokio::time::Instant::now() < deadline, "{:?}, not {wanted:?}", drill.delay());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        std::fs::write(&file, "30").unwrap();
        until(Duration::from_millis(30)).await;
        std::fs::write(&file, "9999").unwrap();
        until(Duration::from_millis(50)).await;
        std::fs::write(&file, "soon").unwrap();
        until(Duration::ZERO).await;
        std::fs::write(&file, "10").unwrap();
        until(Duration::from_millis(10)).await;
        std::fs::remove_file(&file).unwrap();
        until(Duration::ZERO).await;
        task.abort();
    }
}
