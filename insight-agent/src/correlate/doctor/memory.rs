//! What the kernel half holds, against what it may.

use super::privileges::ACCOUNTED_SINCE;
use super::size;
use crate::model::doctor::{Check, Facts, Group, Status};

/// What the agent itself takes beside the kernel's part: 17 MB were measured on an idle one
/// (docs/journal), and with less than as much again a burst of reports or scrapes would end it.
const AGENT_BYTES: u64 = 48 << 20;

/// Empty: nothing was loaded, so nothing is known.
pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let check = |name, status, found: String| Check::new(Group::Memory, name, status, found);
    let Some(memory) = &facts.kernel.memory else { return Vec::new() };
    let held = memory.map_bytes + memory.program_bytes;
    let found = format!(
        "{} in {} maps, {} in {} programs; {} are histograms: {} banks (CPUs, up to 16) x {} of what is on, for {} groups (forwarders x peer groups)",
        size(memory.map_bytes),
        memory.maps,
        size(memory.program_bytes),
        memory.programs,
        size(memory.histogram_bytes),
        memory.banks,
        memory.histograms_per_bank,
        memory.groups
    );
    let mut checks = vec![check("locked", Status::Ok, found)];
    if facts.system.is_before(ACCOUNTED_SINCE) {
        checks.push(match facts.process.memlock_limit_bytes {
            None => check("memlock_limit", Status::Ok, "unlimited".to_owned()),
            Some(limit) if limit >= held => check("memlock_limit", Status::Ok, size(limit)),
            Some(limit) => {
                let found = format!("{}, below the {} that are held", size(limit), size(held));
                check("memlock_limit", Status::Warning, found)
                    .advise("raise it: LimitMEMLOCK=infinity in systemd, ulimit -l unlimited in a shell")
            }
        });
    }
    checks.push(match &facts.process.memory_limit {
        None => check("memory_limit", Status::Ok, "none on this process' control groups".to_owned()),
        Some(limit) if limit.bytes >= held + AGENT_BYTES => {
            check("memory_limit", Status::Ok, format!("{} ({})", size(limit.bytes), limit.file))
        }
        Some(limit) => {
            let found = format!(
                "{} ({}): maps and programs count towards it and hold {}, and the agent takes up to {}",
                size(limit.bytes),
                limit.file,
                size(held),
                size(AGENT_BYTES)
            );
            let least = size((held + AGENT_BYTES).next_multiple_of(16 << 20));
            check("memory_limit", Status::Warning, found).advise(format!("raise the limit to {least}"))
        }
    });
    checks
}
