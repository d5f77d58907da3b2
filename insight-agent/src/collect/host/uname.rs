//! Which system runs?
//!
//! **Source**: `/proc/sys/kernel`, which a tree can hold; the machine's name is not there before
//! 6.1 and comes from `sysinfo`, that is from the running kernel.

use super::root::Source;
use crate::model::host::Uname;

/// **None**: one of the files is not there.
pub(super) fn read(source: &Source<'_>) -> Option<Uname> {
    let of = |name: &str| source.text(format!("proc/sys/kernel/{name}"));
    Some(Uname {
        sysname: of("ostype")?,
        release: of("osrelease")?,
        version: of("version")?,
        machine: sysinfo::System::cpu_arch(),
        nodename: of("hostname")?,
        domainname: of("domainname")?,
    })
}
