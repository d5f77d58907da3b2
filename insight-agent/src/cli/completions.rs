//! `insight-agent completions SHELL`: what a shell needs to complete this program's arguments.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::{self, Write};
use std::process::ExitCode;

/// Write the completion script of a shell to standard output
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Exit codes:
  0  the script was written
  1  standard output cannot be written
  2  wrong arguments

Examples:
  insight-agent completions bash > /usr/share/bash-completion/completions/insight-agent
  insight-agent completions zsh  > /usr/share/zsh/vendor-completions/_insight-agent
  insight-agent completions fish > /usr/share/fish/vendor_completions.d/insight-agent.fish")]
pub struct CompletionsArgs {
    /// Whose script
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes the script.
pub fn run(args: &CompletionsArgs) -> ExitCode {
    // Into memory first: the generator panics where it cannot write, as into a pipe that closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "insight-agent", &mut script);
    match io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("insight-agent: write the completion script to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}
