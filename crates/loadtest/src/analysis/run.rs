//! `Run`: what one load test, or one phase of a capture, says. The JSON form of `dynamic`.
//!
//! Provenance is in the structure: what stands in `measured` was counted by the client, by vLLM or by the GPU; `modelled` follows
//! from such counts by way of the roofline; `comparisons` sets what is measured beside what a prediction said.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::figure::Figure;
use super::recording::RecordedPhase;
use super::targets::TargetVerdict;
use crate::results::{Latencies, ResultLoad, ResultRates, ResultSource};
use roofline::bound::TimeSeconds;
use roofline::diagnosis::Finding;
use roofline::predict::{Advice, BottleneckKind, Phase};
use roofline::units::{Bytes, BytesPerSecond, Flops, FlopsPerSecond, Intensity, Seconds};

/// One load test or phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What it is called.
    pub name: String,
    /// What wrote it, and where.
    pub source: ResultSource,
    /// The name the model was served under.
    pub model: Option<String>,
    /// Unix time of its start.
    pub started_at: Option<f64>,
    /// How long it took.
    pub duration_seconds: Seconds,
    /// What the server was asked for.
    pub load: RunWorkload,
    /// Requests answered in full.
    pub completed: u64,
    /// Requests that were not.
    pub failed: u64,
    /// The failed ones by kind.
    pub errors: BTreeMap<String, u64>,
    /// What was counted and timed.
    pub measured: MeasuredRun,
    /// What follows from it by the roofline; `null` while the model is not known.
    pub modelled: Option<ModelledRun>,
    /// What held the engine back and what would help, the weightiest first.
    #[serde(default)]
    pub verdict: Vec<Finding>,
    /// Measured beside predicted.
    pub comparisons: Vec<Comparison>,
    /// What limits each phase, and why.
    pub bottlenecks: Vec<Bottleneck>,
    /// The roofs over it.
    pub roofs: Vec<RunRoof>,
    /// Utilisation over time; of captures only.
    pub timeline: Vec<TimelineMoment>,
    /// Against the targets.
    pub verdicts: Vec<TargetVerdict>,
    /// What would help, by predicted effect.
    pub advice: Vec<Suggestion>,
    /// What makes these figures less than exact.
    pub caveats: Vec<String>,
}

/// What the server was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunWorkload {
    /// How requests were sent.
    #[serde(flatten)]
    pub sent: ResultLoad,
    /// Mean requests in flight.
    pub concurrency: Option<f64>,
    /// Mean tokens of a prompt.
    pub input_tokens: Option<f64>,
    /// Of these, mean tokens found in the prefix cache, where known.
    pub cached_tokens: Option<f64>,
    /// Mean tokens of an answer.
    pub output_tokens: Option<f64>,
}

impl RunWorkload {
    /// The client's truth about a phase of a recording, over what vLLM's counters say.
    pub(super) fn adopt(&mut self, phase: &RecordedPhase) {
        self.sent.max_concurrency = phase.concurrency;
        // A closed loop keeps them in flight.
        self.concurrency = phase.concurrency.or(self.concurrency);
        self.input_tokens = phase.input_tokens.or(self.input_tokens);
        self.output_tokens = phase.output_tokens.or(self.output_tokens);
    }
}

/// What was counted and timed: by the client, by vLLM, by the GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRun {
    /// What came out per second.
    #[serde(flatten)]
    pub rates: ResultRates,
    /// How long requests waited.
    #[serde(flatten)]
    pub latency: Latencies,
    /// Share of time in which a kernel ran on the GPU (GPM or NVML); `null` where no reading tells.
    pub gpu_utilization: Option<f64>,
    /// What told it: `gpu`.
    pub gpu_utilization_source: Option<String>,
    /// HBM traffic over the datasheet peak (GPM).
    pub hbm_utilization: Option<f64>,
    /// Power of the GPUs together.
    pub power_watts: Option<f64>,
    /// Energy of the GPUs per output token.
    pub joules_per_output_token: Option<f64>,
    /// Mean SM clock.
    pub sm_clock_mhz: Option<f64>,
    /// Share of readings with the clock held down by a power limit.
    pub power_limited_ratio: Option<f64>,
}

