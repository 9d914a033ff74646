//! The JSON of `/api/v1/snapshot`, as far as the screen shows it. Fields that an older exporter lacks are absent, not errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::text::{duration, thousands};

/// The current state of an exporter.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotView {
    /// Unix time, seconds.
    pub time: f64,
    /// URL of vLLM.
    pub vllm_url: String,
    /// All sources with their status.
    pub sources: Vec<SnapshotSource>,
    /// The engines.
    pub engines: Vec<SnapshotEngine>,
    /// Their GPUs.
    pub gpus: Vec<SnapshotGpu>,
    /// Targets in seconds: `ttft`, `tpot`.
    pub slo: BTreeMap<String, f64>,
}

/// One source.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotSource {
    /// Its name.
    pub source: String,
    /// Whether the last read succeeded.
    pub success: Option<bool>,
    /// The error of the last read.
    pub error: Option<String>,
}

/// One engine.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotEngine {
    /// Address of its server, if there are several.
    pub target: Option<String>,
    /// The model's served name.
    pub model_name: String,
    /// The engine's number.
    pub engine: String,
    /// `running`, `idle`, …
    pub engine_state: String,
    /// Its bound.
    pub bound: String,
    /// vLLM's gauges.
    pub now: SnapshotGauges,
    /// Findings, the weightiest first.
    pub verdict: Vec<SnapshotFinding>,
    /// The trailing window.
    pub window: Option<Window>,
    /// UUIDs of its GPUs.
    pub gpus: Vec<String>,
    /// Roofs over all its GPUs.
    pub roofs: Vec<SnapshotRoof>,
    /// Decode batches at which a limit is reached.
    pub limits: Vec<SnapshotLimit>,
    /// Earlier positions of its phases on the roofline, oldest first.
    pub trail: Vec<SnapshotTrailPoint>,
    /// Missing facts.
    pub missing: Vec<SnapshotMissing>,
    /// Sums since the exporter started.
    pub totals: Totals,
}

/// vLLM's gauges.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotGauges {
    /// Requests running.
    pub running: Option<f64>,
    /// Requests waiting.
    pub waiting: Option<f64>,
    /// Used share of the KV cache.
    pub kv_cache_usage: Option<f64>,
    /// Tokens the KV cache holds.
    pub kv_capacity_tokens: Option<f64>,
}

/// The figures of the trailing window.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Window {
    /// Wall time, seconds.
    pub seconds: f64,
    /// Why requests wait.
    pub admission: String,
    /// The dominant kind of bytes.
    pub dominant: Option<String>,
    /// Requests per decode step.
    pub decode_batch: Option<f64>,
    /// Tokens a request attends to.
    pub context_tokens: Option<f64>,
    /// Modelled FLOPs over the peak.
    pub mfu: Option<f64>,
    /// Modelled bytes over the peak.
    pub mbu: Option<f64>,
    /// Measured bytes over the peak.
    pub mbu_measured: Option<f64>,
    /// Seconds by component.
    pub time_seconds: Option<BTreeMap<String, Option<f64>>>,
    /// Tokens sampled per second.
    pub output_tokens_per_second: Option<f64>,
    /// Median time to first token, seconds.
    pub ttft_p50_seconds: Option<f64>,
    /// Mean time to first token, seconds.
    pub ttft_mean_seconds: Option<f64>,
    /// Median time per output token, seconds.
    pub tpot_p50_seconds: Option<f64>,
    /// Mean time per output token, seconds.
    pub tpot_mean_seconds: Option<f64>,
    /// Means of the queue's gauges.
    pub queue: SnapshotGauges,
    /// Its cost.
    pub cost: SnapshotCost,
    /// Findings, the weightiest first.
    pub verdict: Vec<SnapshotFinding>,
    /// Caveats: what makes the figures less than exact.
    pub caveats: Vec<String>,
}

