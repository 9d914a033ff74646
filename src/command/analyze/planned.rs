//! The prediction for a load before it runs.

use anyhow::Context;

use crate::command::scenario::scenario;
use crate::command::usage::UsageError;
use crate::command::{deployment, gpu_source};
use crate::config::Settings;
use crate::sampler::now;
use loadtest::load::LoadSettings;
use loadtest::load::prompt::PromptSource;
use loadtest::load::settings::Arrivals;
use roofline::predict::{Prediction, Scenario, Serving, Targets, Workload};

/// Refuses an unknown GPU before any load.
pub(super) fn check_gpu(settings: &Settings) -> Result<(), UsageError> {
    let Some(name) = settings.gpu.as_deref().filter(|name| *name != "none") else {
        return Ok(());
    };
    let table = settings.tables().map_err(UsageError::new)?.gpus;
    table.find(name).map(drop).map_err(UsageError::new)
}

/// The prediction for `load` on the server of `settings`.
///
/// # Errors
/// When something is unknown, or the settings are incompatible.
pub(super) async fn prediction(
    settings: &Settings,
    load: &LoadSettings,
) -> anyhow::Result<Prediction> {
    let flags = deployment::of_running(settings).await;
    let gpu = gpu_name(settings).await;
    let tables = settings.tables()?;
    let serving = serving(load)
        .context("how long the prompts of a file are is known only when the server has counted them; `dynamic` compares with the measured load")?;
    let targets = Targets {
        ttft: settings.slo_ttft.seconds(),
        tpot: settings.slo_tpot.seconds(),
    };
    let scenario = scenario(flags, gpu.as_deref(), &tables, serving, targets)?;
    match load.arrivals {
        Arrivals::Closed { .. } => Ok(scenario.predict()?),
        Arrivals::Open { rate, .. } => Ok(at_rate(scenario, serving, rate)?.predict()?),
    }
}

/// The requested GPU, otherwise the first that can be read.
async fn gpu_name(settings: &Settings) -> Option<String> {
    if settings.gpu.is_some() {
        return settings.gpu.clone();
    }
    let mut source = gpu_source::open(settings).ok()?;
    source.read(now).await;
    source.facts().into_iter().next().map(|gpu| gpu.name)
}

/// The planned load by its means; `None` where the lengths are unknown.
fn serving(load: &LoadSettings) -> Option<Serving> {
    let PromptSource::Synthetic(synthetic) = &load.prompts else {
        return None;
    };
    let prefix = f64::from(synthetic.prefix_len);
    Some(Serving {
        input_tokens: prefix + synthetic.input.mean(),
        // All requests except the first of each prefix find it in the cache.
        cached_tokens: prefix,
        output_tokens: synthetic.output.mean(),
        batch: f64::from(load.arrivals.most().unwrap_or(1)),
        ..Serving::default()
    })
}

/// The scenario with the concurrency that `rate` leads to, by Little's law with the latency at that concurrency.
fn at_rate(mut scenario: Scenario, serving: Serving, rate: f64) -> anyhow::Result<Scenario> {
    let most = if serving.batch > 1.0 {
        serving.batch
    } else {
        f64::INFINITY
    };
    let mut batch: f64 = 1.0;
    for _ in 0..8 {
        scenario.workload = Workload::Serving(Serving { batch, ..serving });
        let Some(latency) = scenario.predict()?.latency else {
            break;
        };
        let seconds = latency.ttft_steady_seconds
            + latency.tpot_expected_seconds * (serving.output_tokens - 1.0).max(0.0);
        batch = (rate * seconds.0).clamp(1.0, most.min(latency.running_requests.max(batch) * 2.0));
    }
    scenario.workload = Workload::Serving(Serving {
        batch: batch.round().max(1.0),
        ..serving
    });
    Ok(scenario)
}
