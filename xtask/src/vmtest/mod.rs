//! `cargo xtask vmtest`: does the agent measure on other kernels what `docs/kernels.md` says?
//!
//! Debian's kernels boot in emulated machines, all at once. In each runs the real agent beside a real
//! forwarder between two network namespaces; delays are injected, and what `/metrics` then says is
//! written to the console, read here and compared with the document's table.

mod archive;
mod console;
mod image;
mod judge;
mod kernels;
mod machine;
mod matrix;

use crate::demo::programs::locate;
use crate::setup;
use anyhow::{Context, Result, bail};
use console::End;
use insight_lab::Interrupt;
use judge::Cell;
use kernels::{Kernel, SERIES};
use machine::Run;
use std::fs;
use std::path::Path;

/// The emulator, and the programs of the machine that are not there anyway.
const PACKAGES: [&str; 4] = ["busybox-static", "haproxy", "iproute2", "qemu-system-x86"];

/// Where images and consoles lie, below the checkout.
const FOLDER: &str = "target/vmtest";

/// Lines of a console that are shown when a machine failed.
const TAIL: usize = 60;

/// Flags of `cargo xtask vmtest`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// First install what it takes (Debian packages, as root), and download the newest kernels
    #[arg(long)]
    setup: bool,
    /// Write the table in docs/kernels.md, and do not compare with it
    #[arg(long)]
    write: bool,
}

/// Runs every kernel; progress on stderr, the table on stdout.
///
/// # Errors
/// Something is missing, a machine or the agent in it does not start, a delay does not come back, or
/// the table is not the document's.
pub fn run(root: &Path, args: &Args) -> Result<()> {
    let interrupt = Interrupt::install()?;
    if args.setup
        && let setup::Outcome::NeedsRoot(packages) = install(root, &interrupt)?
    {
        bail!("not root, and missing: {}", packages.join(" "));
    }
    if let Some(missing) = missing(root) {
        bail!("{missing}: run `cargo xtask vmtest --setup` as root");
    }
    test(root, &locate(root)?.agent, &interrupt, args.write)
}

/// Installs packages and unpacks kernels, as far as they are missing.
///
/// # Errors
/// An installation or a download failed.
pub fn install(root: &Path, interrupt: &Interrupt) -> Result<setup::Outcome> {
    let outcome = setup::ensure(&PACKAGES, interrupt)?;
    kernels::fetch(root)?;
    Ok(outcome)
}

/// What is missing on this machine, in words. **None**: the kernels can run.
pub fn missing(root: &Path) -> Option<String> {
    let programs = image::PROGRAMS.iter().chain([&machine::QEMU]);
    let absent: Vec<_> = programs.filter(|name| image::program(name).is_none()).copied().collect();
    if !absent.is_empty() {
        return Some(format!("not installed: {}", absent.join(", ")));
    }
    let unpacked = |series: &&&'static str| Kernel::unpacked(root, series).is_none();
    let kernels: Vec<_> = SERIES.iter().filter(unpacked).copied().collect();
    (!kernels.is_empty()).then(|| format!("not downloaded: kernels {}", kernels.join(", ")))
}

/// Runs `agent` on every kernel, prints the table, and compares it with the document's, or writes it
/// there.
///
/// # Errors
/// As [`run`].
pub fn test(root: &Path, agent: &Path, interrupt: &Interrupt, write: bool) -> Result<()> {
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let kernels: Vec<Kernel> =
        SERIES.into_iter().filter_map(|series| Kernel::unpacked(root, series)).collect();
    eprintln!("booting kernels {}: a minute", SERIES.join(", "));
    let boot = |kernel: &Kernel| machine::run(kernel, agent, &folder, interrupt);
    // At once: one emulated machine waits most of its time.
    let runs: Vec<Result<Run>> = std::thread::scope(|threads| {
        let running: Vec<_> = kernels.iter().map(|kernel| threads.spawn(move || boot(kernel))).collect();
        let ended = running.into_iter().map(|thread| thread.join());
        ended
            .map(|run| run.unwrap_or_else(|_| bail!("the thread that waits for a machine panicked")))
            .collect()
    });
    let mut table = Vec::new();
    let mut problems = Vec::new();
    for (kernel, run) in kernels.iter().zip(runs) {
        let first = run.and_then(|run| verdict(kernel, &run));
        let cells = first.or_else(|error| {
            if interrupt.requested() {
                return Err(error);
            }
            // A busy host can spoil one run; what is broken is broken again.
            eprintln!("{}: {error:#}\n{}: once more, alone", kernel.series, kernel.series);
            verdict(kernel, &boot(kernel)?)
        });
        match cells {
            Ok(cells) => table.push((kernel.series, cells)),
            Err(error) => problems.push(format!("{}: {error:#}", kernel.series)),
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    let table = matrix::render(&table);
    print!("{table}");
    let path = root.join(matrix::DOCUMENT);
    let document = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let no_place = || format!("{}: has no place for the table", matrix::DOCUMENT);
    if write {
        let fresh = matrix::replace(&document, &table).with_context(no_place)?;
        return fs::write(&path, fresh).with_context(|| format!("write {}", path.display()));
    }
    let before = matrix::written(&document).with_context(no_place)?;
    if before != table {
        bail!(
            "{} says otherwise:\n{before}repair what no longer runs, or run `cargo xtask vmtest --write` and commit it",
            matrix::DOCUMENT
        );
    }
    Ok(())
}

/// What one machine's run says of its kernel.
///
/// # Errors
/// It did not come to its end, or a delay did not come back.
fn verdict(kernel: &Kernel, run: &Run) -> Result<Vec<Cell>> {
    let seconds = |at: Option<f64>| at.map_or("never".to_owned(), |at| format!("after {at:.1} s"));
    eprintln!(
        "{} ({}): first process {}, agent {}, ended after {:.1} s",
        kernel.series,
        run.console.kernel.as_deref().unwrap_or("no name"),
        seconds(run.console.booted),
        seconds(run.console.started),
        run.took.as_secs_f64()
    );
    let what = match &run.console.end {
        End::Done => {
            let cells = judge::judge(&run.console)
                .map_err(|why| anyhow::anyhow!("{why}: see {}", run.log.display()))?;
            let problems: Vec<_> = cells.iter().filter_map(|cell| cell.problem.as_deref()).collect();
            return if problems.is_empty() { Ok(cells) } else { bail!("{}", problems.join("\n")) };
        }
        End::Failed(why) => why.as_str(),
        End::Silent if run.console.kernel.is_some() => "the machine ended in the middle",
        End::Silent => "the kernel did not boot",
    };
    let text = String::from_utf8_lossy(&fs::read(&run.log)?).into_owned();
    let lines: Vec<_> = text.lines().collect();
    eprintln!("{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"));
    bail!("{what}: see {}", run.log.display())
}