/// The cost of a window.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotCost {
    /// Dollars per hour for all GPUs, if there is a price.
    pub dollars_per_hour: Option<f64>,
    /// The origin of the price.
    pub price_origin: Option<String>,
    /// Dollars per million input and output tokens.
    pub dollars_per_million_tokens: EachPhase,
    /// Joules per input and output token.
    pub joules_per_token: EachPhase,
    /// Wasted dollars per hour, by component.
    pub wasted_dollars_per_hour: BTreeMap<String, f64>,
}

/// A figure of each phase.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct EachPhase {
    /// Of input tokens.
    pub prefill: Option<f64>,
    /// Of output tokens.
    pub decode: Option<f64>,
}

impl EachPhase {
    /// The two values as text, each formatted by `show` and followed by its name.
    #[must_use]
    pub fn each(&self, show: impl Fn(f64) -> String) -> Vec<String> {
        let named = [("in", self.prefill), ("out", self.decode)];
        let known = named
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        known
            .map(|(name, value)| format!("{} {name}", show(value)))
            .collect()
    }
}

/// One finding.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotFinding {
    /// The finding as a sentence.
    pub finding: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// The evidence.
    pub evidence: Vec<String>,
    /// The remedies.
    pub remedies: Vec<SnapshotRemedy>,
}

/// One remedy.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotRemedy {
    /// The action to take.
    pub r#do: String,
    /// Whether it needs no new hardware.
    pub free: bool,
    /// The predicted user-visible figures.
    pub predicted: SnapshotEffect,
}

impl SnapshotRemedy {
    /// The predicted effect relative to `now`, the measured output tokens per second; empty without a prediction.
    #[must_use]
    pub fn effect(&self, now: Option<f64>) -> String {
        let SnapshotEffect {
            output_tokens_per_second,
            ttft_seconds,
            tpot_seconds,
        } = self.predicted;
        // If the traffic limits the throughput, it stays.
        let stays = |rate: f64| now.is_some_and(|now| (rate - now).abs() < 0.005 * now);
        let gain = output_tokens_per_second
            .filter(|rate| !stays(*rate))
            .map(|rate| {
                let change = now.filter(|now| *now > 0.0);
                let change = change.map(|now| format!(" ({:+.0} %)", (rate / now - 1.0) * 100.0));
                format!("{} tok/s{}", thousands(rate), change.unwrap_or_default())
            });
        let latency =
            |name: &str, value: Option<f64>| value.map(|v| format!("{name} {}", duration(v)));
        let parts = [
            gain,
            latency("TTFT", ttft_seconds),
            latency("TPOT", tpot_seconds),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// User-visible figures, measured or predicted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotEffect {
    /// Tokens sampled per second.
    pub output_tokens_per_second: Option<f64>,
    /// Time to first token.
    pub ttft_seconds: Option<f64>,
    /// Time per output token.
    pub tpot_seconds: Option<f64>,
}

/// A roof.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotRoof {
    /// `datasheet`, `attainable` or `current_clock`.
    pub level: String,
    /// Compute ceiling, FLOP/s.
    pub peak_flops_per_second: f64,
    /// Memory bandwidth, bytes/s.
    pub hbm_bytes_per_second: f64,
}

/// A decode batch at which a limit is reached.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotLimit {
    /// `ridge`, `knee`, `kv_capacity`, `max_num_seqs`.
    pub limit: String,
    /// The batch.
    pub batch: f64,
}

/// A position of a phase on the roofline.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotTrailPoint {
    /// Unix time, seconds.
    pub time: f64,
    /// `prefill` or `decode`.
    pub phase: String,
    /// FLOPs per byte.
    pub intensity: f64,
    /// FLOPs per busy second.
    pub flops_per_second: f64,
}

/// A missing fact.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotMissing {
    /// Its name.
    pub fact: String,
    /// Why.
    pub why: String,
}

/// Sums since the exporter started.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Totals {
    /// Wall time, seconds.
    pub seconds: f64,
    /// Output tokens.
    pub output_tokens: f64,
}

