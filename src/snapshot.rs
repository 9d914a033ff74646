//! The newest state of everything, immutable: the only thing the sampler shares with the server.

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

/// The newest state of everything.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was made.
    pub time: Seconds,
    /// Where vLLM is; with several servers, all of them.
    pub vllm_url: String,
    /// Every source and how it fares.
    pub sources: Vec<SourceStatus>,
    /// Engines that were read in the life of this vLLM.
    pub engines: Vec<EngineSnapshot>,
    /// GPUs read.
    pub gpus: Vec<GpuSnapshot>,
    /// Spans thrown away, by reason.
    pub discards: BTreeMap<&'static str, u64>,
    /// Targets, by name.
    pub slo: [(&'static str, Seconds); 2],
    /// How the newest reload went; nothing where settings come from nowhere that could change.
    pub reload: Option<Reload>,
}

/// How reading the configuration went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reload {
    /// Whether the newest one is in force.
    pub successful: bool,
    /// When one last came into force; the start counts.
    pub last_success: Seconds,
}

/// How a source fares.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceStatus {
    /// `vllm`, or the GPU source.
    pub source: &'static str,
    /// Which of several vLLMs.
    pub target: Option<String>,
    /// Whether the last read succeeded; `None` before the first.
    pub success: Option<bool>,
    /// When it last succeeded.
    pub last_success: Option<Seconds>,
    /// How long the last read took.
    pub read_seconds: Option<Seconds>,
    /// What went wrong in the last read.
    pub error: Option<String>,
    /// Failed reads by reason; every reason there is, from the start.
    pub errors: BTreeMap<&'static str, u64>,
}

/// One engine.
#[derive(Clone, Debug)]
pub struct EngineSnapshot {
    /// Which of several vLLMs it is of.
    pub target: Option<String>,
    /// Its labels.
    pub key: EngineKey,
    /// What is known of its model and GPUs.
    pub facts: Arc<EngineFacts>,
    /// What it is doing now.
    pub state: EngineState,
    /// What bounds it.
    pub bound: Bound,
    /// What holds it back and what would help, the weightiest first.
    pub verdict: Vec<Finding>,
    /// What it should reach under this load; absent while that cannot be predicted.
    pub outlook: Option<Outlook>,
    /// Where the newest seconds went, of which the bound is.
    pub recently: Option<TimeSeconds>,
    /// Sums since the exporter started, as vLLM counted.
    pub totals: Account,
    /// Where the seconds went, every prompt's work where it ran; up to one tick behind while requests run.
    pub time_seconds: Option<TimeSeconds>,
    /// Settled busy seconds by phase.
    pub phase_seconds: PerPhase<Seconds>,
    /// Dollars and joules since the exporter started, by what they were spent on.
    pub spend: Spend,
    /// What one GPU costs an hour, where the user set it.
    pub gpu_hour_price: Option<f64>,
    /// Dollars since there is a price; nothing while there is none.
    pub cost_dollars: Option<f64>,
    /// Seconds each bound held.
    pub bound_seconds: [Seconds; Bound::ALL.len()],
    /// The trailing window; absent while nothing is measured, or vLLM cannot be read.
    pub window: Option<Figures>,
    /// SM clock over the window.
    pub sm_clock_mhz: Option<f64>,
    /// vLLM's metrics that the newest page lacks.
    pub missing_inputs: Vec<MissingInput>,
    /// The gauges of the newest reading.
    pub now: CurrentGauges,
    /// Where the phases were on the roofline, oldest first.
    pub trail: Vec<TrailPoint>,
    /// The last hour.
    pub history: Arc<History>,
    /// What happened in it, oldest first, and what each event did.
    pub events: Vec<BeforeAfter>,
}

/// What vLLM's gauges say now.
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

/// Where one phase was on the roofline, at one moment.
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
    /// What does not change.
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
    pub fn is_up(&self) -> bool {
        self.success == Some(true)
    }
}

impl Snapshot {
    /// How reading vLLM fares, of each server.
    pub fn servers(&self) -> impl Iterator<Item = &SourceStatus> {
        self.sources.iter().filter(|source| source.source == "vllm")
    }

    /// Whether a page of vLLM was read in the last tick; with several servers, of any.
    #[must_use]
    pub fn vllm_up(&self) -> bool {
        self.servers().any(SourceStatus::is_up)
    }

    /// Whether the page was read in the last tick that `engine` stands on.
    #[must_use]
    pub fn is_read(&self, engine: &EngineSnapshot) -> bool {
        let own = |server: &&SourceStatus| server.target == engine.target;
        self.servers().filter(own).any(SourceStatus::is_up)
    }
}
