//! `calibrate`: coefficients from a recording of one's own, for `--coefficients`.
//!
//! A recording is cut into slices of a few seconds; each gives the mean step that vLLM took. Two of three phases are fitted, the
//! third shows what that brought.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::output::{Format, table, write_json, write_json_file, write_table};
use super::static_roofline::read_coefficients;
use super::usage::UsageError;
use crate::capture::read::Capture;
use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use crate::meter::account::Account;
use crate::player::Player;
use roofline::cost::coefficients::Coefficients;
use roofline::cost::step::RequestGroup;
use roofline::predict::calibrate::{Calibrated, ObservedStep, StepErrors, calibrate};
use roofline::spec::deployment::Deployment;

/// Warm-up at the start of a phase that is left out, seconds.
const WARM_UP: f64 = 2.0;
/// Length of a slice, seconds: long enough to hold whole prompts, short enough to be one kind of load.
const SLICE: f64 = 2.0;
/// Share of a slice in which requests have to run.
const BUSY: f64 = 0.9;
/// Of so many phases in a row, the second is only checked with.
const ROUND: usize = 3;

/// Arguments of `calibrate`.
#[derive(Clone, Debug, Args)]
pub struct CalibrateArgs {
    /// Directories of captures, all of one model on one GPU (see `record`)
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    pub capture: Vec<PathBuf>,
    /// File to write; what `--coefficients` reads
    #[arg(long, value_name = "FILE", default_value = "coefficients.json")]
    pub output: PathBuf,
    /// Coefficients to start from [default: the program's own]
    #[arg(long, value_name = "FILE")]
    pub coefficients: Option<PathBuf>,
    /// How the comparison looks
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Settings that differ from the capture's.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// What calibration brought.
#[derive(Debug, Serialize)]
struct Outcome {
    schema: u32,
    output: PathBuf,
    slices_fitted: usize,
    slices_checked: usize,
    error_before: StepErrors,
    error_after: StepErrors,
    coefficients: Value,
}

/// Steps of a recording, parted.
#[derive(Default)]
struct Steps {
    fitted: Vec<ObservedStep>,
    checked: Vec<ObservedStep>,
}

/// Calibrates, writes the file, and prints the errors before and after.
///
/// # Errors
/// Captures that cannot be read, differ in model or GPU, or are too short; a file that cannot be written.
pub fn run(args: &CalibrateArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings)?;
    let start = match &args.coefficients {
        Some(path) => read_coefficients(path).map_err(UsageError::new)?,
        None => Coefficients::default(),
    };
    let mut steps = Steps::default();
    let mut subject: Option<Deployment> = None;
    for directory in &args.capture {
        let capture = Capture::open(directory).map_err(UsageError::of)?;
        let player = Player::new(&capture, &settings)?;
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
    let outcome = Outcome {
        schema: 1,
        output: args.output.clone(),
        slices_fitted: steps.fitted.len(),
        slices_checked: steps.checked.len(),
        error_before: calibrated.before,
        error_after: calibrated.after,
        coefficients: changed(&calibrated)?,
    };
    write_json_file(&outcome.coefficients, &args.output)?;
    match args.format {
        Format::Json => write_json(&outcome, out),
        Format::Table => print(&outcome, out),
    }
}

fn is_alike(one: &Deployment, other: &Deployment) -> bool {
    let gpu = |deployment: &Deployment| deployment.gpu.as_ref().map(|gpu| gpu.id.clone());
    one.model.total_params() == other.model.total_params()
        && one.parallelism == other.parallelism
        && gpu(one) == gpu(other)
}

impl Steps {
    /// Takes the steps of `capture`: of its phases, or of thirds of a recording without.
    fn add(&mut self, capture: &Capture, player: &Player<'_>) {
        for (index, (from, to)) in stretches(capture).into_iter().enumerate() {
            let part = if index % ROUND == 1 {
                &mut self.checked
            } else {
                &mut self.fitted
            };
            let mut start = from;
            while start + SLICE <= to {
                let slice = player.stretch(start, start + SLICE);
                part.extend(slice.and_then(|slice| mean_step(&slice.account)));
                start += SLICE;
            }
        }
    }
}

/// The times between which the load was one and the same.
fn stretches(capture: &Capture) -> Vec<(f64, f64)> {
    let phases = &capture.manifest.phases;
    if phases.len() >= ROUND {
        let loads = phases.iter();
        return loads
            .map(|phase| (phase.t_start + WARM_UP, phase.t_load_end))
            .collect();
    }
    let times = capture.pages.iter().map(|page| page.time().0);
    let (from, to) = times.fold((f64::INFINITY, f64::NEG_INFINITY), |(from, to), time| {
        (from.min(time), to.max(time))
    });
    let parts = [0.0, 1.0, 2.0, 3.0].map(|part| from + (to - from) * part / 3.0);
    parts.windows(2).map(|ends| (ends[0], ends[1])).collect()
}

/// The mean step of a slice with a steady load.
fn mean_step(account: &Account) -> Option<ObservedStep> {
    if account.steps < 1.0 || account.busy < account.seconds * BUSY {
        return None;
    }
    let mut requests = Vec::new();
    let prompt = account.tokens.prefill / account.steps;
    if prompt >= 1.0 {
        requests.push(RequestGroup::prefill(1.0, prompt, 0.0));
    }
    let decoding = account.decode_request_steps / account.steps;
    if decoding > 0.0 && account.tokens.decode > 0.0 {
        requests.push(RequestGroup {
            count: decoding,
            new_tokens: (account.tokens.decode / account.decode_request_steps).max(1.0),
            cached_tokens_before: account.context_weight / account.tokens.decode,
            is_prefill: false,
        });
    }
    (!requests.is_empty()).then(|| ObservedStep {
        requests,
        seconds: account.busy / account.steps,
    })
}

/// The calibrated values by name, as `--coefficients` reads them.
fn changed(calibrated: &Calibrated) -> anyhow::Result<Value> {
    let Value::Object(all) = serde_json::to_value(calibrated.coefficients)? else {
        bail!("coefficients are no table");
    };
    let mut kept = Map::new();
    kept.insert("schema".to_owned(), Value::from(1));
    kept.extend(
        all.into_iter()
            .filter(|(_, entry)| entry["origin"] == "calibrated"),
    );
    Ok(Value::Object(kept))
}

fn print(outcome: &Outcome, out: &mut impl Write) -> anyhow::Result<()> {
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
