//! `Predictor`: the bound and the expected time of any step of one deployment.

use serde::{Deserialize, Serialize};

use super::Serving;
use crate::bound::Bound;
use crate::cost::ceiling::Ceiling;
use crate::cost::coefficients::Coefficients;
use crate::cost::memory::MemoryPlan;
use crate::cost::shard::Shard;
use crate::cost::step::{BytesByRole, FlopsByRole, RequestGroup, StepWork};
use crate::cost::timing::{StepTime, StepTimer};
use crate::spec::deployment::Deployment;
use crate::spec::precision::Precision;
use crate::spec::to_f64;
use crate::units::{Bytes, Flops, Intensity, Seconds};

/// The larger side of the roofline.
fn larger_side(compute: Seconds, memory: Seconds) -> Bound {
    if compute > memory {
        Bound::Compute
    } else {
        Bound::MemoryBandwidth
    }
}

/// The largest part of an expected time.
fn largest_part(time: &StepTime) -> Bound {
    let roofline = larger_side(time.compute, time.memory);
    let mut largest = (roofline, time.compute.max(time.memory));
    for part in [
        (Bound::Interconnect, time.communication),
        (Bound::Overhead, time.overhead),
    ] {
        if part.1 > largest.1 {
            largest = part;
        }
    }
    largest.0
}

/// What the requests of a step do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// All are in prefill.
    Prefill,
    /// All decode.
    Decode,
    /// Some of each.
    Mixed,
}

impl Phase {
    /// The name in JSON and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Mixed => "mixed",
        }
    }

    fn of(groups: &[RequestGroup]) -> Self {
        let prefills = groups.iter().filter(|group| group.is_prefill).count();
        match prefills {
            0 => Self::Decode,
            all if all == groups.len() => Self::Prefill,
            _ => Self::Mixed,
        }
    }
}

/// Expected seconds of a step by component. They add up to the step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeByComponent {
    /// Operations that arithmetic limits.
    pub compute: Seconds,
    /// Operations that memory limits.
    pub memory: Seconds,
    /// Traffic between GPUs.
    pub communication: Seconds,
    /// Launches, scheduling, other host time.
    pub overhead: Seconds,
}

impl From<StepTime> for TimeByComponent {
    fn from(time: StepTime) -> Self {
        Self {
            compute: time.compute,
            memory: time.memory,
            communication: time.communication,
            overhead: time.overhead,
        }
    }
}

/// One step on one GPU. Times are `None` without a GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPrediction {
    /// Its phase.
    pub phase: Phase,
    /// Number of requests.
    pub batch: f64,
    /// FLOPs.
    pub flops_per_gpu: Flops,
    /// The same by role.
    pub flops_by_role: FlopsByRole,
    /// HBM bytes of the lower bound: weights, KV and state, each once.
    pub bytes_per_gpu: Bytes,
    /// The same by role.
    pub bytes_by_role: BytesByRole,
    /// Traffic beyond the bound.
    pub activation_bytes_per_gpu: Bytes,
    /// FLOPs per byte of the bound.
    pub arithmetic_intensity: Intensity,
    /// Time of the FLOPs at the peaks of their compute precisions.
    pub compute_seconds: Option<Seconds>,
    /// Bytes at peak bandwidth.
    pub memory_seconds: Option<Seconds>,
    /// Traffic between GPUs at the link's bandwidth, without latencies.
    pub communication_seconds: Option<Seconds>,
    /// The larger of compute and memory time: a lower bound.
    pub bound_seconds: Option<Seconds>,
    /// Expected time.
    pub expected_seconds: Option<Seconds>,
    /// Expected time by component.
    pub time_seconds: Option<TimeByComponent>,
    /// The larger side of the roofline.
    pub bound: Option<Bound>,
    /// The largest part of the expected time.
    pub bottleneck: Option<Bound>,
}

/// The ceilings and the memory of a GPU.
#[derive(Clone, Debug)]
pub struct GpuRoof {
    /// The data sheet's ceilings.
    pub theoretical: Ceiling,
    /// Attainable ceilings and fixed costs.
    pub timer: StepTimer,
    /// The memory plan.
    pub memory: MemoryPlan,
}

