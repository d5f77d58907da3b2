//! What an object offers to its loader, whatever compiler made it.

use super::toolchain::Toolchain;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Programs by name and section, maps with their definitions, globals with their sizes: one line
/// each, sorted.
///
/// # Errors
/// The bytes are no object, or LLVM's tools are missing.
pub fn of(toolchain: &Toolchain, object: &[u8]) -> Result<String> {
    let folder = tempfile::tempdir().context("create a temporary folder")?;
    let path = folder.path().join("object");
    fs::write(&path, object)?;
    let symbols = output(Command::new(toolchain.llvm("llvm-objdump")).arg("--syms").arg(&path))?;
    let maps = section(toolchain, &path, "maps")?;
    let mut lines: Vec<String> =
        String::from_utf8_lossy(&symbols).lines().filter_map(|line| line_of(line, &maps)).collect();
    lines.sort();
    if lines.is_empty() {
        bail!("outline of an object: it has no programs, no maps and no globals");
    }
    Ok(lines.join("\n"))
}

/// The outline's line for one symbol, `value flags section size name`. **None**: not offered.
fn line_of(symbol: &str, maps: &[u8]) -> Option<String> {
    let words: Vec<&str> = symbol.split_whitespace().collect();
    let [value, "g", kind, section, size, .., name] = words.as_slice() else { return None };
    match (*kind, *section) {
        // Which functions stay functions of their own is the compiler's choice.
        (_, ".text") => None,
        ("F", section) => Some(format!("program {name} {section}")),
        ("O", "maps") => {
            let at = usize::from_str_radix(value, 16).ok()?;
            let length = usize::from_str_radix(size, 16).ok()?;
            Some(format!("map {name} {:02x?}", maps.get(at..at.checked_add(length)?)?))
        }
        ("O", section) => Some(format!("global {name} {section} {size}")),
        _ => None,
    }
}

fn section(toolchain: &Toolchain, object: &Path, name: &str) -> Result<Vec<u8>> {
    let dumped = object.with_extension(name);
    let mut command = Command::new(toolchain.llvm("llvm-objcopy"));
    let mut argument = std::ffi::OsString::from(format!("--dump-section={name}="));
    argument.push(&dumped);
    output(command.arg(argument).arg(object).arg("/dev/null"))?;
    fs::read(&dumped).with_context(|| format!("read section {name}"))
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_maps_and_globals_are_offered_and_inner_functions_are_not() {
        let line = |text: &str| line_of(text, &[1, 2, 3, 4]);
        let program = "0000000000000000 g     F tp_btf/sk_data_ready 0000000000000328 data_ready";
        assert_eq!(line(program).unwrap(), "program data_ready tp_btf/sk_data_ready");
        assert_eq!(
            line("0000000000000002 g     O maps 0000000000000002 SOCKS").unwrap(),
            "map SOCKS [03, 04]"
        );
        let global = "0000000000000014 g     O .rodata 0000000000000004 OFF_SK";
        assert_eq!(line(global).unwrap(), "global OFF_SK .rodata 0000000000000004");
        assert_eq!(line("0000000000000000 g     F .text 0000000000000038 memcpy"), None);
        assert_eq!(line("SYMBOL TABLE:"), None);
    }
}
