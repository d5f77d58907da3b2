//! What a run's folder holds for its agents, besides their configurations.

use anyhow::{Context, Result};
use rand::Rng;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file that tells the receiver how much to delay its answers, in milliseconds.
pub(super) fn receiver_delay(folder: &Path) -> PathBuf {
    folder.join("receiver-delay-ms")
}

/// The file with the token that readers of the agents' reports must present.
pub(super) fn report_token(folder: &Path) -> PathBuf {
    folder.join("report.token")
}

/// Writes both: no delay, and a token that nobody outside the run can know.
pub(super) fn write(folder: &Path) -> Result<()> {
    let delay = receiver_delay(folder);
    fs::write(&delay, "0\n").with_context(|| format!("write {}", delay.display()))?;
    let token = report_token(folder);
    let what = || format!("write {}", token.display());
    let mut file =
        fs::File::options().write(true).create_new(true).mode(0o600).open(&token).with_context(what)?;
    writeln!(file, "{:032x}", rand::rng().random::<u128>()).with_context(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_token_is_another_one_in_each_run_and_for_nobody_else_to_read() {
        let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        write(one.path()).unwrap();
        write(two.path()).unwrap();
        let [first, second] = [&one, &two].map(|f| fs::read_to_string(report_token(f.path())).unwrap());
        assert_ne!(first, second);
        assert_eq!(first.trim_end().len(), 32, "{first:?}");
        assert_eq!(fs::metadata(report_token(one.path())).unwrap().mode() & 0o777, 0o600);
    }
}
