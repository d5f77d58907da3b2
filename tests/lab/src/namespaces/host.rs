//! What everybody needs who makes namespaces: one `ip` command, and CPUs as the kernel writes them.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// CPUs as the kernel's masks want them: 32 bits in hexadecimal per group, the highest first.
pub fn cpu_mask(cpus: &[usize]) -> String {
    let groups = cpus.iter().max().map_or(1, |highest| highest / 32 + 1);
    let group = |index: usize| {
        let bits = cpus.iter().filter(|cpu| *cpu / 32 == index);
        bits.fold(0_u32, |mask, cpu| mask | 1 << (cpu % 32))
    };
    (0..groups).rev().map(|index| format!("{:08x}", group(index))).collect::<Vec<_>>().join(",")
}

/// Runs one `ip` command.
///
/// # Errors
/// iproute2 is not installed, or refuses it.
pub fn ip(arguments: &[&str]) -> Result<()> {
    let what = || format!("ip {}", arguments.join(" "));
    let done = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{}: install iproute2", what()))?;
    if !done.status.success() {
        bail!("{}: {}", what(), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_hold_one_bit_per_cpu_in_groups_of_32() {
        assert_eq!(cpu_mask(&[0]), "00000001");
        assert_eq!(cpu_mask(&[1, 3]), "0000000a");
        assert_eq!(cpu_mask(&[0, 33]), "00000002,00000001");
    }
}
