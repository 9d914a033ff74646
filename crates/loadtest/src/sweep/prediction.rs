//! How far the best setting could go by the roofline.

use anyhow::Context;
use serde::Serialize;

use super::setting::MeasuredPoint;
use roofline::predict::{BatchLimits, Latency, Scenario, Serving, Workload};
use roofline::spec::to_f64;

/// The roofline prediction for the load at the best setting. All values are modelled, except the measured share.
#[derive(Clone, Debug, Serialize)]
pub struct Predicted {
    /// The GPU.
    pub gpu: String,
    /// Bound and expectation at the best setting.
    pub latency: Latency,
    /// Measured throughput over the bound.
    pub share_of_bound: f64,
    /// Batches at which a limit is reached.
    pub limits: BatchLimits,
    /// The largest batch expected to meet the SLO, and the expectation there; `None` where there is none.
    pub at_slo_batch: Option<AtBatch>,
}

/// The expectation at one batch.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AtBatch {
    /// Concurrent requests.
    pub batch: u64,
    /// Expected output tokens per second.
    pub output_tokens_per_second_expected: f64,
}

impl Predicted {
    /// The prediction of `scenario` for `serving`, the load that was `measured`.
    ///
    /// # Errors
    /// An unknown GPU, or a contradictory deployment.
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

/// The expectation with `batch` concurrent requests instead.
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