impl GpuRoof {
    /// The lower bound of the time of a step with this work.
    #[must_use]
    pub fn bound(&self, work: &StepWork) -> Seconds {
        let compute = work.compute_seconds(&self.theoretical);
        compute.max(work.memory_seconds(&self.theoretical))
    }

    /// The expected time of such a step.
    #[must_use]
    pub fn expected(&self, work: &StepWork) -> Seconds {
        self.timer.expected(work).total()
    }
}

/// A deployment with its shard and its roof, for any number of steps.
#[derive(Clone, Debug)]
pub struct Predictor {
    /// The deployment.
    pub deployment: Deployment,
    /// The work of one of its GPUs.
    pub shard: Shard,
    /// The ceilings of that GPU, if there is one.
    pub roof: Option<GpuRoof>,
}

impl Predictor {
    /// Prepares the prediction of `deployment`.
    #[must_use]
    pub fn new(deployment: Deployment, coefficients: Coefficients) -> Self {
        let shard = Shard::of(&deployment);
        let memory = MemoryPlan::of(&deployment, &shard);
        let roof = deployment
            .gpu
            .as_ref()
            .zip(memory)
            .map(|(gpu, memory)| GpuRoof {
                theoretical: Ceiling::theoretical(gpu),
                timer: StepTimer::new(&deployment, &shard, gpu, coefficients),
                memory,
            });
        Self {
            deployment,
            shard,
            roof,
        }
    }

    /// Predicts one step.
    #[must_use]
    pub fn step(&self, groups: &[RequestGroup]) -> StepPrediction {
        let work = self.shard.work_of_step(groups);
        let roofline = self.roof.as_ref().map(|roof| {
            (
                work.compute_seconds(&roof.theoretical),
                work.memory_seconds(&roof.theoretical),
            )
        });
        let time = self.roof.as_ref().map(|roof| roof.timer.expected(&work));
        StepPrediction {
            phase: Phase::of(groups),
            batch: groups.iter().map(|group| group.count).sum(),
            flops_per_gpu: work.flops.total(),
            flops_by_role: work.flops,
            bytes_per_gpu: work.bytes.total(),
            bytes_by_role: work.bytes,
            activation_bytes_per_gpu: work.activation_bytes,
            arithmetic_intensity: work.intensity(),
            compute_seconds: roofline.map(|(compute, _)| compute),
            memory_seconds: roofline.map(|(_, memory)| memory),
            communication_seconds: self
                .roof
                .as_ref()
                .map(|roof| work.communication.seconds(&roof.theoretical.link)),
            bound_seconds: roofline.map(|(compute, memory)| compute.max(memory)),
            expected_seconds: time.map(|time| time.total()),
            time_seconds: time.map(Into::into),
            bound: roofline.map(|(compute, memory)| larger_side(compute, memory)),
            bottleneck: time.as_ref().map(largest_part),
        }
    }

    /// Compute precision of most of a token's FLOPs, without attention over a long context.
    #[must_use]
    pub fn main_precision(&self) -> Precision {
        let work = self.shard.work_of_step(&[RequestGroup::decode(1.0, 0.0)]);
        work.flops_at
            .iter()
            .max_by(|(_, left), (_, right)| left.0.total_cmp(&right.0))
            .map_or_else(|| self.shard.base_precision(), |(precision, _)| precision)
    }

    /// Stages of the pipeline. Each works on its own share of the running requests.
    pub(super) fn stages(&self) -> f64 {
        to_f64(self.deployment.parallelism.pipeline)
    }

    /// The requests of one decode step, with `batch` running requests and `context` cached tokens.
    pub(super) fn decode_group(&self, batch: f64, context: f64) -> RequestGroup {
        RequestGroup {
            count: (batch / self.stages()).max(1.0),
            new_tokens: 1.0 + to_f64(self.deployment.speculative_tokens),
            cached_tokens_before: context,
            is_prefill: false,
        }
    }

    /// The first step of a prompt when nothing else runs.
    pub(super) fn first_chunk(&self, serving: &Serving) -> RequestGroup {
        let budget = to_f64(self.deployment.limits.max_num_batched_tokens);
        let uncached = serving.input_tokens - serving.cached_tokens;
        RequestGroup::prefill(1.0, uncached.min(budget), serving.cached_tokens)
    }
}
