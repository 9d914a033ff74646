//! The figures of a span: an account per second, per byte and per peak. `W` in the JSON contract.

use serde::Serialize;

use roofline::diagnosis::Finding;
use roofline::units::{Bytes, Flops, Seconds, ratio};

use super::account::{Account, ByKind, PerPhase, QueueMeans};
use super::caveats::caveats;
use super::engine::MeterSettings;
use super::observe;
use super::reconcile::{self, Impossible, ModelledSpan, References};
use super::spans::AccountedSpan;
use super::spend::CostFigures;
use super::verdict;
use roofline::bound::{Admission, Bound, Dominant, EngineState, TimeSeconds};
use roofline::engine::EngineFacts;

/// The figures of one span. Engine figures are summed over the engine's GPUs; `null` is unknown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Name of the phase, in a capture with named phases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The engine's label, in a capture, which may contain several engines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Unix time of the first reading.
    pub t_start: Seconds,
    /// Unix time of the last reading.
    pub t_end: Seconds,
    /// Wall time between them.
    pub seconds: Seconds,
    /// The state of the engine.
    pub engine_state: EngineState,
    /// What bound it.
    pub bound: Bound,
    /// The dominant kind of bytes.
    pub dominant: Option<Dominant>,
    /// Why requests waited.
    pub admission: Admission,
    /// Share of GPU readings with the clock held down by a power limit.
    pub power_limited_ratio: Option<f64>,
    /// Engine steps.
    pub steps: f64,
    /// Prompt tokens computed.
    pub prefill_tokens: f64,
    /// Tokens decoded, draft tokens included.
    pub decode_tokens: f64,
    /// Mean requests per decode step.
    pub decode_batch: Option<f64>,
    /// Mean tokens a decoding request attends to.
    pub context_tokens: Option<f64>,
    /// Means of the queue.
    pub queue: QueueMeans,
    /// Modelled FLOPs.
    pub flops: Option<Flops>,
    /// Modelled HBM bytes.
    pub hbm_bytes: Option<Bytes>,
    /// Modelled HBM bytes by kind.
    pub hbm_bytes_by_kind: Option<ByKind>,
    /// HBM bytes that GPM measured.
    pub hbm_bytes_measured: Option<Bytes>,
    /// Distinct experts of a layer per step.
    #[serde(flatten)]
    pub routed_experts: RoutedExperts,
    /// Modelled bytes that the GPUs send to each other; `null` with one GPU.
    pub interconnect_bytes: Option<Bytes>,
    /// NVLink bytes sent, as GPM measured them.
    pub interconnect_bytes_measured: Option<Bytes>,
    /// HBM bytes that vLLM estimates; `null` without `--enable-mfu-metrics`.
    pub hbm_bytes_vllm: Option<Bytes>,
    /// FLOPs that vLLM estimates; `null` without `--enable-mfu-metrics`.
    pub flops_vllm: Option<Flops>,
    /// FLOPs that the active tensor pipes could have done (GPM activity × SM clock): an upper bound, which includes padding.
    pub flops_tensor_pipe: Option<Flops>,
    /// Whether the modelled work exceeds a ceiling; `null` without a model or a roof.
    #[serde(skip)]
    pub impossible: Option<Impossible>,
    /// Modelled FLOPs per modelled byte.
    pub arithmetic_intensity: Option<f64>,
    /// Model FLOPs utilisation: modelled FLOPs over the datasheet peak.
    pub mfu: Option<f64>,
    /// Model bandwidth utilisation: modelled bytes over the datasheet peak.
    pub mbu: Option<f64>,
    /// Measured bytes over the datasheet peak.
    pub mbu_measured: Option<f64>,
    /// Seconds by component; they add up to `seconds`.
    pub time_seconds: Option<TimeSeconds>,
    /// Share of busy time that the roofline explains.
    pub roofline_efficiency: Option<f64>,
    /// Tokens sampled per second.
    pub output_tokens_per_second: Option<f64>,
    /// Mean time to first token.
    pub ttft_mean_seconds: Option<f64>,
    /// Mean time per output token (inter-token latency).
    pub tpot_mean_seconds: Option<f64>,
    /// Mean time per token for users, if the API server adds to the engine's.
    #[serde(skip)]
    pub tpot_felt_seconds: Option<f64>,
    /// Median time to first token; `null` if the buckets do not resolve it.
    pub ttft_p50_seconds: Option<f64>,
    /// The bounds of an unresolved median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_p50_between_seconds: Option<[f64; 2]>,
    /// Median time per output token (inter-token latency); `null` if the buckets do not resolve it.
    pub tpot_p50_seconds: Option<f64>,
    /// The bounds of an unresolved median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot_p50_between_seconds: Option<[f64; 2]>,
    /// The two phases separately.
    pub by_phase: PerPhase<PhaseFigures>,
    /// The cost.
    pub cost: CostFigures,
    /// Findings with their remedies, the weightiest first.
    pub verdict: Vec<Finding>,
    /// Caveats: what makes these figures less than exact.
    pub caveats: Vec<&'static str>,
}

