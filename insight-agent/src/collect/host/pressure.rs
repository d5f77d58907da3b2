//! How long did threads wait for a resource?
//!
//! **Source**: `/proc/pressure/{cpu,io,memory}` (kernel documentation, `accounting/psi`), each line
//! by `procfs`; its reader of whole files asks for a `full` line, which CPU has only since 5.13.

use super::root::Source;
use crate::model::host::Pressure;
use procfs::parse_pressure_record;
use std::time::Duration;

/// What of pressure the kernel tells. It refuses the files where PSI is switched off.
pub(super) fn read(source: &Source<'_>) -> Pressure {
    let [cpu, io, memory] = ["cpu", "io", "memory"]
        .map(|name| source.read(format!("proc/pressure/{name}"), parse).unwrap_or_default());
    Pressure {
        cpu_some: cpu.some,
        io_some: io.some,
        io_full: io.full,
        memory_some: memory.some,
        memory_full: memory.full,
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stalls {
    some: Option<Duration>,
    full: Option<Duration>,
}

/// **None**: a line that is no pressure record, or no line at all.
pub(super) fn parse(text: &str) -> Option<Stalls> {
    let mut stalls = Stalls::default();
    for line in text.lines() {
        let (kind, _) = line.split_once(' ')?;
        // Checked before: procfs cuts the line behind five bytes, whatever they are.
        let total = match kind {
            "some" => &mut stalls.some,
            "full" => &mut stalls.full,
            _ => return None,
        };
        *total = Some(Duration::from_micros(parse_pressure_record(line).ok()?.total));
    }
    stalls.some.is_some().then_some(stalls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernels_cpu_has_no_full_line() {
        let line = "some avg10=20.45 avg60=25.56 avg300=56.99 total=4049269767\n";
        let stalls = parse(line).unwrap();
        assert_eq!(stalls.some, Some(Duration::from_micros(4_049_269_767)));
        assert_eq!(stalls.full, None);
        let both = parse(&format!("{line}full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n")).unwrap();
        assert_eq!(both.full, Some(Duration::from_micros(7)));
    }

    #[test]
    fn mangled_lines_give_none() {
        for text in
            ["", "some", "some ", "some avg10=1 avg60=1 avg300=1", "sóme avg10=1", "none avg10=0 total=1"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
