//! `completions` and `manual`: shell completions and manual pages, generated from the command line's definition.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Prints the completions of a shell for `command`.
///
/// # Errors
/// When writing to `out` fails.
pub fn run(
    args: &CompletionsArgs,
    mut command: clap::Command,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    // The generator panics on a write error, so it must not write to a pipe that may close.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    Ok(out.write_all(&text)?)
}

/// Arguments of `manual`.
#[derive(Clone, Debug, clap::Args)]
pub struct ManualArgs {
    /// Directory for the pages, one per command
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
}

/// Writes the manual pages of `command`.
///
/// # Errors
/// When the directory cannot be written, with its name.
pub fn manual(args: &ManualArgs, command: clap::Command) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.output)
        .and_then(|()| clap_mangen::generate_to(command, &args.output))
        .with_context(|| format!("cannot write to --output {}", args.output.display()))
}
