//! Which processes forward, by name.

use std::fs;
use std::path::Path;

/// Ids of the processes whose name is one of `names`, in rising order. A process that ends while
/// it is looked at is none.
pub fn find(proc: &Path, names: &[String]) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let comm = fs::read_to_string(proc.join(pid.to_string()).join("comm"));
            comm.is_ok_and(|comm| names.iter().any(|name| name == comm.trim_end_matches('\n')))
        })
        .collect();
    pids.sort_unstable();
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_by_their_whole_name() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, comm) in
            [("12", "nginx\n"), ("7", "nginx\n"), ("8", "nginx-exporter\n"), ("self", "nginx\n")]
        {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("comm"), comm).unwrap();
        }
        fs::create_dir(proc.path().join("9")).unwrap();
        assert_eq!(find(proc.path(), &["nginx".into()]), [7, 12]);
        assert_eq!(find(&proc.path().join("gone"), &["nginx".into()]), [0; 0]);
    }
}
