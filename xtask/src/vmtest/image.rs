//! What is in the machine: its first process, the programs with their libraries, the modules.

use super::archive::Archive;
use super::judge;
use super::kernels::Kernel;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The first process.
const INIT: &str = include_str!("guest/init.sh");

/// Its files: where each lies, and what is in it.
const FILES: [(&str, &str); 5] = [
    ("/etc/near.toml", include_str!("guest/near.toml")),
    ("/etc/far.toml", include_str!("guest/far.toml")),
    ("/etc/caller.toml", include_str!("guest/caller.toml")),
    ("/etc/haproxy.cfg", include_str!("guest/haproxy.cfg")),
    ("/etc/spin.lua", include_str!("guest/spin.lua")),
];

/// Modules of its kernel, in the order in which they are loaded; they need no others.
const MODULES: [&str; 2] = ["veth", "sch_netem"];

/// Programs of this machine, beside the agent: `ip` and `tc` are iproute2's.
pub const PROGRAMS: [&str; 4] = ["busybox", "haproxy", "ip", "tc"];

/// Where programs lie that only root has on the search path.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A program of this machine. **None**: it is not installed.
pub fn program(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// The initial file system of a machine with `kernel`.
///
/// # Errors
/// A program, a library or a module is not there.
pub fn build(kernel: &Kernel, agent: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.file("/init", INIT.as_bytes());
    for (path, content) in FILES {
        archive.file(path, content.as_bytes());
    }
    archive.file("/etc/delays", judge::injected().as_bytes());
    let mut libraries = BTreeSet::new();
    archive.file("/usr/sbin/insight-agent", &read(agent)?);
    libraries.extend(libraries_of(agent)?);
    for name in PROGRAMS {
        let path = program(name)
            .with_context(|| format!("{name} is not installed: run `cargo xtask vmtest --setup`"))?;
        // busybox makes links to itself in its own folder.
        let folder = if name == "busybox" { "/bin" } else { "/usr/sbin" };
        archive.file(&format!("{folder}/{name}"), &read(&path)?);
        libraries.extend(libraries_of(&path)?);
    }
    for library in libraries {
        // At the place that the loader looks it up, whatever it is a link to here.
        archive.file(&library.to_string_lossy(), &read(&library)?);
    }
    for module in MODULES {
        let file = kernel.module(module)?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        archive.file(&format!("/modules/{name}"), &read(&file)?);
    }
    Ok(archive.finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let mut command = Command::new("ldd");
    let output =
        command.arg(program).stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A static program has none, and ldd fails on it.
    if !output.status.success() {
        return Ok(Vec::new());
    }
    parse_libraries(&text).with_context(|| format!("libraries of {}", program.display()))
}

/// The files in what `ldd` printed.
fn parse_libraries(text: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.contains("not found") {
            bail!("{line}");
        }
        // `name => path (address)`, or `path (address)` of the loader; the kernel's own has no path.
        let file = line.split_once("=> ").map_or(line, |(_, file)| file);
        let file = file.split(" (").next().unwrap_or_default();
        if file.starts_with('/') {
            libraries.push(file.into());
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_taken_with_the_loader_and_a_missing_one_is_named() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\t/lib64/ld.so (0x3)\n";
        assert_eq!(parse_libraries(text).unwrap(), [PathBuf::from("/lib/libc.so.6"), "/lib64/ld.so".into()]);
        let error = parse_libraries("\tlibx.so => not found\n").unwrap_err();
        assert!(error.to_string().contains("libx.so"));
        assert_eq!(parse_libraries("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_configurations_are_toml_and_meet_at_their_addresses() {
        let table = |path: &str| -> toml::Table {
            let (_, text) = FILES.iter().find(|(file, _)| *file == path).unwrap();
            text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let haproxy = FILES.iter().find(|(file, _)| *file == "/etc/haproxy.cfg").unwrap().1;
        let (near, far, caller) =
            (table("/etc/near.toml"), table("/etc/far.toml"), table("/etc/caller.toml"));
        assert!(haproxy.contains(far["grpc"]["listen"].as_str().unwrap()));
        for probe in caller["probe"].as_array().unwrap() {
            assert!(haproxy.contains(&format!("bind {} ", probe["address"].as_str().unwrap())));
        }
        let page = |table: &toml::Table| {
            table["metrics"]["listen"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
        };
        assert!(INIT.contains(&format!("NEAR_PAGE={}\n", page(&near))));
        assert!(INIT.contains(&format!("CALLER_PAGE={}\n", page(&caller))));
    }
}
