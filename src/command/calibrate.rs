//! `calibrate`: fits coefficients to the user's own recording, for `--coefficients`.
//!
//! A recording is cut into slices of a few seconds, each with the engine steps in it. The first and the last third of each phase are
//! fitted; the middle third evaluates the result.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::output::{OutputFormat, ResultFile, table, write_json, write_table};
use super::usage::UsageError;
use crate::capture::read::Capture;
use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use crate::player::CapturePlayer;
use roofline::predict::calibrate::{Calibrated, ObservedSteps, StepErrors, calibrate};
use roofline::spec::deployment::Deployment;
use roofline::spec::gpu::CoefficientOrigin;

/// Warm-up at the start of a phase that is left out, seconds.
const WARM_UP: f64 = 2.0;
/// Length of a slice in seconds, long enough that steps cut at its ends are a small part of it.
const SLICE: f64 = 4.0;
/// Share of a slice in which requests have to run.
const BUSY: f64 = 0.9;
/// Length of a stretch of a recording without phases, seconds.
const STRETCH: f64 = 30.0;

/// Arguments of `calibrate`.
#[derive(Clone, Debug, Args)]
pub struct CalibrateArgs {
    /// Directories of captures, all of one model on one GPU (see `record`)
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    pub capture: Vec<PathBuf>,
    /// File to write, for `--coefficients`
    #[arg(long, value_name = "FILE", default_value = "coefficients.json")]
    pub output: PathBuf,
    /// Output format of the comparison
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// Settings that differ from the capture's.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// The result of a calibration.
#[derive(Debug, Serialize)]
struct CalibrationOutcome {
    schema: u32,
    output: PathBuf,
    slices_fitted: usize,
    slices_checked: usize,
    error_before: StepErrors,
    error_after: StepErrors,
    coefficients: Value,
}

/// Steps of a recording, divided into those to fit and those to evaluate.
#[derive(Default)]
struct RecordedSteps {
    fitted: Vec<ObservedSteps>,
    checked: Vec<ObservedSteps>,
}

/// Calibrates, writes the file, and prints the errors before and after.
///
/// # Errors
/// Captures that cannot be read, differ in model or GPU, or are too short; a file that cannot be written.
pub fn run(args: &CalibrateArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings)?;
    let start = settings.tables()?.coefficients;
    let mut steps = RecordedSteps::default();
    let mut subject: Option<Deployment> = None;
    for directory in &args.capture {
        let capture = Capture::open(directory).map_err(UsageError::of)?;
        let player = CapturePlayer::new(&capture, &settings)?;
        let facts = player.facts();
        let Some(served) = &facts.served else {
            bail!(UsageError::of(format!(
                "{}: the model is not known; the capture needs a config.json",
                directory.display()
            )));
        };
        match &subject {
            Some(first) if !is_alike(first, &served.deployment) => bail!(UsageError::of(format!(
                "{}: another model, GPU or parallelism than that of {}; calibrate them one by one",
                directory.display(),
                args.capture[0].display()
            ))),
            Some(_) => {}
            None => subject = Some(served.deployment.clone()),
        }
        steps.add(&capture, &player);
    }
    let Some(deployment) = subject else {
        bail!(UsageError::of("--capture is missing"));
    };
    let calibrated = calibrate(&deployment, start, &steps.fitted, &steps.checked)?;
    let outcome = CalibrationOutcome {
        schema: 1,
        output: args.output.clone(),
        slices_fitted: steps.fitted.len(),
        slices_checked: steps.checked.len(),
        error_before: calibrated.before,
        error_after: calibrated.after,
        coefficients: changed(&calibrated)?,
    };
    ResultFile::open(&args.output)?.write_json(&outcome.coefficients)?;
    match args.format {
        OutputFormat::Json => write_json(&outcome, out),
        OutputFormat::Table => print(&outcome, out),
    }
}

fn is_alike(one: &Deployment, other: &Deployment) -> bool {
    let gpu = |deployment: &Deployment| deployment.gpu.as_ref().map(|gpu| gpu.id.clone());
    one.model.total_params() == other.model.total_params()
        && one.parallelism == other.parallelism
        && gpu(one) == gpu(other)
}

