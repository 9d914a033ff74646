//! `sweep`: runs the same load at rising batch sizes, and reports the best.
//!
//! Against a running server the batch is the load's concurrency. With `--launch` it is the value of `{batch}` in the command line, such as
//! `--max-num-seqs`, while the load stays the same.

mod args;
mod print;
mod runner;

use std::io::Write;

use anyhow::{Context, bail};

use super::interrupt::Interrupt;
use super::output::{OutputFormat, write_json};
use super::scenario::scenario;
use super::serve;
use super::usage::UsageError;
use crate::config::Settings;
use crate::telemetry;
use loadtest::launch::template::{Template, VariedParameter, deployment_of};
use loadtest::load::settings::Arrivals;
use loadtest::sweep::choice::{best, saturated};
use loadtest::sweep::prediction::Predicted;
use loadtest::sweep::setting::{Setting, SweepPoint};
use loadtest::sweep::steps::{BatchSteps, batches};
use loadtest::sweep::{SCHEMA, Slo, Sweep};
use roofline::predict::{Serving, Targets};
use roofline::spec::deployment::DeploymentFlags;

pub use args::SweepArgs;
use runner::{Runner, SettingOutcome};

/// Sweeps and prints.
///
/// # Errors
/// A [`UsageError`] for incompatible flags; any other where nothing could be measured.
pub fn run(args: &SweepArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(&args.grid.settings)?;
    telemetry::start(&settings.log).map_err(UsageError::of)?;
    check(args)?;
    if let Some(directory) = &args.save_results {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make --save-results {}", directory.display()))
            .map_err(UsageError::new)?;
    }
    let load = args.load.on(&settings)?;
    let sweep = serve::block_on(async {
        let runner = Runner {
            args,
            settings: &settings,
            load,
            template: args.launch.clone().map(Template::new),
            interrupt: Interrupt::listen(),
            found: None,
            runs: 0,
        };
        sweep(runner, &settings).await
    })?;
    match args.format {
        OutputFormat::Json => write_json(&sweep, out)?,
        OutputFormat::Table => print::write(&sweep, out)?,
    }
    if sweep.best.is_none() {
        let why = sweep
            .settings
            .iter()
            .find_map(|setting| setting.error.as_deref());
        bail!(
            "no setting could be measured: {}",
            why.unwrap_or("interrupted")
        );
    }
    Ok(())
}

/// Rejects incompatible flags.
fn check(args: &SweepArgs) -> Result<(), UsageError> {
    let refuse = |message: String| Err(UsageError::of(message));
    if args.start > args.end {
        return refuse(format!(
            "--start {} is above --end {}",
            args.start, args.end
        ));
    }
    let lists = [
        (
            VariedParameter::GpuMemoryUtilization,
            "--gpu-memory-utilization",
            args.grid.gpu_memory_utilization.len(),
        ),
        (
            VariedParameter::MaxNumBatchedTokens,
            "--max-num-batched-tokens",
            args.grid.max_num_batched_tokens.len(),
        ),
    ];
    let Some(template) = args.launch.clone().map(Template::new) else {
        if args.load.request_rate.is_some() {
            return refuse("a sweep of a running server varies how many requests run at a time: --request-rate needs --launch".to_owned());
        }
        if args.load.concurrency.is_some() {
            return refuse(
                "a sweep of a running server varies --concurrency from --start to --end".to_owned(),
            );
        }
        return match lists.iter().find(|(.., values)| *values > 1) {
            Some((_, flag, _)) => refuse(format!(
                "a running server keeps its {flag}: several values need --launch"
            )),
            None => Ok(()),
        };
    };
    if !template.has(VariedParameter::Batch) && args.start != args.end {
        return refuse("--launch has no {batch}, so that every setting would be the same; write for example --max-num-seqs {batch}".to_owned());
    }
    for (place, flag, values) in lists {
        if values > 1 && !template.has(place) {
            return refuse(format!(
                "{flag} has several values, but --launch has no {}",
                place.text()
            ));
        }
        if values == 0 && template.has(place) {
            return refuse(format!(
                "--launch has {}, so {flag} must say which values to try",
                place.text()
            ));
        }
    }
    Ok(())
}

async fn sweep(mut runner: Runner<'_>, settings: &Settings) -> anyhow::Result<Sweep> {
    let args = runner.args;
    let slo = Slo {
        ttft_seconds: settings.slo_ttft.seconds(),
        tpot_seconds: settings.slo_tpot.seconds(),
        percentile: args.slo_percentile,
    };
    let mut sweep = Sweep {
        schema: SCHEMA,
        metric: args.metric,
        slo,
        varied: if runner.template.is_some() {
            "launch"
        } else {
            "concurrency"
        },
        concurrency: runner.concurrency(),
        settings: Vec::new(),
        stopped: Vec::new(),
        interrupted: false,
        best: None,
        predicted: None,
        not_predicted: None,
    };
    for series in series(args) {
        let measured = one_series(&mut runner, &series, &slo, &mut sweep).await?;
        sweep.settings.extend(measured);
        if sweep.interrupted {
            break;
        }
    }
    sweep.best = best(&sweep.settings, args.metric, &slo, args.least_gain / 100.0);
    match predicted(&sweep, &runner, settings) {
        Ok(predicted) => sweep.predicted = predicted,
        Err(error) => sweep.not_predicted = Some(format!("{error:#}")),
    }
    Ok(sweep)
}