/// One GPU.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SnapshotGpu {
    /// Its UUID.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// Power, W.
    pub power_watts: Option<f64>,
    /// Quantities that could not be read.
    pub absent: Vec<Absent>,
}

/// A quantity of a GPU that could not be read.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Absent {
    /// Which quantity.
    pub what: String,
    /// Why.
    pub why: String,
}

/// The components of time, in display order.
pub(crate) const COMPONENTS: [&str; 8] = [
    "compute",
    "memory",
    "communication",
    "host",
    "kernel_latency",
    "overhead",
    "stalled",
    "idle",
];

impl SnapshotEngine {
    /// The shares of the window's seconds by component, where present.
    #[must_use]
    pub fn shares(&self) -> Vec<(&'static str, f64)> {
        let Some(seconds) = self.window.as_ref().and_then(|w| w.time_seconds.as_ref()) else {
            return Vec::new();
        };
        let total: f64 = seconds.values().flatten().sum();
        let share = |name: &&'static str| {
            let seconds = seconds.get(*name).copied().flatten()?;
            (seconds > 0.0 && total > 0.0).then(|| (*name, seconds / total))
        };
        COMPONENTS.iter().filter_map(share).collect()
    }

    /// Share of time in which neither arithmetic nor memory traffic is the limit: the potential gain of a fix.
    #[must_use]
    pub fn waste(&self) -> Option<f64> {
        let shares = self.shares();
        let useful = |(name, share): &(&str, f64)| {
            matches!(*name, "compute" | "memory" | "communication").then_some(*share)
        };
        (!shares.is_empty()).then(|| 1.0 - shares.iter().filter_map(useful).sum::<f64>())
    }

    /// Mean number of waiting requests over the window, the one that the verdict is about.
    #[must_use]
    pub(crate) fn waiting(&self) -> Option<f64> {
        self.window.as_ref()?.queue.waiting
    }

    /// The cost of the window.
    #[must_use]
    pub fn cost(&self) -> SnapshotCost {
        let window = self.window.as_ref();
        window.map(|window| window.cost.clone()).unwrap_or_default()
    }

    /// Output tokens per second.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.window.as_ref()?.output_tokens_per_second
    }

    /// The findings, the weightiest first.
    #[must_use]
    pub fn findings(&self) -> &[SnapshotFinding] {
        let of_window = self
            .window
            .as_ref()
            .map_or(&[][..], |window| &window.verdict);
        if self.verdict.is_empty() {
            of_window
        } else {
            &self.verdict
        }
    }

    /// The first sentence: the weightiest finding.
    #[must_use]
    pub fn headline(&self) -> &str {
        match self.findings() {
            [first, ..] => &first.finding,
            [] => self.without_verdict(),
        }
    }

    /// The headline of an exporter without verdicts.
    fn without_verdict(&self) -> &'static str {
        match (self.engine_state.as_str(), self.bound.as_str()) {
            ("unreachable", _) => "vLLM's metrics cannot be read: nothing here is current.",
            ("stalled", _) => "Requests are in the engine and nothing moves: look at vLLM's log.",
            ("sleeping", _) => "The engine sleeps: its weights are off the GPU.",
            (_, "idle") => "No request is running.",
            (_, "compute") => "The tensor cores are the limit.",
            (_, "memory_bandwidth") => "HBM bandwidth is the limit.",
            (_, "interconnect") => "The links between the GPUs are the limit.",
            (_, "host") => "The GPU waits for the host.",
            (_, "kernel_latency" | "overhead") => {
                "The roofline does not explain most of busy time."
            }
            _ => "Not enough is known or measured yet to name the bound.",
        }
    }

    /// Its name in the list: unique within a snapshot. The part that distinguishes replicas comes first, because lists truncate names.
    #[must_use]
    pub fn name(&self) -> String {
        let target = self.target.as_deref().map(|target| {
            let host = target.strip_prefix("http://").unwrap_or(target);
            format!("{host} ")
        });
        format!(
            "{}{}/{}",
            target.unwrap_or_default(),
            self.model_name,
            self.engine
        )
    }
}
