//! `report`: renders predictions and analyses as one HTML page.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::dynamic::{read_analysis, read_prediction};
use super::output::ResultFile;
use super::usage::UsageError;
use loadtest::report::{ReportPart, render};

/// Arguments of `report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// A prediction, from `static --format json`
    #[arg(
        long = "static",
        value_name = "FILE",
        required_unless_present = "dynamic"
    )]
    pub prediction: Option<PathBuf>,
    /// Analyses, from `dynamic --format json`, the oldest first
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub dynamic: Vec<PathBuf>,
    /// Where to write the page
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Writes the page.
///
/// # Errors
/// A [`UsageError`] for files that cannot be read or do not belong together; any other where the page cannot be written.
pub fn run(args: &ReportArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let prediction = args
        .prediction
        .as_deref()
        .map(read_prediction)
        .transpose()?;
    let analyses = args
        .dynamic
        .iter()
        .map(|path| Ok((name_of(path), read_analysis(path)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let parts: Vec<ReportPart<'_>> = analyses
        .iter()
        .map(|(name, analysis)| ReportPart { name, analysis })
        .collect();
    let page = render(prediction.as_ref(), &parts).map_err(UsageError::new)?;
    ResultFile::open(&args.output)?.write(&page)?;
    writeln!(out, "{}", args.output.display())?;
    Ok(())
}

/// The name of an analysis on the page.
fn name_of(path: &Path) -> String {
    let name = path.file_stem().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