/// Measures at rising batches until saturation.
async fn one_series(
    runner: &mut Runner<'_>,
    series: &[SweepPoint],
    slo: &Slo,
    sweep: &mut Sweep,
) -> anyhow::Result<Vec<Setting>> {
    let gain = runner.args.least_gain / 100.0;
    let mut measured = Vec::new();
    for (index, point) in series.iter().enumerate() {
        let setting = match runner.measure(*point).await? {
            SettingOutcome::Runs(runs) => {
                let gone = runs.last().is_some_and(|run| run.interrupted);
                sweep.interrupted |=
                    gone && (runner.template.is_none() || runner.interrupt.heard());
                Setting::of(*point, &runs, slo)
            }
            SettingOutcome::Failed(error) => Setting::failed(*point, error),
            SettingOutcome::Interrupted => {
                sweep.interrupted = true;
                break;
            }
        };
        measured.push(setting);
        if sweep.interrupted {
            break;
        }
        let left = series.len() - index - 1;
        if left > 0 && !runner.args.no_early_stop && saturated(&measured, gain) {
            sweep.stopped.push(format!(
                "stopped after batch {}: two steps brought less than {} % more throughput ({left} left out)",
                point.batch, runner.args.least_gain
            ));
            break;
        }
    }
    Ok(measured)
}

/// Every combination of the lists, each with all batches.
fn series(args: &SweepArgs) -> Vec<Vec<SweepPoint>> {
    let step = args.step.unwrap_or(match args.steps {
        BatchSteps::Geometric => 2,
        BatchSteps::Linear => 1,
    });
    let batches = batches(args.start, args.end, args.steps, step);
    let mut all = Vec::new();
    for utilization in several(&args.grid.gpu_memory_utilization) {
        for tokens in several(&args.grid.max_num_batched_tokens) {
            let points = batches.iter().map(|batch| SweepPoint {
                batch: *batch,
                gpu_memory_utilization: utilization,
                max_num_batched_tokens: tokens,
            });
            all.push(points.collect());
        }
    }
    all
}

/// Each of `values`, or a single `None` if there are none.
fn several<T: Copy>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() {
        vec![None]
    } else {
        values.iter().copied().map(Some).collect()
    }
}

/// How far the best setting could go; `None` without a best setting.
fn predicted(
    sweep: &Sweep,
    runner: &Runner<'_>,
    settings: &Settings,
) -> anyhow::Result<Option<Predicted>> {
    let chosen = sweep.best.as_ref().and_then(|best| {
        sweep
            .settings
            .iter()
            .find(|setting| setting.point == best.point)
    });
    let Some((setting, measured)) =
        chosen.and_then(|setting| Some((setting, setting.measured.as_ref()?)))
    else {
        return Ok(None);
    };
    if let Arrivals::Open { .. } = runner.load.arrivals {
        bail!("an open loop has no fixed number of requests at a time");
    }
    let point = setting.point;
    // The server runs no more requests of a waiting load than its batch.
    let running_at_a_time = point.batch.min(sweep.concurrency.unwrap_or(u32::MAX));
    let serving = Serving {
        input_tokens: measured.input_tokens,
        cached_tokens: 0.0,
        output_tokens: measured.output_tokens,
        batch: f64::from(running_at_a_time),
        ..Serving::default()
    };
    // The command line takes precedence over what the server reports, which may be less.
    let launched = runner.args.launch.as_deref().map(deployment_of);
    let found = runner.found.clone().unwrap_or_default();
    let flags = found
        .overridden_by(launched.unwrap_or_default())
        .overridden_by(settings.deployment.clone());
    let flags = DeploymentFlags {
        gpu_memory_utilization: point
            .gpu_memory_utilization
            .or(flags.gpu_memory_utilization),
        max_num_batched_tokens: point
            .max_num_batched_tokens
            .or(flags.max_num_batched_tokens),
        // The batch in question must run, whatever the limit is now.
        max_num_seqs: None,
        ..flags
    };
    let targets = Targets {
        ttft: sweep.slo.ttft_seconds,
        tpot: sweep.slo.tpot_seconds,
    };
    let tables = settings.tables()?;
    let scenario = scenario(flags, settings.gpu.as_deref(), &tables, serving, targets)?;
    Predicted::of(&scenario, serving, measured).map(Some)
}
