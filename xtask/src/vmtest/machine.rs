//! One virtual machine, from its start to its end.

use super::console::Console;
use super::image;
use super::kernels::Kernel;
use anyhow::{Context, Result, bail};
use insight_lab::Interrupt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";

/// Longer than any run on a busy machine: 36 s were seen, and 62 s beside five others at work on two CPUs.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is left of a machine that ended.
#[derive(Debug)]
pub struct Run {
    /// What it wrote.
    pub console: Console,
    /// Where that lies, for whoever has to look.
    pub log: PathBuf,
    /// From its start to its end.
    pub took: Duration,
}

/// Ends the emulator when it is dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It has ended, or is killed: there is no third way, and nobody to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots `kernel` with `agent` in it, and waits until it ends. Its files go to `folder`.
///
/// # Errors
/// It cannot be started, does not end in time, or Ctrl-C.
pub fn run(kernel: &Kernel, agent: &Path, folder: &Path, interrupt: &Interrupt) -> Result<Run> {
    let initrd = folder.join(format!("{}.initrd", kernel.series));
    let log = folder.join(format!("{}.console", kernel.series));
    fs::write(&initrd, image::build(kernel, agent)?)
        .with_context(|| format!("write {}", initrd.display()))?;
    let written = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let started = Instant::now();
    // Emulated, although slow: a virtual machine inside another one is rarely to be had.
    let child = Command::new(QEMU)
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024"])
        .args(["-nographic", "-no-reboot", "-net", "none", "-kernel"])
        .arg(kernel.image()?)
        .arg("-initrd")
        .arg(&initrd)
        .args(["-append", "console=ttyS0 panic=-1 quiet"])
        .stdin(Stdio::null())
        .stderr(written.try_clone().context("share the console's file")?)
        .stdout(written)
        .spawn()
        .with_context(|| format!("run {QEMU}: install qemu-system-x86 with `cargo xtask vmtest --setup`"))?;
    let mut machine = Machine(child);
    while machine.0.try_wait().with_context(|| format!("wait for {QEMU}"))?.is_none() {
        if interrupt.requested() {
            bail!("interrupted");
        }
        if started.elapsed() > PATIENCE {
            bail!("kernel {}: not at its end after {PATIENCE:?}: see {}", kernel.series, log.display());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = started.elapsed();
    // It holds whatever bytes the firmware sends to a terminal.
    let text = fs::read(&log).with_context(|| format!("read {}", log.display()))?;
    let console = Console::parse(&String::from_utf8_lossy(&text));
    // 70 MB that the next run would write again.
    fs::remove_file(&initrd).with_context(|| format!("remove {}", initrd.display()))?;
    Ok(Run { console, log, took })
}
