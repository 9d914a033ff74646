//! How far the roofline says that the best setting could go.

use anyhow::Context;
use serde::Serialize;

use super::Slo;
use super::setting::{Measured, Point};
use crate::predict::{Latency, Limits, Scenario, Serving, Targets, Workload};
use crate::roofline::timing::Coefficients;
use crate::spec::deployment::DeploymentFlags;
use crate::spec::gpu::GpuTable;
use crate::spec::lookup::find_config;
use crate::spec::model::ModelSpec;
use crate::spec::to_f64;

/// What the roofline says of the load at the best setting. All of it is modelled, but for the measured share.
#[derive(Clone, Debug, Serialize)]
pub struct Predicted {
    /// The GPU.
    pub gpu: String,
    /// Bound and expectation at the best setting.
    pub latency: Latency,
    /// Measured throughput over the bound.
    pub share_of_bound: f64,
    /// Batches at which something changes.
    pub limits: Limits,
    /// The largest batch expected to keep the promise, and what is expected there; `None` where none is.
    pub at_slo_batch: Option<AtBatch>,
}

/// What is expected at one batch.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AtBatch {
    /// Requests at a time.
    pub batch: u64,
    /// Expected output tokens per second.
    pub output_tokens_per_second_expected: f64,
}

/// Who serves: the deployment, and the GPU by name.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The deployment.
    pub flags: &'a DeploymentFlags,
    /// Its GPU, where it is named.
    pub gpu: Option<&'a str>,
    /// Where GPUs are looked up.
    pub table: &'a GpuTable,
}

/// Predicts the load `measured` at `point` for `subject`.
///
/// # Errors
/// What is not known, or does not go together.
pub fn predict(
    subject: &Subject<'_>,
    point: &Point,
    measured: &Measured,
    slo: &Slo,
) -> anyhow::Result<Predicted> {
    let serving = Serving {
        input_tokens: measured.input_tokens,
        cached_tokens: 0.0,
        output_tokens: measured.output_tokens,
        batch: f64::from(point.batch),
    };
    let scenario = scenario(subject, point, serving, slo)?;
    let prediction = scenario.predict()?;
    let latency = prediction
        .latency
        .context("not one request of this load fits beside the weights")?;
    let limits = prediction
        .limits
        .context("without ceilings there are no limits")?;
    let at_slo_batch = match limits.slo_batch {
        None | Some(0) => None,
        Some(batch) => at(&scenario, serving, batch)?,
    };
    Ok(Predicted {
        gpu: scenario.gpu.map_or_else(String::new, |gpu| gpu.name),
        share_of_bound: measured.output_tokens_per_second.mean
            / latency.output_tokens_per_second_bound,
        latency,
        limits,
        at_slo_batch,
    })
}

fn scenario(
    subject: &Subject<'_>,
    point: &Point,
    serving: Serving,
    slo: &Slo,
) -> anyhow::Result<Scenario> {
    let flags = subject.flags;
    let gpu = subject
        .gpu
        .filter(|name| *name != "none")
        .context("the GPU is not known; name it with --gpu")?;
    let gpu = subject.table.find(gpu)?.clone();
    let id = flags
        .model
        .as_deref()
        .context("the model is not known; name it with --model")?;
    let (path, text) = find_config(id)?;
    Ok(Scenario {
        name: id.to_owned(),
        model: ModelSpec::from_json(&text).with_context(|| path.display().to_string())?,
        gpu: Some(gpu),
        flags: DeploymentFlags {
            gpu_memory_utilization: point
                .gpu_memory_utilization
                .or(flags.gpu_memory_utilization),
            max_num_batched_tokens: point
                .max_num_batched_tokens
                .or(flags.max_num_batched_tokens),
            // The batch asked about is to run, whatever the limit is now.
            max_num_seqs: None,
            ..flags.clone()
        },
        coefficients: Coefficients::default(),
        workload: Workload::Serving(serving),
        targets: Targets {
            ttft: slo.ttft_seconds,
            tpot: slo.tpot_seconds,
        },
    })
}

/// What is expected with `batch` requests at a time instead.
fn at(scenario: &Scenario, serving: Serving, batch: u64) -> anyhow::Result<Option<AtBatch>> {
    let serving = Serving {
        batch: to_f64(batch),
        ..serving
    };
    let scenario = Scenario {
        workload: Workload::Serving(serving),
        ..scenario.clone()
    };
    let latency = scenario.predict()?.latency;
    Ok(latency.map(|latency| AtBatch {
        batch,
        output_tokens_per_second_expected: latency.output_tokens_per_second_expected,
    }))
}
