//! `analyze`: prediction, load, analysis and report in one run, into one directory.

mod planned;
mod summary;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::analysis::analysis as analysis_of;
use super::interrupt::Interrupt;
use super::load_args::{LoadArgs, seconds};
use super::measure::{CapturedRun, measure};
use super::output::{OutputFormat, ResultFile, write_json};
use super::progress::ProgressLine;
use super::serve;
use super::supervise::supervisor;
use super::target_flags::TargetFlags;
use super::usage::UsageError;
use crate::capture::read::Capture;
use crate::config::Settings;
use crate::config::duration::TimeSpan;
use crate::config::flags::SettingsFlags;
use crate::telemetry;
use loadtest::analysis::Analysis;
use loadtest::launch::{LaunchError, Launched};
use loadtest::load::LoadSettings;
use loadtest::report::{ReportPart, render};
use loadtest::results::LoadResult;
use roofline::predict::Prediction;

use summary::AnalysisSummary;

/// Arguments of `analyze`.
#[derive(Args, Clone, Debug)]
pub struct AnalyzeArgs {
    /// Directory for all results; must not contain an earlier analysis
    #[arg(long, value_name = "DIR", default_value = "roofline-analysis")]
    pub output: PathBuf,
    /// Shell command that starts the server, which is stopped afterwards; it must serve at --vllm-url
    #[arg(long, value_name = "COMMAND")]
    pub launch: Option<String>,
    /// Time limit for the launched server to become ready
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = seconds)]
    pub launch_timeout: TimeSpan,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// What counts as good and as bad.
    #[command(flatten)]
    pub targets: TargetFlags,
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Model, GPU, deployment and how to measure.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// Paths of the output files.
#[derive(Clone, Debug, Serialize)]
struct Files {
    directory: PathBuf,
    prediction: PathBuf,
    load: PathBuf,
    capture: PathBuf,
    analysis: PathBuf,
    report: PathBuf,
}

impl Files {
    /// The paths in `directory`, which is created.
    fn in_directory(directory: &Path) -> Result<Self, UsageError> {
        let at = |name: &str| directory.join(name);
        let files = Self {
            directory: directory.to_owned(),
            prediction: at("static.json"),
            load: at("load.json"),
            capture: at("capture"),
            analysis: at("dynamic.json"),
            report: at("report.html"),
        };
        if files.load.exists() || files.capture.exists() {
            return Err(UsageError::of(format!(
                "{} holds an analysis already; name another directory with --output",
                directory.display()
            )));
        }
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make --output {}", directory.display()))
            .map_err(UsageError::new)?;
        Ok(files)
    }
}

/// The measurements, and the prediction made before.
struct Seen {
    prediction: Result<Prediction, anyhow::Error>,
    measured: CapturedRun,
    wanted_end: bool,
}

/// Predicts, measures, analyses, reports and prints a summary.
///
/// # Errors
/// A [`UsageError`] for invalid arguments; any other for a failure while running. Measurements made by then stay in the directory.
pub fn run(args: &AnalyzeArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings)?;
    telemetry::start(&settings.log).map_err(UsageError::of)?;
    let targets = args.targets.targets().map_err(UsageError::of)?;
    let load = args.load.on(&settings)?;
    planned::check_gpu(&settings)?;
    let files = Files::in_directory(&args.output)?;
    let seen = serve::block_on(measured(args, &settings, &load, &files))?;
    let load_run = &seen.measured.run;
    anyhow::ensure!(
        load_run.completed > 0,
        "no request was completed ({:?}): there is nothing to analyse; see {}",
        load_run.errors,
        files.load.display()
    );

    tracing::info!("3 of 4: analysing");
    let capture = match &seen.measured.not_recorded {
        None => Some(Capture::open(&files.capture).context("the capture beside the load")?),
        Some(_) => None,
    };
    let prediction = seen.prediction.as_ref().ok().cloned();
    let mut analysis = analysis_of(
        vec![LoadResult::from(load_run)],
        capture.as_ref(),
        &settings,
        targets,
        prediction.clone(),
    )
    .map_err(UsageError::new)?;
    analysis.notes.extend(notes(&seen));
    ResultFile::open(&files.analysis)?.write_pretty_json(&analysis)?;

    tracing::info!("4 of 4: writing {}", files.report.display());
    write_report(&files, prediction.as_ref(), &analysis)?;
    let summary = AnalysisSummary::of(&analysis, load_run, &files)?;
    match args.format {
        OutputFormat::Json => write_json(&summary, out)?,
        OutputFormat::Table => summary.write(out)?,
    }
    seen.measured.shortfall(seen.wanted_end).map_or(Ok(()), Err)
}

/// Starts the server if requested, predicts, and runs the load on it.
async fn measured(
    args: &AnalyzeArgs,
    settings: &Settings,
    load: &LoadSettings,
    files: &Files,
) -> anyhow::Result<Seen> {
    let interrupt = Interrupt::listen();
    let server = match &args.launch {
        Some(line) => Some(launched(args, line, load, files, &interrupt).await?),
        None => None,
    };
    let seen = predicted_and_measured(settings, load, files, &interrupt).await;
    if let Some(server) = server {
        server.end().await;
    }
    seen
}

async fn launched(
    args: &AnalyzeArgs,
    line: &str,
    load: &LoadSettings,
    files: &Files,
    interrupt: &Interrupt,
) -> anyhow::Result<Launched> {
    tracing::info!("starting the server");
    let log = files.directory.join("server.log");
    let mut server = Launched::start(supervisor(), line, &load.url, &load.http, Some(&log))
        .await
        .map_err(|error| match error {
            LaunchError::Occupied { .. } => UsageError::new(error).into(),
            other => anyhow::Error::from(other),
        })?;
    let ready = tokio::select! {
        ready = server.ready(args.launch_timeout.0) => ready.map_err(anyhow::Error::from),
        () = interrupt.wait() => Err(anyhow::anyhow!("interrupted before the server was ready")),
    };
    match ready {
        Ok(()) => Ok(server),
        Err(error) => {
            server.end().await;
            Err(error)
        }
    }
}

async fn predicted_and_measured(
    settings: &Settings,
    load: &LoadSettings,
    files: &Files,
    interrupt: &Interrupt,
) -> anyhow::Result<Seen> {
    tracing::info!("1 of 4: predicting");
    let prediction = planned::prediction(settings, load).await;
    match &prediction {
        Ok(prediction) => ResultFile::open(&files.prediction)?.write_json(prediction)?,
        Err(error) => tracing::warn!("no prediction: {error:#}"),
    }
    tracing::info!("2 of 4: measuring");
    let line = ProgressLine::new("2 of 4: load");
    let measured = measure(settings, load, &files.capture, interrupt, |now| {
        line.load(now)
    })
    .await?;
    ResultFile::open(&files.load)?.write_json(&measured.run)?;
    Ok(Seen {
        prediction,
        measured,
        wanted_end: interrupt.heard(),
    })
}

/// Notes on what limits the analysis.
fn notes(seen: &Seen) -> Vec<String> {
    let prediction = seen.prediction.as_ref().err();
    let prediction = prediction.map(|error| format!("no prediction: {error:#}"));
    prediction.into_iter().chain(seen.measured.note()).collect()
}

fn write_report(
    files: &Files,
    prediction: Option<&Prediction>,
    analysis: &Analysis,
) -> anyhow::Result<()> {
    let part = ReportPart {
        name: "load",
        analysis,
    };
    let page = render(prediction, &[part])?;
    ResultFile::open(&files.report)?.write(&page)
}
