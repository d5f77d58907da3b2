//! Debian's kernels: which are the newest, and where they lie unpacked.
//!
//! A package is downloaded and unpacked, never installed. Its folder bears its name and version, so
//! that an update of Debian's is another folder.

use crate::command::succeed;
use crate::setup;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The kernels that Debian 12 offers beside each other. `cloud` is the smallest flavour, without
/// drivers for hardware.
pub const SERIES: [&str; 2] = ["6.1", "6.12"];

/// Where they lie, below the checkout.
const FOLDER: &str = "target/vmtest/kernels";

const BEFORE: &str = "linux-image-";
const BEHIND: &str = "-cloud-amd64";

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Which of [`SERIES`].
    pub series: &'static str,
    /// The folder with `boot` and `lib` in it.
    folder: PathBuf,
}

impl Kernel {
    /// The newest that is unpacked. **None**: there is none of this series.
    pub fn unpacked(root: &Path, series: &'static str) -> Option<Self> {
        let folder = root.join(FOLDER);
        let listed = fs::read_dir(&folder).ok()?.filter_map(Result::ok);
        let names: Vec<String> =
            listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let newest =
            names.iter().filter_map(|name| Some((version(name.split_once('_')?.0, series)?, name))).max()?;
        Some(Self { series, folder: folder.join(newest.1) })
    }

    /// The image that a machine boots.
    ///
    /// # Errors
    /// The package holds none.
    pub fn image(&self) -> Result<PathBuf> {
        let boot = self.folder.join("boot");
        let mut listed =
            fs::read_dir(&boot).with_context(|| format!("list {}", boot.display()))?.filter_map(Result::ok);
        let image = listed.find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"));
        image.map(|entry| entry.path()).with_context(|| format!("find vmlinuz in {}", boot.display()))
    }

    /// The file of a kernel module, maybe compressed.
    ///
    /// # Errors
    /// The package has no such module.
    pub fn module(&self, name: &str) -> Result<PathBuf> {
        let found = find(&self.folder.join("lib/modules"), &|file| {
            file.strip_prefix(name).is_some_and(|rest| rest == ".ko" || rest.starts_with(".ko."))
        });
        found.with_context(|| {
            format!("find the module {name} of kernel {} in {}", self.series, self.folder.display())
        })
    }
}

/// The first file below `folder` whose name is wanted.
fn find(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries.into_iter().find_map(|entry| {
        let path = entry.path();
        match entry.file_type().ok()?.is_dir() {
            true => find(&path, wanted),
            false => wanted(&entry.file_name().to_string_lossy()).then_some(path),
        }
    })
}

/// Downloads and unpacks the newest kernel of every series, unless it is there already. What was
/// there before of the same series goes.
///
/// # Errors
/// Debian offers none, or it cannot be downloaded or unpacked.
pub fn fetch(root: &Path) -> Result<()> {
    for series in SERIES {
        let fetched = fetch_newest(root, series);
        // Debian drops a package when the next one comes: old lists name what is gone.
        if fetched.is_err() && nix::unistd::Uid::effective().is_root() && setup::apt(&["update"])? {
            fetch_newest(root, series)?;
        } else {
            fetched?;
        }
    }
    Ok(())
}

