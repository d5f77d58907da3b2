//! Builds the fuzz targets: our crates with counters in every branch, and all others as they are.
//!
//! libFuzzer learns from those counters which inputs reach something new. Flags for the whole build
//! would compile every dependency a second time, for minutes, and count branches of tokio; so cargo
//! is given this program as its compiler, and it adds the flags where the crate is ours. The
//! counters are a pass of LLVM that stable Rust has too; only sanitizers need a nightly, and without
//! unsafe code there is little for them to find.

use crate::cargo;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

/// The package of the targets, below the checkout; a workspace of its own.
pub const PACKAGE: &str = "insight-agent/fuzz";

/// Set to the checkout's path where cargo starts this program as its compiler.
const ROOT: &str = "INSIGHT_FUZZ_ROOT";

/// What libFuzzer needs to see of the code it runs.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

// ---- as the compiler ------------------------------------------------------------------------

/// Compiles, if this process was started in the compiler's place. **None**: it was not.
pub fn as_compiler() -> Option<ExitCode> {
    let root = env::var_os(ROOT)?;
    let mut arguments = env::args_os().skip(1);
    // Cargo names the real one first.
    let mut command = Command::new(arguments.next()?);
    let arguments: Vec<OsString> = arguments.collect();
    let folder = env::var_os("CARGO_MANIFEST_DIR");
    if folder.is_some_and(|folder| Path::new(&folder).starts_with(&root)) && !runs_at_build(&arguments) {
        command.args(FLAGS);
    }
    // Takes this process's place, or says why it cannot.
    let error = command.args(&arguments).exec();
    eprintln!("error: run {command:?}: {error}");
    Some(ExitCode::FAILURE)
}

/// Build scripts and macros run in programs that have no counters' table.
fn runs_at_build(arguments: &[OsString]) -> bool {
    let is = |text: &str| arguments.iter().any(|argument| argument == OsStr::new(text));
    is("proc-macro") || is("build_script_build")
}

// ---- as the builder -------------------------------------------------------------------------

/// A fuzz target that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name: of its program, its seeds and its log.
    pub name: String,
    /// The program.
    pub program: PathBuf,
}

/// What is missing for a build. **None**: nothing that is known before it.
pub fn missing(root: &Path) -> Option<String> {
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let mut version = Command::new(&compiler);
    let version = version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !version.status().is_ok_and(|status| status.success()) {
        return Some(format!("no C++ compiler {} for libFuzzer", compiler.display()));
    }
    fetch(root).err().map(|error| format!("{error:#}"))
}

/// Fetches what the targets depend on, from the network only if this machine lacks something.
///
/// Their lock file is the workspace's, with libFuzzer added, so both build the same versions.
fn fetch(root: &Path) -> Result<()> {
    let (ours, theirs) = (root.join("Cargo.lock"), root.join(PACKAGE).join("Cargo.lock"));
    let seed = root.join(super::FOLDER).join("seed.lock");
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    let wanted = read(&ours)?;
    if !theirs.exists() || fs::read(&seed).ok().as_ref() != Some(&wanted) {
        // Nothing has been built here on a fresh checkout.
        let folder = root.join(super::FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        for path in [&theirs, &seed] {
            fs::write(path, &wanted).with_context(|| format!("write {}", path.display()))?;
        }
    }
    let attempt = |online: bool| {
        let mut command = cargo::command(root);
        command.args(["fetch", "--quiet", "--manifest-path"]).arg(root.join(PACKAGE).join("Cargo.toml"));
        let command = if online { &mut command } else { command.arg("--offline") };
        command.stdin(Stdio::null()).output().context("run cargo fetch")
    };
    if attempt(false)?.status.success() {
        return Ok(());
    }
    let output = attempt(true)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("cargo fetch of {PACKAGE}: {}", said.lines().next().unwrap_or("no reason given"));
    }
    Ok(())
}

/// Builds every target, beside this program so that cargo finds most crates compiled already.
///
/// # Errors
/// Something is missing, or the build fails.
pub fn build(root: &Path) -> Result<Vec<Target>> {
    if let Some(missing) = missing(root) {
        bail!("{missing}: install it, then try again");
    }
    let this = env::current_exe().context("find out where this program lies")?;
    let folder = this.parent().and_then(Path::parent).context("this program lies in a target folder")?;
    let mut command = cargo::command(root);
    command
        .args(["build", "--bins", "--locked", "--offline", "--message-format=json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(root.join(PACKAGE).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder)
        .env("RUSTC_WRAPPER", copy_of_this(folder)?)
        .env(ROOT, root);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run cargo build")?;
    if !output.status.success() {
        bail!("cargo build of {PACKAGE}: {}: read its output above", output.status);
    }
    let mut targets = programs(&String::from_utf8_lossy(&output.stdout));
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(targets)
}

/// This program, under a name of its own: cargo may have built another one in its place since it was started,
/// and a file that is no more cannot be run.
fn copy_of_this(folder: &Path) -> Result<PathBuf> {
    let [copy, fresh] = ["xtask-as-rustc", "xtask-as-rustc.new"].map(|name| folder.join(name));
    // Aside and renamed: the copy of another run may be running.
    fs::copy("/proc/self/exe", &fresh)
        .and_then(|_| fs::rename(&fresh, &copy))
        .with_context(|| format!("copy this program to {}", copy.display()))?;
    Ok(copy)
}

/// The programs in cargo's messages.
fn programs(messages: &str) -> Vec<Target> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = parsed.filter_map(|message| {
        let program = message["executable"].as_str()?.into();
        let name = message["target"]["name"].as_str()?.to_owned();
        Some(Target { name, program })
    });
    built.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_what_cargo_says() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"http"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"orca"},"executable":"/t/debug/orca"}"#,
            "\nno json\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(programs(messages), [Target { name: "orca".into(), program: "/t/debug/orca".into() }]);
    }

    #[test]
    fn what_runs_at_build_time_gets_no_counters() {
        let arguments = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(runs_at_build(&arguments("--crate-name build_script_build build.rs")));
        assert!(runs_at_build(&arguments("--crate-name x --crate-type proc-macro src/lib.rs")));
        assert!(!runs_at_build(&arguments("--crate-name insight_agent --crate-type lib src/lib.rs")));
    }
}
