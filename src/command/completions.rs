//! `completions` and `manual`: what shells and `man` read, from the command line's own description.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap_complete::Shell;

use crate::cli::described;

/// Arguments of `completions`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Prints the completions of a shell.
///
/// # Errors
/// When `out` does not take them.
pub fn run(args: &CompletionsArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let mut command = described();
    let name = command.get_name().to_owned();
    // The generator panics where it cannot write, so not to a pipe that may close.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    Ok(out.write_all(&text)?)
}

/// Arguments of `manual`.
#[derive(Clone, Debug, clap::Args)]
pub struct ManualArgs {
    /// Directory to write the pages to, one for each command
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
}

/// Writes the manual pages.
///
/// # Errors
/// A directory that cannot be written; names it.
pub fn manual(args: &ManualArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.output)
        .and_then(|()| clap_mangen::generate_to(described(), &args.output))
        .with_context(|| format!("cannot write to --output {}", args.output.display()))
}
