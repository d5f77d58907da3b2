//! How long was the calling thread runnable, but without a CPU?
//!
//! **Source**: `/proc/thread-self/schedstat`, second field: nanoseconds spent waiting on a
//! runqueue since the thread's start (kernel documentation, `scheduler/sched-stats`).

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

thread_local! {
    // `/proc/thread-self` names the thread that opens it, so each thread keeps its own file;
    // one pread then costs about a microsecond.
    static SCHEDSTAT: OnceCell<Option<File>> = const { OnceCell::new() };
}

/// Cumulative runqueue wait of the calling thread.
///
/// **None**: the kernel does not tell (no `CONFIG_SCHED_INFO`, or `/proc` is not mounted).
/// **Cost**: one `pread` of about 30 bytes.
pub fn read_thread_wait() -> Option<Duration> {
    SCHEDSTAT.with(|cell| {
        let file = cell.get_or_init(|| File::open(Path::new("/proc/thread-self/schedstat")).ok());
        let mut text = [0_u8; 96];
        let length = file.as_ref()?.read_at(&mut text, 0).ok()?;
        parse_wait(text.get(..length)?)
    })
}

/// The second field of a schedstat line. **None** when the line is not one.
fn parse_wait(line: &[u8]) -> Option<Duration> {
    let field = std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?;
    field.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_field_is_the_wait() {
        assert_eq!(parse_wait(b"123 456 7\n"), Some(Duration::from_nanos(456)));
        assert_eq!(parse_wait(b"123"), None);
        assert_eq!(parse_wait(b"123 x 7"), None);
        assert_eq!(parse_wait(b"\xff 1 2"), None);
    }

    #[test]
    fn this_thread_has_a_wait_that_never_falls() {
        let Some(first) = read_thread_wait() else {
            return; // a kernel without schedstat: absence is the contract
        };
        std::thread::yield_now();
        assert!(read_thread_wait().unwrap() >= first);
    }
}
