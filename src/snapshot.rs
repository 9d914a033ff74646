//! The current state of everything, immutable: the only data that the sampler shares with the server.

pub mod before_after;
pub mod event;
mod fleet;
pub mod history;
pub mod memory;
pub mod merge;
pub mod take;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use self::before_after::BeforeAfter;
use self::history::History;
use crate::meter::account::{Account, PerPhase};
use crate::meter::figures::Figures;
use crate::meter::gpu::Links;
use crate::meter::spend::Spend;
use crate::sample::engine::{EngineKey, MissingInput};
use crate::sample::gpu::{GpuIdentity, GpuReading, Traffic};
use roofline::bound::TimeSeconds;
use roofline::bound::{Bound, EngineState};
use roofline::diagnosis::{Finding, Outlook};
use roofline::engine::EngineFacts;
use roofline::units::{Bytes, Joules, Seconds};

/// The current state of everything.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Time of the snapshot.
    pub time: Seconds,
    /// URL of vLLM; with several servers, all of them.
    pub vllm_url: String,
    /// All sources with their status.
    pub sources: Vec<SourceStatus>,
    /// Engines that were read in the current run of vLLM.
    pub engines: Vec<EngineSnapshot>,
    /// GPUs read.
    pub gpus: Vec<GpuSnapshot>,
    /// Discarded spans, by reason.
    pub discards: BTreeMap<&'static str, u64>,
    /// Targets, by name.
    pub slo: [(&'static str, Seconds); 2],
    /// The outcome of the newest reload; `None` if the settings cannot change.
    pub reload: Option<Reload>,
}

/// The outcome of a reload of the configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reload {
    /// Whether the newest configuration is in force.
    pub successful: bool,
    /// Time of the last success; the start counts as one.
    pub last_success: Seconds,
}

/// The status of a source.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceStatus {
    /// `vllm`, or the GPU source.
    pub source: &'static str,
    /// The vLLM server, if there are several.
    pub target: Option<String>,
    /// Whether the last read succeeded; `None` before the first.
    pub success: Option<bool>,
    /// When it last succeeded.
    pub last_success: Option<Seconds>,
    /// How long the last read took.
    pub read_seconds: Option<Seconds>,
    /// The error of the last read.
    pub error: Option<String>,
    /// Failed reads by reason; all reasons are present from the start.
    pub errors: BTreeMap<&'static str, u64>,
}

/// One engine.
#[derive(Clone, Debug)]
pub struct EngineSnapshot {
    /// The vLLM server, if there are several.
    pub target: Option<String>,
    /// Its labels.
    pub key: EngineKey,
    /// Facts about its model and GPUs.
    pub facts: Arc<EngineFacts>,
    /// Its current state.
    pub state: EngineState,
    /// What bounds it.
    pub bound: Bound,
    /// Findings with their remedies, the weightiest first.
    pub verdict: Vec<Finding>,
    /// What it is expected to reach under this load; absent without a prediction.
    pub outlook: Option<Outlook>,
    /// The newest seconds by component, which the bound refers to.
    pub recently: Option<TimeSeconds>,
    /// Sums since the exporter started, as vLLM counted.
    pub totals: Account,
    /// Seconds by component, with every prompt's work where it ran; up to one tick behind while requests run.
    pub time_seconds: Option<TimeSeconds>,
    /// Settled busy seconds by phase.
    pub phase_seconds: PerPhase<Seconds>,
    /// Dollars and joules since the exporter started, by what they were spent on.
    pub spend: Spend,
    /// What one GPU costs an hour, where the user set it.
    pub gpu_hour_price: Option<f64>,
    /// Dollars since a price was set; `None` without a price.
    pub cost_dollars: Option<f64>,
    /// Seconds by bound.
    pub bound_seconds: [Seconds; Bound::ALL.len()],
    /// The trailing window; absent while there is no measurement, or vLLM cannot be read.
    pub window: Option<Figures>,
    /// SM clock over the window.
    pub sm_clock_mhz: Option<f64>,
    /// vLLM's metrics that the newest page lacks.
    pub missing_inputs: Vec<MissingInput>,
    /// The gauges of the newest reading.
    pub now: CurrentGauges,
    /// Earlier positions of the phases on the roofline, oldest first.
    pub trail: Vec<TrailPoint>,
    /// The last hour.
    pub history: Arc<History>,
    /// Events of the last hour, oldest first, with the effect of each.
    pub events: Vec<BeforeAfter>,
}

/// vLLM's current gauges.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CurrentGauges {
    /// Requests running.
    pub running: Option<f64>,
    /// Requests waiting.
    pub waiting: Option<f64>,
    /// Used share of the KV cache.
    pub kv_cache_usage: Option<f64>,
    /// Tokens the KV cache holds.
    pub kv_capacity_tokens: Option<f64>,
}

/// The position of one phase on the roofline, at one time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TrailPoint {
    /// Unix time.
    pub time: Seconds,
    /// `prefill` or `decode`.
    pub phase: &'static str,
    /// FLOPs per byte.
    pub intensity: f64,
    /// FLOPs per busy second.
    pub flops_per_second: f64,
}

/// One GPU.
#[derive(Clone, Debug)]
pub struct GpuSnapshot {
    /// Static facts.
    pub facts: GpuIdentity,
    /// The newest reading.
    pub latest: Option<GpuReading>,
    /// HBM bytes measured since the exporter started.
    pub hbm_bytes_total: Option<Bytes>,
    /// Bytes over PCIe and NVLink measured since the exporter started.
    pub links_total: Links<Option<Traffic<Bytes>>>,
    /// Joules since the exporter started.
    pub energy_total: Option<Joules>,
    /// Seconds with a kernel running since the exporter started.
    pub busy_total: Option<Seconds>,
}

impl SourceStatus {
    /// Whether the last read succeeded.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        self.success == Some(true)
    }
}

impl Snapshot {
    /// The status of each vLLM server.
    pub fn servers(&self) -> impl Iterator<Item = &SourceStatus> {
        self.sources.iter().filter(|source| source.source == "vllm")
    }

    /// Whether a page of vLLM was read in the last tick; with several servers, of any.
    #[must_use]
    pub(crate) fn vllm_up(&self) -> bool {
        self.servers().any(SourceStatus::is_up)
    }

    /// Whether the page with `engine` was read in the last tick.
    #[must_use]
    pub fn is_read(&self, engine: &EngineSnapshot) -> bool {
        let own = |server: &&SourceStatus| server.target == engine.target;
        self.servers().filter(own).any(SourceStatus::is_up)
    }
}
