//! `dynamic`: compares load tests and captures with the roofline. Without either, it runs a load itself.

mod live;
mod table;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::de::DeserializeOwned;

use super::analysis::analysis;
use super::load_args::LoadArgs;
use super::output::{OutputFormat, ResultFile, write_json};
use super::target_flags::TargetFlags;
use super::usage::UsageError;
use crate::capture::read::Capture;
use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use loadtest::analysis::{Analysis, FigureTargets, SCHEMA, compare};
use loadtest::results::{self, LoadResult};
use roofline::predict::Prediction;

/// Arguments of `dynamic`.
#[derive(Args, Clone, Debug)]
pub struct DynamicArgs {
    /// Results of load tests: ours, vllm bench serve, GuideLLM, AIPerf
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub results: Vec<PathBuf>,
    /// A capture; with --results, of the same time
    #[arg(long, value_name = "DIR")]
    pub capture: Option<PathBuf>,
    /// Without --results and --capture: write the result of the load to this file, request by request
    #[arg(long, value_name = "FILE", conflicts_with_all = ["results", "capture"])]
    pub save_result: Option<PathBuf>,
    /// Without --results and --capture: keep the capture that is recorded during the load
    #[arg(long, value_name = "DIR", conflicts_with_all = ["results", "capture"])]
    pub save_capture: Option<PathBuf>,
    /// A prediction to compare with, from `static --format json`
    #[arg(long = "static", value_name = "FILE")]
    pub prediction: Option<PathBuf>,
    /// An earlier analysis to compare with, from `dynamic --format json`
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Also write the analysis as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// What counts as good and as bad.
    #[command(flatten)]
    pub targets: TargetFlags,
    /// The load for the server of --vllm-url, without --results and --capture.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Model, GPU, deployment and how to measure.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// Analyses and prints.
///
/// # Errors
/// A [`UsageError`] for unusable files and names; any other error for a later failure, after the available figures were printed.
pub fn run(args: &DynamicArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings)?;
    let earlier = Earlier::read(args)?;
    let measured = if args.results.is_empty() && args.capture.is_none() {
        live::measured(args, &settings)?
    } else {
        read_measured(args)?
    };
    let mut analysis = analysis(
        measured.results,
        measured.capture.as_ref(),
        &settings,
        earlier.targets,
        earlier.prediction,
    )
    .map_err(UsageError::new)?;
    analysis.notes.extend(measured.notes);
    analysis.baseline = earlier
        .baseline
        .map(|(file, before)| compare(&before, &analysis, &file));
    if let Some(file) = earlier.output {
        file.write_pretty_json(&analysis)?;
    }
    match args.format {
        OutputFormat::Json => write_json(&analysis, out)?,
        OutputFormat::Table => table::write(&analysis, out)?,
    }
    anyhow::ensure!(
        analysis.runs.iter().any(|run| run.completed > 0),
        "no request was completed: there is nothing to measure"
    );
    measured.shortfall.map_or(Ok(()), Err)
}

/// The measurements.
#[derive(Debug, Default)]
struct MeasuredOutcome {
    results: Vec<LoadResult>,
    capture: Option<Capture>,
    notes: Vec<String>,
    /// Why there are fewer than requested.
    shortfall: Option<anyhow::Error>,
}

fn read_measured(args: &DynamicArgs) -> anyhow::Result<MeasuredOutcome> {
    let capture = args.capture.as_deref().map(Capture::open).transpose();
    Ok(MeasuredOutcome {
        results: results::read_all(&args.results).map_err(UsageError::new)?,
        capture: capture.map_err(UsageError::new)?,
        ..MeasuredOutcome::default()
    })
}

/// Earlier results, read first: an invalid file must not cost a load.
struct Earlier {
    targets: FigureTargets,
    prediction: Option<Prediction>,
    baseline: Option<(String, Analysis)>,
    /// Destination of the analysis.
    output: Option<ResultFile>,
}

impl Earlier {
    fn read(args: &DynamicArgs) -> anyhow::Result<Self> {
        let baseline = args.baseline.as_deref();
        let baseline = baseline
            .map(|path| Ok::<_, anyhow::Error>((path.display().to_string(), read_analysis(path)?)));
        Ok(Self {
            targets: args.targets.targets().map_err(UsageError::of)?,
            prediction: args
                .prediction
                .as_deref()
                .map(read_prediction)
                .transpose()?,
            baseline: baseline.transpose()?,
            output: args.output.as_deref().map(ResultFile::open).transpose()?,
        })
    }
}

/// Reads an analysis that `dynamic` wrote to `path`.
///
/// # Errors
/// A [`UsageError`] that names the file and the expected form.
pub(crate) fn read_analysis(path: &Path) -> anyhow::Result<Analysis> {
    let analysis: Analysis = read(path, "an analysis; write one with `dynamic --format json`")?;
    check_schema(path, analysis.schema, SCHEMA)?;
    Ok(analysis)
}

/// Reads a prediction that `static` wrote to `path`.
///
/// # Errors
/// A [`UsageError`] that names the file and the expected form.
pub(crate) fn read_prediction(path: &Path) -> anyhow::Result<Prediction> {
    let prediction: Prediction = read(
        path,
        "a single prediction; write one with `static --format json`, with one --gpu and one --batch",
    )?;
    check_schema(path, prediction.schema, roofline::predict::SCHEMA)?;
    Ok(prediction)
}

fn check_schema(path: &Path, found: u32, known: u32) -> Result<(), UsageError> {
    if found == known {
        return Ok(());
    }
    Err(UsageError::of(format!(
        "{} has schema {found}, and only schema {known} can be read; use the version that wrote it, or write it again",
        path.display()
    )))
}

fn read<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(UsageError::new)?;
    let parsed = serde_json::from_str(&text)
        .map_err(|error| UsageError::of(format!("{} is not {what}: {error}", path.display())))?;
    Ok(parsed)
}
