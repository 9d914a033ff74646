//! `BatchLimits`: batch sizes at which a limit is reached.
//!
//! - ridge: where reading the weights takes as long as computing with them, `peak · bytes per weight / (2 · bandwidth)` if dense;
//! - knee: where KV cache and states have as many bytes as the weights, half of the maximum decode throughput;
//! - KV capacity: how many requests fit at their longest;
//! - compute saturation: where decode, including attention, becomes compute-bound; never if reading a request's cache takes longer than its
//!   FLOPs;
//! - SLO: the largest number of concurrent requests that fits and meets the targets.

use serde::{Deserialize, Serialize};

use super::{GpuRoof, Predictor, Targets, Workload};
use crate::cost::step::StepWork;

/// Batch sizes per engine at which a limit is reached; `None` where it is never reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchLimits {
    /// The weights become compute-bound.
    pub ridge_batch: Option<u64>,
    /// KV cache outweighs the weights.
    pub knee_batch: Option<u64>,
    /// The KV cache is full.
    pub kv_capacity_batch: Option<u64>,
    /// A whole decode step becomes compute-bound.
    pub compute_saturation_batch: Option<u64>,
    /// The largest batch that meets the targets; 0 if none does.
    pub slo_batch: Option<u64>,
}

/// Larger batches count as never reached.
const MOST: f64 = 1_048_576.0;

impl BatchLimits {
    /// The limits of `predictor` under `workload`; `None` without a GPU.
    #[must_use]
    pub fn of(predictor: &Predictor, workload: &Workload, targets: &Targets) -> Option<Self> {
        let roof = predictor.roof.as_ref()?;
        let ceiling = &roof.theoretical;
        let decode = |batch: f64, context: f64| -> StepWork {
            let mut group = predictor.decode_group(1.0, context);
            group.count = batch;
            predictor.shard.work_of_step(&[group])
        };
        let context = workload.context();
        let capacity = roof.memory.sequences(workload.length()).floor();
        let meets = |batch| meets(predictor, roof, &workload.with_batch(batch), targets);
        Some(Self {
            ridge_batch: crossing(|batch| {
                let work = decode(batch, 0.0);
                work.compute_seconds(ceiling) >= work.bytes.all_weights() / ceiling.hbm
            }),
            knee_batch: crossing(|batch| {
                let bytes = decode(batch, context).bytes;
                bytes.kv_read + bytes.state >= bytes.all_weights()
            }),
            kv_capacity_batch: capacity.is_finite().then(|| whole(capacity)),
            compute_saturation_batch: crossing(|batch| {
                let work = decode(batch, context);
                work.compute_seconds(ceiling) >= work.memory_seconds(ceiling)
            }),
            slo_batch: Some(largest(
                predictor.most_running(roof, workload.length()).min(MOST),
                meets,
            )),
        })
    }
}

/// Whether `workload` is expected to meet the targets.
fn meets(predictor: &Predictor, roof: &GpuRoof, workload: &Workload, targets: &Targets) -> bool {
    match workload {
        Workload::Step(_) => {
            let group = predictor.decode_group(workload.batch(), workload.context());
            let step = roof.expected(&predictor.shard.work_of_step(&[group]));
            step * predictor.stages() <= targets.tpot
        }
        Workload::Serving(serving) => {
            // All of them run: the question is what `--max-num-seqs` should be, not what it is.
            let latency = predictor.latency_of(roof, serving, serving.batch);
            latency.is_some_and(|latency| {
                let streams = serving.output_tokens > 1.0;
                latency.ttft_steady_seconds <= targets.ttft
                    && (!streams || latency.tpot_expected_seconds <= targets.tpot)
            })
        }
    }
}

/// The batch from which `reached` holds, rounded to an integer, at least 1.
fn crossing(reached: impl Fn(f64) -> bool) -> Option<u64> {
    if !reached(MOST) {
        return None;
    }
    let (mut below, mut above) = (0.0, MOST);
    while above - below > 1e-3 {
        let middle = f64::midpoint(below, above);
        if reached(middle) {
            above = middle;
        } else {
            below = middle;
        }
    }
    Some(whole(above.round().max(1.0)))
}

/// The largest integer batch up to `most` for which `meets` holds, given that it holds for all smaller ones; 0 if for none.
fn largest(most: f64, meets: impl Fn(f64) -> bool) -> u64 {
    let mut good = 0.0;
    let mut step = 1.0;
    while good + step <= most && meets(good + step) {
        good += step;
        step *= 2.0;
    }
    while step >= 1.0 {
        if good + step <= most && meets(good + step) {
            good += step;
        }
        step /= 2.0;
    }
    whole(good)
}

/// The integer part of a count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative; what exceeds u64 saturates"
)]
pub(super) const fn whole(count: f64) -> u64 {
    count as u64
}
