//! How far the roofline says that the best setting could go.

use anyhow::Context;
use serde::Serialize;

use super::setting::MeasuredPoint;
use roofline::predict::{BatchLimits, Latency, Scenario, Serving, Workload};
use roofline::spec::to_f64;

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
    pub limits: BatchLimits,
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

impl Predicted {
    /// What `scenario` predicts for `serving`, the load that was `measured`.
    ///
    /// # Errors
    /// A GPU that is not known, or a deployment that does not go together.
    pub fn of(
        scenario: &Scenario,
        serving: Serving,
        measured: &MeasuredPoint,
    ) -> anyhow::Result<Self> {
        let gpu = scenario
            .gpu
            .as_ref()
            .context("the GPU is not known; name it with --gpu")?;
        let prediction = scenario.predict()?;
        let latency = prediction
            .latency
            .context("not one request of this load fits beside the weights")?;
        let limits = prediction
            .limits
            .context("without ceilings there are no limits")?;
        let at_slo_batch = match limits.slo_batch {
            None | Some(0) => None,
            Some(batch) => at(scenario, serving, batch)?,
        };
        Ok(Self {
            gpu: gpu.name.clone(),
            share_of_bound: measured.output_tokens_per_second.mean
                / latency.output_tokens_per_second_bound,
            latency,
            limits,
            at_slo_batch,
        })
    }
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