impl RecordedSteps {
    /// Adds the steps of `capture`, third by third of each stretch.
    fn add(&mut self, capture: &Capture, player: &CapturePlayer<'_>) {
        for (from, to) in stretches(capture) {
            let third = (to - from) / 3.0;
            let slices = |place: f64| {
                let start = from + place * third;
                slices(capture, start, start + third)
                    .into_iter()
                    .filter_map(|(from, to)| observed(player, from, to))
            };
            self.fitted.extend(slices(0.0));
            self.checked.extend(slices(1.0));
            self.fitted.extend(slices(2.0));
        }
    }
}

/// Slices of `from..to`, each from page to page.
fn slices(capture: &Capture, from: f64, to: f64) -> Vec<(f64, f64)> {
    let count = ((to - from) / SLICE).round().max(1.0);
    let length = (to - from) / count;
    let page_before = |time: f64| {
        let times = capture.pages.iter().map(|page| page.time().0);
        times.take_while(|page| *page <= time).last()
    };
    let starts = std::iter::successors(Some(from), |start| Some(start + length));
    starts
        .take_while(|start| start + length / 2.0 < to)
        .filter_map(|start| page_before(start).zip(page_before(start + length)))
        .collect()
}

/// The time spans with one constant load, as far as known.
fn stretches(capture: &Capture) -> Vec<(f64, f64)> {
    let phases = &capture.manifest.phases;
    if !phases.is_empty() {
        let loads = phases.iter();
        return loads
            .map(|phase| (phase.t_start + WARM_UP, phase.t_load_end))
            .collect();
    }
    let times = || capture.pages.iter().map(|page| page.time().0);
    let (Some(first), Some(last)) = (times().next(), times().next_back()) else {
        return Vec::new();
    };
    let starts = std::iter::successors(Some(first), |start| Some(start + STRETCH));
    starts
        .take_while(|start| *start < last)
        .map(|start| (start, (start + STRETCH).min(last)))
        .collect()
}

/// The steps of `from..to`, if requests ran all the time.
fn observed(player: &CapturePlayer<'_>, from: f64, to: f64) -> Option<ObservedSteps> {
    let (steps, span) = player.steps(from, to)?;
    let account = &span.account;
    if steps.count() < 1.0 || account.busy < account.seconds * BUSY {
        return None;
    }
    let kinds = steps.kinds.iter().map(|kind| {
        let groups = [kind.prefill, kind.decode].into_iter();
        (
            kind.count,
            groups.filter(|group| group.count > 0.0).collect(),
        )
    });
    Some(ObservedSteps {
        kinds: kinds.collect(),
        seconds: account.busy,
    })
}

/// The calibrated values by name, as `--coefficients` reads them.
fn changed(calibrated: &Calibrated) -> anyhow::Result<Value> {
    let all = serde_json::to_value(calibrated.coefficients)?;
    let mut kept = calibrated_of(&all).unwrap_or_else(|| Value::Object(Map::new()));
    kept["schema"] = all["schema"].clone();
    Ok(kept)
}

/// The calibrated members of `entry`; a table keeps its calibrated members.
fn calibrated_of(entry: &Value) -> Option<Value> {
    let members = entry.as_object()?;
    if members.contains_key("origin") {
        let is_calibrated = members["origin"] == CoefficientOrigin::Calibrated.name();
        return is_calibrated.then(|| entry.clone());
    }
    let kept: Map<String, Value> = members
        .iter()
        .filter_map(|(name, member)| Some((name.clone(), calibrated_of(member)?)))
        .collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

fn print(outcome: &CalibrationOutcome, out: &mut impl Write) -> anyhow::Result<()> {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let mut errors = table([
        "step times, modelled vs measured",
        "mean error",
        "median error",
    ]);
    for (name, error) in [
        ("before", outcome.error_before),
        ("calibrated", outcome.error_after),
    ] {
        errors.add_row([name.to_owned(), percent(error.mean), percent(error.median)]);
    }
    write_table(&errors, out)?;
    writeln!(
        out,
        "Fitted to {} slices, compared on {} others. Wrote {}; use it with --coefficients.",
        outcome.slices_fitted,
        outcome.slices_checked,
        outcome.output.display()
    )?;
    if outcome.error_after.mean > outcome.error_before.mean {
        writeln!(
            out,
            "The calibrated values are no better on the part they were not fitted to: record longer, or keep the program's own."
        )?;
    }
    Ok(())
}