/// What follows by the roofline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelledRun {
    /// `vllm_counters` (steps recovered from vLLM's counters) or `client_counts` (requests spread evenly over the run).
    pub basis: Basis,
    /// FLOPs of the run, all GPUs.
    pub flops: Option<Flops>,
    /// HBM bytes of the run, all GPUs.
    pub hbm_bytes: Option<Bytes>,
    /// FLOPs per byte.
    pub arithmetic_intensity: Option<f64>,
    /// Modelled FLOPs over the datasheet peak.
    pub mfu: Option<f64>,
    /// Modelled bytes over the datasheet peak.
    pub mbu: Option<f64>,
    /// Mean requests per decode step.
    pub decode_batch: Option<f64>,
    /// Mean tokens that a decoding request attends to.
    pub context_tokens: Option<f64>,
    /// Where the seconds went; adds up to the duration. Without vLLM's counters, overhead is all that the roofline does not explain,
    /// waiting included.
    pub time_seconds: Option<TimeSeconds>,
    /// Where prefill was on the roofline.
    pub prefill: Option<RooflinePoint>,
    /// Where decode was on the roofline.
    pub decode: Option<RooflinePoint>,
}

/// What modelled figures rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Steps recovered from vLLM's own counters.
    #[default]
    VllmCounters,
    /// A client's token counts, spread evenly over the run.
    ClientCounts,
}

impl Basis {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VllmCounters => "modelled from vLLM's counters",
            Self::ClientCounts => "modelled from the client's counts",
        }
    }
}

/// A point under the roof.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RooflinePoint {
    /// FLOPs per HBM byte.
    pub intensity: f64,
    /// FLOPs per second of the time that the phase took.
    pub flops_per_second: f64,
}

/// A roof over all GPUs of an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRoof {
    /// `datasheet`, `attainable` or `current_clock`.
    pub level: String,
    /// Its ceiling.
    pub peak_flops_per_second: FlopsPerSecond,
    /// Its slope.
    pub hbm_bytes_per_second: BytesPerSecond,
    /// Where it bends.
    pub ridge_flops_per_byte: Intensity,
    /// `specified`, `measured` or `assumed`.
    pub provenance: String,
}

/// A moment of the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelineMoment {
    /// Seconds since the start of the run.
    pub start_seconds: f64,
    /// Its length.
    pub seconds: f64,
    /// Output tokens per second (vLLM).
    pub output_tokens_per_second: Option<f64>,
    /// Prompt tokens computed per second (vLLM).
    pub prefill_tokens_per_second: Option<f64>,
    /// Requests per decode step (modelled).
    pub decode_batch: Option<f64>,
    /// Share of time with a kernel running (GPM).
    pub gpu_utilization: Option<f64>,
    /// HBM traffic over peak (GPM).
    pub hbm_utilization: Option<f64>,
    /// Modelled FLOPs over peak.
    pub mfu: Option<f64>,
    /// Modelled bytes over peak.
    pub mbu: Option<f64>,
    /// Used share of the KV cache at its end (vLLM).
    pub kv_cache_usage: Option<f64>,
    /// Requests waiting at its end (vLLM).
    pub waiting: Option<f64>,
    /// Where prefill was.
    pub prefill: Option<RooflinePoint>,
    /// Where decode was.
    pub decode: Option<RooflinePoint>,
}

/// What is measured beside one prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `static` (the file of `--static`) or `measured_load` (predicted for the load as it was measured).
    pub against: Against,
    /// Requests at a time that the prediction is for.
    pub batch: f64,
    /// The figures.
    pub rows: Vec<ComparisonRow>,
}

/// Which prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The file of `--static`.
    Static,
    /// Predicted for the load as it was measured.
    MeasuredLoad,
}

/// One figure, measured and predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonRow {
    /// Which.
    pub figure: Figure,
    /// What was measured.
    pub measured: f64,
    /// What no run beats.
    pub bound: f64,
    /// What was expected.
    pub expected: f64,
    /// Measured over expected.
    pub measured_over_expected: f64,
    /// How much of what the bound allows was reached, 0..=1.
    pub share_of_bound: f64,
}

/// What limits a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// Which phase; `null` for the run as a whole.
    pub phase: Option<Phase>,
    /// What limits it.
    pub bound: BottleneckKind,
    /// What says so.
    pub basis: Basis,
    /// In words, with the figures.
    pub evidence: Vec<String>,
}

/// A remedy, with what it should do to what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The remedy with its predicted effect.
    #[serde(flatten)]
    pub advice: Advice,
    /// What its figure was measured as.
    pub measured: Option<f64>,
    /// What it should become, scaled by the predicted effect.
    pub measured_then: Option<f64>,
}