/// Distinct experts of a layer per step, the mean over all steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RoutedExperts {
    /// As inferred from GPM; `null` for dense models and without a conclusive measurement.
    #[serde(rename = "routed_experts_effective")]
    pub effective: Option<f64>,
    /// Under uniform routing, the upper bound; `null` for dense models.
    #[serde(rename = "routed_experts_uniform")]
    pub uniform: Option<f64>,
}

impl RoutedExperts {
    fn of(account: &Account) -> Self {
        let experts = account.experts.unwrap_or_default();
        let is_told = experts.told_steps > 0.0;
        Self {
            effective: ratio(experts.priced, account.steps).filter(|_| is_told),
            uniform: ratio(experts.uniform, account.steps).filter(|_| account.experts.is_some()),
        }
    }
}

/// The figures of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PhaseFigures {
    /// Modelled FLOPs.
    pub flops: Option<Flops>,
    /// Modelled HBM bytes.
    pub hbm_bytes: Option<Bytes>,
    /// Modelled FLOPs per modelled byte.
    pub arithmetic_intensity: Option<f64>,
    /// Tokens processed by the model.
    pub tokens: f64,
    /// Busy seconds this phase took.
    pub busy_seconds: Seconds,
    /// Modelled FLOPs per busy second of this phase: the height of its point on the roofline.
    pub flops_per_busy_second: Option<f64>,
}

impl Figures {
    /// The figures of `span`, with the span's own bound.
    #[must_use]
    pub fn of(
        span: &AccountedSpan,
        facts: &EngineFacts,
        asleep: bool,
        settings: &MeterSettings,
    ) -> Self {
        let (account, work) = (&span.account, span.account.work);
        let bytes = work.map(|work| work.bytes.prefill + work.bytes.decode);
        let flops = work.map(|work| work.flops.total());
        let hbm_bytes = bytes.map(|bytes| bytes.total());
        let references = References::of(account, facts);
        let seconds = account.seconds;
        let first = account.time_to_first_token.percentile(0.5);
        let next = account.inter_token_latency.percentile(0.5);
        let of_bandwidth = |bytes: Option<Bytes>| ratio(bytes?.0, (facts.peak_hbm()? * seconds).0);
        Self {
            name: None,
            engine: None,
            t_start: span.start,
            t_end: span.end,
            seconds,
            engine_state: verdict::engine_state(account, asleep),
            bound: verdict::bound(&account.time_spent(), settings.overhead_below),
            dominant: bytes.as_ref().and_then(verdict::dominant),
            admission: verdict::admission(account, facts.max_num_seqs()),
            power_limited_ratio: account.hardware.power_limited_ratio(),
            steps: account.steps,
            prefill_tokens: account.tokens.prefill,
            decode_tokens: account.tokens.decode,
            decode_batch: ratio(account.decode_request_steps, account.decode_steps),
            context_tokens: ratio(account.context_weight, account.tokens.decode),
            queue: account.queue.means(seconds),
            flops,
            hbm_bytes,
            hbm_bytes_by_kind: bytes,
            hbm_bytes_measured: references.gpm_bytes,
            routed_experts: RoutedExperts::of(account),
            interconnect_bytes: interconnect_bytes(account, facts),
            interconnect_bytes_measured: references.nvlink_bytes,
            hbm_bytes_vllm: references.vllm_bytes,
            flops_vllm: references.vllm_flops,
            flops_tensor_pipe: references.tensor_flops,
            impossible: Impossible::of(account, facts),
            arithmetic_intensity: intensity(flops, hbm_bytes),
            mfu: flops
                .zip(facts.peak_flops())
                .and_then(|(flops, peak)| ratio(flops.0, (peak * seconds).0)),
            mbu: of_bandwidth(hbm_bytes),
            mbu_measured: of_bandwidth(references.gpm_bytes),
            time_seconds: account.time_seconds(),
            roofline_efficiency: account
                .busy_time
                .and_then(|time| ratio(time.roofline().0, account.busy.0)),
            output_tokens_per_second: ratio(account.output_tokens, seconds.0),
            ttft_mean_seconds: account.time_to_first_token.mean(),
            tpot_mean_seconds: account.inter_token_latency.mean(),
            tpot_felt_seconds: None,
            ttft_p50_seconds: first.known(),
            ttft_p50_between_seconds: first.between(),
            tpot_p50_seconds: next.known(),
            tpot_p50_between_seconds: next.between(),
            verdict: Vec::new(),
            by_phase: phases(account, facts),
            cost: CostFigures::of(account, facts, settings.gpu_hour_price),
            caveats: caveats(account, facts),
        }
    }
}

