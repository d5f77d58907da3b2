//! The compiler, the linker and LLVM's tools for the kernel half.
//!
//! Debian packages a rustc together with a `core` library compiled for BPF; rustup has none for a
//! stable compiler. bpf-linker must be built against the LLVM that this rustc uses.

use crate::cargo;
use crate::command::succeed;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The LLVM of both the compiler and the linker; raise it together with [`LINKER`].
const LLVM: &str = "22";

/// The version of bpf-linker, which turns LLVM bitcode into a BPF object with BTF.
const LINKER: &str = "0.13.0";

/// Debian's rustc; the `rustc` of the search path is usually rustup's.
const RUSTC: &str = "/usr/bin/rustc";

/// Debian packages: compiler, its `core` for BPF, LLVM with headers, and what LLVM links.
const PACKAGES: [&str; 6] =
    ["libstd-rust-web-dev-bpf", "libzstd-dev", "llvm-22", "llvm-22-dev", "rustc-web", "zlib1g-dev"];

/// Packages whose version can change the object's bytes.
const DECISIVE: [&str; 3] = ["libllvm22", "libstd-rust-web-dev-bpf", "rustc-web"];

/// What is missing on this machine, in words. **None**: a build can start.
pub fn missing(root: &Path) -> Option<String> {
    let packages = missing_packages();
    if !packages.is_empty() {
        return Some(format!("Debian packages {}", packages.join(" ")));
    }
    let toolchain = Toolchain { folder: root.join("target/tools") };
    (!toolchain.has_linker()).then(|| format!("bpf-linker {LINKER}"))
}

/// An installed toolchain.
#[derive(Debug)]
pub struct Toolchain {
    folder: PathBuf,
}

impl Toolchain {
    /// Installs what is missing; bpf-linker goes below `folder`. With everything in place this
    /// takes a fraction of a second.
    ///
    /// # Errors
    /// Not root while a Debian package is missing, an installation failed, or the compiler has
    /// another LLVM than the linker.
    pub fn install(folder: &Path) -> Result<Self> {
        let missing = missing_packages();
        if !missing.is_empty() {
            install_packages(&missing)?;
        }
        check_compiler()?;
        let toolchain = Self { folder: folder.into() };
        if !toolchain.has_linker() {
            toolchain.install_linker()?;
        }
        Ok(toolchain)
    }

    /// The compiler.
    pub fn rustc(&self) -> &'static str {
        RUSTC
    }

    /// The folder that holds bpf-linker.
    pub fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// One of LLVM's tools.
    pub fn llvm(&self, tool: &str) -> PathBuf {
        Path::new("/usr/lib").join(format!("llvm-{LLVM}/bin")).join(tool)
    }

    /// What decides the object's bytes beside the sources, on one line.
    ///
    /// # Errors
    /// A version cannot be asked for.
    pub fn identity(&self, root: &Path) -> Result<String> {
        let format = "-f=${Package}=${Version} ";
        let packages = text_of(Command::new("dpkg-query").args(["-W", format]).args(DECISIVE))?;
        let cargo = text_of(cargo::command(root).arg("--version"))?;
        // `cargo 1.95.0 (0123abc 2026-04-14)`: cargo's hash of a package is part of its symbols.
        let cargo = cargo.split(' ').nth(1).context("`cargo --version` names a version")?;
        Ok(format!("{}bpf-linker={LINKER} cargo={}", packages, cargo.trim()))
    }

    /// Asking for the version also shows that its LLVM library still loads.
    fn has_linker(&self) -> bool {
        let asked = text_of(Command::new(self.bin().join("bpf-linker")).arg("--version"));
        asked.is_ok_and(|answer| answer.trim() == format!("bpf-linker {LINKER}"))
    }

    fn install_linker(&self) -> Result<()> {
        eprintln!("building bpf-linker {LINKER}: a minute or two");
        // From / and without this project's settings: it is a program like any other.
        let mut command = cargo::command(Path::new("/"));
        for name in
            ["RUSTC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"]
        {
            command.env_remove(name);
        }
        command
            .env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM}"))
            .args(["install", "--quiet", "--locked", "--force", "--no-default-features", "--features"])
            .args([&format!("llvm-{LLVM}"), "--root"])
            .arg(&self.folder)
            .arg(format!("bpf-linker@{LINKER}"));
        succeed(&mut command)
    }
}

fn missing_packages() -> Vec<&'static str> {
    let mut query = Command::new("dpkg-query");
    let asked = query.args(["-W", "-f=${Package} ${db:Status-Status}\n"]).args(PACKAGES);
    // It fails as soon as one package is unknown, and still lists the others.
    let listed = asked.stderr(Stdio::null()).output().map(|output| output.stdout).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let installed = |package: &str| listed.lines().any(|line| line == format!("{package} installed"));
    PACKAGES.into_iter().filter(|package| !installed(package)).collect()
}

fn install_packages(missing: &[&str]) -> Result<()> {
    let list = missing.join(" ");
    if !nix::unistd::Uid::effective().is_root() {
        bail!("build the kernel half: missing, and only root can install them: {list}");
    }
    eprintln!("installing {list}");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        // Another apt may hold the lock for a while.
        succeed(command.args(["-qq", "-y", "-o", "DPkg::Lock::Timeout=300"]).args(arguments))
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], missing].concat())
}

/// Compiler and linker exchange LLVM bitcode, which no other LLVM need understand.
fn check_compiler() -> Result<()> {
    let version = text_of(Command::new(RUSTC).args(["--version", "--verbose"]))?;
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: ")).unwrap_or_default();
    if llvm.split('.').next() != Some(LLVM) {
        bail!(
            "{RUSTC} uses LLVM {llvm}, bpf-linker LLVM {LLVM}: Debian has moved on; raise LLVM and LINKER \
             in xtask/src/build_ebpf/toolchain.rs together"
        );
    }
    Ok(())
}

fn text_of(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("read the output of {command:?}"))
}