fn fetch_newest(root: &Path, series: &'static str) -> Result<()> {
    let pattern = format!("^{BEFORE}{}\\.", series.replace('.', "\\."));
    let listed = output(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
    let package = newest(&listed, series).with_context(|| {
        format!("find a kernel {series}: `apt-cache search {BEFORE}` lists none; is this Debian 12 with its updates?")
    })?;
    let shown = output(Command::new("apt-cache").args(["show", "--no-all-versions", package]))?;
    let version = shown.lines().find_map(|line| line.strip_prefix("Version: "));
    let name = format!("{package}_{}", version.with_context(|| format!("find the version of {package}"))?);
    let folder = root.join(FOLDER);
    if folder.join(&name).is_dir() {
        return Ok(());
    }
    eprintln!("downloading {package}");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let work = tempfile::Builder::new().prefix("unpacking-").tempdir_in(&folder)?;
    succeed(Command::new("apt-get").args(["download", "-q", package]).current_dir(work.path()))?;
    let package =
        find(work.path(), &|file| file.ends_with(".deb")).context("find what apt-get downloaded")?;
    let fresh = work.path().join("kernel");
    succeed(Command::new("dpkg-deb").arg("-x").arg(package).arg(&fresh))?;
    for entry in fs::read_dir(&folder)?.filter_map(Result::ok) {
        let before = entry.file_name().to_string_lossy().into_owned();
        if before.split_once('_').is_some_and(|(package, _)| self::version(package, series).is_some()) {
            fs::remove_dir_all(entry.path()).with_context(|| format!("remove {before}"))?;
        }
    }
    fs::rename(&fresh, folder.join(&name)).with_context(|| format!("move {name} to its place"))
}

/// The newest package of `series` in what `apt-cache search` printed. **None**: it lists none.
fn newest<'a>(listed: &'a str, series: &str) -> Option<&'a str> {
    let packages = listed.lines().filter_map(|line| line.split(' ').next());
    packages
        .filter_map(|package| Some((version(package, series)?, package)))
        .max()
        .map(|(_, package)| package)
}

/// The numbers of a package's version, such as 6, 1, 0, 56. **None**: it is no kernel of `series`,
/// or not the flavour that is run.
fn version(package: &str, series: &str) -> Option<Vec<u32>> {
    let version = package.strip_prefix(BEFORE)?.strip_suffix(BEHIND)?;
    version.strip_prefix(series)?.strip_prefix('.')?;
    // What follows a plus names the release of Debian.
    let numbers = version.split('+').next()?.split(['.', '-']);
    numbers.map(|number| number.parse().ok()).collect()
}

fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}: is this Debian?"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
linux-image-6.1.0-9-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-56-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-57-amd64 - Linux 6.1 for 64-bit PCs (signed)
linux-image-6.1.0-57-cloud-amd64-unsigned - Linux 6.1 for x86-64 cloud
linux-image-6.12.9+bpo-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.117+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-cloud-amd64 - Linux for x86-64 cloud (meta-package)
";

    #[test]
    fn the_newest_is_by_numbers_and_of_its_own_series_and_flavour() {
        assert_eq!(newest(LISTED, "6.1"), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest(LISTED, "6.12"), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(newest(LISTED, "5.15"), None);
    }

    #[test]
    fn an_unpacked_kernel_is_found_with_its_image_and_modules() {
        let root = tempfile::tempdir().unwrap();
        for package in
            ["linux-image-6.1.0-9-cloud-amd64_6.1.27-1", "linux-image-6.1.0-56-cloud-amd64_6.1.192-2"]
        {
            let kernel = root.path().join(FOLDER).join(package);
            fs::create_dir_all(kernel.join("boot")).unwrap();
            fs::create_dir_all(kernel.join("lib/modules/x/kernel/drivers/net")).unwrap();
            fs::write(kernel.join("boot/vmlinuz-x"), package).unwrap();
            fs::write(kernel.join("lib/modules/x/kernel/drivers/net/veth.ko.xz"), "").unwrap();
        }
        fs::create_dir_all(root.path().join(FOLDER).join("unpacking-1")).unwrap();
        let kernel = Kernel::unpacked(root.path(), "6.1").unwrap();
        assert!(fs::read_to_string(kernel.image().unwrap()).unwrap().contains("0-56"));
        assert!(kernel.module("veth").unwrap().ends_with("veth.ko.xz"));
        assert!(kernel.module("vet").unwrap_err().to_string().contains("6.1"));
        assert!(Kernel::unpacked(root.path(), "6.12").is_none());
    }
}