impl Figures {
    /// The same with the verdict on `span`, which the figures belong to.
    #[must_use]
    pub(crate) fn with_verdict(
        mut self,
        span: &AccountedSpan,
        facts: &EngineFacts,
        gpu_hour_price: Option<f64>,
    ) -> Self {
        (self.verdict, self.tpot_felt_seconds) =
            observe::verdict(&span.account, &self, facts, gpu_hour_price);
        self
    }

    /// The model's value divided by that of each available reference: `(quantity, reference, ratio)`.
    #[must_use]
    pub(crate) fn discrepancies(&self) -> Vec<(&'static str, &'static str, f64)> {
        let references = References {
            gpm_bytes: self.hbm_bytes_measured,
            nvlink_bytes: self.interconnect_bytes_measured,
            vllm_bytes: self.hbm_bytes_vllm,
            vllm_flops: self.flops_vllm,
            tensor_flops: self.flops_tensor_pipe,
        };
        let modelled = ModelledSpan {
            flops: self.flops,
            bytes: self.hbm_bytes,
            interconnect: self.interconnect_bytes,
        };
        reconcile::ratios(&modelled, &references)
    }
}

/// Modelled bytes between the GPUs, if there are several.
fn interconnect_bytes(account: &Account, facts: &EngineFacts) -> Option<Bytes> {
    let work = account.work.filter(|_| facts.gpus() > 1.0)?;
    Some(work.interconnect.total())
}

fn intensity(flops: Option<Flops>, bytes: Option<Bytes>) -> Option<f64> {
    ratio(flops?.0, bytes?.0)
}

fn phases(account: &Account, facts: &EngineFacts) -> PerPhase<PhaseFigures> {
    let seconds = account.phase_seconds(facts);
    let phase =
        |flops: Option<Flops>, bytes: Option<Bytes>, tokens, busy_seconds: Seconds| PhaseFigures {
            flops,
            hbm_bytes: bytes,
            arithmetic_intensity: intensity(flops, bytes),
            tokens,
            busy_seconds,
            flops_per_busy_second: flops.and_then(|flops| ratio(flops.0, busy_seconds.0)),
        };
    let work = account.work;
    PerPhase {
        prefill: phase(
            work.map(|work| work.flops.prefill),
            work.map(|work| work.bytes.prefill.total()),
            account.tokens.prefill,
            seconds.prefill,
        ),
        decode: phase(
            work.map(|work| work.flops.decode),
            work.map(|work| work.bytes.decode.total()),
            account.tokens.decode,
            seconds.decode,
        ),
    }
}
