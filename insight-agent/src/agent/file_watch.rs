//! Has the configuration read again when its file is another one.

use super::reload::{Reloader, Trigger};
use crate::collect::file_watch::another;
use std::sync::Arc;

pub use crate::collect::file_watch::Seen;

/// Has the file read again whenever it is another one than the last that was read; never ends. A file that
/// is not there is waited for, and so is one for an agent that follows none. **`read`**: what was seen
/// before the file was read for the start.
pub async fn watch(reloader: Arc<Reloader>, read: Option<Seen>) {
    let mut read = read;
    loop {
        // As long as nothing is there, it is what it was.
        let look = || std::future::ready(reloader.path().and_then(Seen::at).or(read));
        let seen = another(&read, look, || std::future::ready(())).await;
        read = seen;
        // What became of it is logged; a bad file is read again when it is another one.
        let _ = reloader.reload(Trigger::FileChange).await;
    }
}
