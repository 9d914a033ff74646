//! `Run`: the analysis of one load test, or of one phase of a capture. The JSON form of `dynamic`.
//!
//! The structure carries the provenance: the client, vLLM or the GPU counted what is in `measured`; `modelled` follows from such counts by
//! the roofline model; `comparisons` relates measurements to predictions.

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
    /// Its name.
    pub name: String,
    /// The tool that wrote it, and the file.
    pub source: ResultSource,
    /// The name the model was served under.
    pub model: Option<String>,
    /// Unix time of its start.
    pub started_at: Option<f64>,
    /// Duration.
    pub duration_seconds: Seconds,
    /// The load on the server.
    pub load: RunWorkload,
    /// Requests answered in full.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Failed requests by kind.
    pub errors: BTreeMap<String, u64>,
    /// Counts and times.
    pub measured: MeasuredRun,
    /// What follows by the roofline model; `null` while the model is unknown.
    pub modelled: Option<ModelledRun>,
    /// Findings with their remedies, the weightiest first.
    #[serde(default)]
    pub verdict: Vec<Finding>,
    /// Comparisons of measured with predicted figures.
    pub comparisons: Vec<Comparison>,
    /// What limits each phase, and why.
    pub bottlenecks: Vec<Bottleneck>,
    /// The roofs over the run.
    pub roofs: Vec<RunRoof>,
    /// Utilisation over time; for captures only.
    pub timeline: Vec<TimelineMoment>,
    /// Verdicts against the targets.
    pub verdicts: Vec<TargetVerdict>,
    /// Advice, sorted by predicted effect.
    pub advice: Vec<Suggestion>,
    /// Caveats: what makes these figures less than exact.
    pub caveats: Vec<String>,
}

/// The load on the server.
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
    /// Replaces what vLLM's counters say by what the client of a recorded phase knows.
    pub(super) fn adopt(&mut self, phase: &RecordedPhase) {
        self.sent.max_concurrency = phase.concurrency;
        // A closed loop keeps this many requests in flight.
        self.concurrency = phase.concurrency.or(self.concurrency);
        self.input_tokens = phase.input_tokens.or(self.input_tokens);
        self.output_tokens = phase.output_tokens.or(self.output_tokens);
    }
}

/// Counts and times of the client, of vLLM and of the GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRun {
    /// Throughput.
    #[serde(flatten)]
    pub rates: ResultRates,
    /// Latencies.
    #[serde(flatten)]
    pub latency: Latencies,
    /// Share of time in which a kernel ran on the GPU (GPM or NVML); `null` without a reading.
    pub gpu_utilization: Option<f64>,
    /// Source of the utilisation: `gpu`.
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

/// What follows by the roofline model.
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
    /// Time by component; adds up to the duration. Without vLLM's counters, overhead is everything that the roofline does not explain,
    /// waiting included.
    pub time_seconds: Option<TimeSeconds>,
    /// Operating point of prefill on the roofline.
    pub prefill: Option<RooflinePoint>,
    /// Operating point of decode on the roofline.
    pub decode: Option<RooflinePoint>,
}

/// The data that modelled figures rest on.
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
    /// Label for the report.
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
    /// FLOPs per second of the phase's own time.
    pub flops_per_second: f64,
}

/// A roof over all GPUs of an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRoof {
    /// `datasheet`, `attainable` or `current_clock`.
    pub level: String,
    /// Compute ceiling.
    pub peak_flops_per_second: FlopsPerSecond,
    /// Memory bandwidth: the slope.
    pub hbm_bytes_per_second: BytesPerSecond,
    /// Arithmetic intensity of the ridge point.
    pub ridge_flops_per_byte: Intensity,
    /// `specified`, `measured` or `assumed`.
    pub provenance: String,
}

/// One interval of the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelineMoment {
    /// Seconds since the start of the run.
    pub start_seconds: f64,
    /// Length of the interval.
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
    /// Used share of the KV cache at the end of the interval (vLLM).
    pub kv_cache_usage: Option<f64>,
    /// Requests waiting at the end of the interval (vLLM).
    pub waiting: Option<f64>,
    /// Operating point of prefill.
    pub prefill: Option<RooflinePoint>,
    /// Operating point of decode.
    pub decode: Option<RooflinePoint>,
}

/// Measured figures compared with one prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `static` (the file of `--static`) or `measured_load` (predicted for the load as it was measured).
    pub against: Against,
    /// Batch size of the prediction.
    pub batch: f64,
    /// The figures.
    pub rows: Vec<ComparisonRow>,
}

/// Which prediction a comparison uses.
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
    /// Which figure.
    pub figure: Figure,
    /// Measured value.
    pub measured: f64,
    /// The bound that no run can beat.
    pub bound: f64,
    /// Expected value.
    pub expected: f64,
    /// Measured divided by expected.
    pub measured_over_expected: f64,
    /// Share of the bound that was reached, 0..=1.
    pub share_of_bound: f64,
}

/// What limits a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// Which phase; `null` for the run as a whole.
    pub phase: Option<Phase>,
    /// The bound.
    pub bound: BottleneckKind,
    /// The data that it rests on.
    pub basis: Basis,
    /// The evidence in words, with the figures.
    pub evidence: Vec<String>,
}

/// A remedy with its predicted effect on the measured figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The remedy with its predicted effect.
    #[serde(flatten)]
    pub advice: Advice,
    /// Measured value of the figure that the advice improves.
    pub measured: Option<f64>,
    /// Its value after the change, scaled by the predicted effect.
    pub measured_then: Option<f64>,
}
