//! `insight-agent man`: the manual pages, made of the very texts that `--help` shows.

use clap::{Args, CommandFactory};
use clap_mangen::Man;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write the manual pages
///
/// Without --out the page of insight-agent itself goes to standard output; with it, that one and a page per
/// subcommand go into a folder.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Exit codes:
  0  the pages were written
  1  one cannot be written; what it was is on standard error
  2  wrong arguments

Examples:
  insight-agent man | man -l -
  insight-agent man --out /usr/share/man/man1")]
pub struct ManArgs {
    /// Write insight-agent.1 and insight-agent-SUBCOMMAND.1 into this folder, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Writes the pages.
pub fn run(args: &ManArgs) -> ExitCode {
    let written = match &args.out {
        None => {
            pages().next().map_or(Ok(()), |page| page.and_then(|(_, text)| io::stdout().write_all(&text)))
        }
        Some(folder) => write(folder),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let place =
                args.out.as_ref().map_or("standard output".to_owned(), |folder| format!("{folder:?}"));
            eprintln!("insight-agent: write the manual pages to {place}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for page in pages() {
        let (name, text) = page?;
        let path = folder.join(name);
        std::fs::write(&path, text)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

/// File name and text of each page, the program's own first.
fn pages() -> impl Iterator<Item = io::Result<(String, Vec<u8>)>> {
    let mut program = super::Cli::command().disable_help_subcommand(true);
    program.build();
    let subcommands: Vec<_> = program.get_subcommands().cloned().collect();
    std::iter::once(program).chain(subcommands).map(|command| {
        let command = command.version(env!("CARGO_PKG_VERSION"));
        // Of a subcommand it is "insight-agent-run", once the program's command is built.
        let name = format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()));
        let mut text = Vec::new();
        Man::new(command).render(&mut text)?;
        Ok((name, text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page_with_its_exit_codes() {
        let pages: Vec<_> = pages().map(Result::unwrap).collect();
        let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        let subcommands = super::super::Cli::command().get_subcommands().count();
        assert_eq!(names.len(), subcommands + 1, "{names:?}");
        assert_eq!(names[0], "insight-agent.1");
        assert!(names.contains(&"insight-agent-check-config.1"), "{names:?}");
        for (name, text) in &pages[1..] {
            let text = String::from_utf8_lossy(text);
            assert!(text.contains("Exit codes"), "{name}: {text}");
        }
    }
}
