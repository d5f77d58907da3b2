//! Finds the two programs that the demo starts, and builds them where cargo is at hand.

use crate::cargo;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the programs are.
#[derive(Debug, PartialEq, Eq)]
pub struct Programs {
    /// `insight-agent`.
    pub agent: PathBuf,
    /// `insight-lab`.
    pub lab: PathBuf,
}

/// Builds both when started through cargo; else takes those that lie beside this program.
///
/// # Errors
/// The build fails, or a program is not there.
pub fn locate(root: &Path) -> Result<Programs> {
    match std::env::var_os("CARGO") {
        Some(_) => build(root),
        None => built(),
    }
}

/// Takes both as they lie beside this program, whoever built them.
///
/// # Errors
/// A program is not there.
pub fn built() -> Result<Programs> {
    beside(&std::env::current_exe().context("find out where this program lies")?)
}

/// Builds the agent as it is shipped.
///
/// # Errors
/// There is no cargo, or the build fails.
pub fn build_release_agent(root: &Path) -> Result<PathBuf> {
    eprintln!("building insight-agent, release: minutes the first time");
    let arguments = ["--release", "-p", "insight-agent", "--bins"];
    let messages = run_build(cargo::command(root).args(["build", "--locked"]).args(arguments))?;
    executable(&messages, "insight-agent").context("cargo build names no program insight-agent")
}

fn build(root: &Path) -> Result<Programs> {
    eprintln!("building insight-agent and insight-lab");
    // xtask is named so that cargo chooses the features of shared dependencies as it did for xtask
    // itself, and compiles the large ones (tokio, tonic) once and not twice.
    let packages = ["-p", "insight-agent", "-p", "insight-lab", "-p", "xtask", "--bins"];
    let messages = run_build(cargo::command(root).args(["build", "--locked"]).args(packages))?;
    let find = |name: &str| {
        executable(&messages, name).with_context(|| format!("cargo build names no program {name}"))
    };
    Ok(Programs { agent: find("insight-agent")?, lab: find("insight-lab")? })
}

/// Runs `cargo build`; gives its messages.
fn run_build(command: &mut Command) -> Result<String> {
    let output = command
        // Says on stdout where each program went, wherever the target folder is.
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo build")?;
    if !output.status.success() {
        bail!("cargo build: {}: read its output above", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The path of the binary target `name` in cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = parsed.filter(|message| {
        message["reason"] == "compiler-artifact"
            && message["target"]["name"] == name
            && message["executable"].is_string()
    });
    Some(found.next()?["executable"].as_str()?.into())
}

fn beside(own: &Path) -> Result<Programs> {
    let find = |name: &str| {
        let path = own.with_file_name(name);
        if !path.is_file() {
            bail!("{} is not there: start the demo with `cargo xtask demo`, which builds it", path.display());
        }
        Ok(path)
    };
    Ok(Programs { agent: find("insight-agent")?, lab: find("insight-lab")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_libraries_of_its_name() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"insight-lab","kind":["lib"]},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"insight-lab","kind":["bin"]},"executable":"/t/debug/insight-lab"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "insight-lab"), Some("/t/debug/insight-lab".into()));
        assert_eq!(executable(messages, "insight-agent"), None);
    }

    #[test]
    fn without_cargo_the_siblings_are_taken_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("xtask");
        std::fs::write(folder.path().join("insight-agent"), "").unwrap();
        assert!(beside(&own).unwrap_err().to_string().contains("insight-lab"));
        std::fs::write(folder.path().join("insight-lab"), "").unwrap();
        assert_eq!(beside(&own).unwrap().lab, folder.path().join("insight-lab"));
    }
}
