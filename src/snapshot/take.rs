//! Takes a snapshot of a meter. Pure: a recording gives the same snapshots as the live run.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Settings;
use crate::meter::Meter;
use crate::meter::account::{Account, TimeSpent};
use crate::meter::engine::{EngineMeter, MeterSettings};
use crate::meter::figures::Figures;
use crate::meter::gpu::GpuMeter;
use crate::meter::observe::{EngineStatus, observation};
use crate::meter::spans::AccountedSpan;
use crate::sample::engine::{EngineKey, EngineTotals, Gauge, MissingInput};
use roofline::bound::{Bound, EngineState, TimeSeconds};
use roofline::diagnosis::{Finding, Observation, Remedies, diagnose};
use roofline::units::{Seconds, ratio};

use super::history::HistoryPoint;
use super::memory::{EngineMemory, Memory};
use super::{CurrentGauges, EngineSnapshot, GpuSnapshot, Reload, Snapshot, SourceStatus};

/// The inputs of a snapshot besides the meter.
#[derive(Clone, Debug)]
pub struct SnapshotContext {
    /// Unix time.
    pub time: Seconds,
    /// URL of vLLM.
    pub vllm_url: String,
    /// All sources with their status.
    pub sources: Vec<SourceStatus>,
    /// Whether vLLM answers; values derived from its pages are absent if not.
    pub reachable: bool,
    /// The outcome of the newest reload.
    pub reload: Option<Reload>,
    /// GPUs last read before this time are lost, and their old readings must not be shown.
    pub gpus_since: Seconds,
}

impl Snapshot {
    /// The state of `meter` within `around`; `memory` keeps what the next tick needs.
    pub fn take(
        meter: &mut Meter,
        memory: &mut Memory,
        settings: &Settings,
        around: SnapshotContext,
    ) -> Self {
        let measuring = meter.settings;
        let engines = meter.engines.len() * settings.vllm_url.iter().count();
        memory.start(around.time, engines, |key| meter.engines.contains_key(key));
        let gpus = &meter.gpus;
        let engines = meter.engines.iter_mut().map(|(key, engine)| {
            let (own, left) = memory.of(key);
            let power = power(gpus, &engine.facts.gpu_uuids, around.gpus_since);
            engine_snapshot(key, engine, own, left, power, &measuring, &around)
        });
        Self {
            engines: engines.collect(),
            gpus: gpus_read_since(meter, around.gpus_since),
            discards: meter
                .discards
                .iter()
                .map(|(gap, count)| (gap.as_str(), *count))
                .collect(),
            slo: [
                ("ttft", settings.slo_ttft.seconds()),
                ("tpot", settings.slo_tpot.seconds()),
            ],
            reload: around.reload,
            time: around.time,
            vllm_url: around.vllm_url,
            sources: around.sources,
        }
    }
}

fn engine_snapshot(
    key: &EngineKey,
    meter: &mut EngineMeter,
    memory: &mut EngineMemory,
    left: &mut usize,
    power_watts: Option<f64>,
    settings: &MeterSettings,
    around: &SnapshotContext,
) -> EngineSnapshot {
    memory.look(around.time, meter);
    let (state, bound) = state_and_bound(meter, around.reachable);
    let window = meter
        .window(around.time, settings.window)
        .filter(|_| around.reachable);
    let spent = meter
        .recently(settings.bound_window)
        .filter(|_| window.is_some())
        .unwrap_or_default();
    let mut figures = window
        .as_ref()
        .map(|window| figures(window, meter, settings));
    let (verdict, outlook) = match window.as_ref().zip(figures.as_mut()) {
        Some((window, figures)) => {
            let status = EngineStatus {
                state,
                bound,
                spent,
            };
            let (account, facts) = (&window.account, &meter.facts);
            let price = settings.gpu_hour_price;
            let seen = observation(account, figures, facts, &status, price);
            figures.tpot_felt_seconds = seen.felt().tpot_seconds;
            memory.verdict(around.time, &seen, &meter.facts, left)
        }
        None => (without_window(state), None),
    };
    let now = gauges(meter);
    memory.remember(around.time, || {
        history_point(around.time, bound, &now, window.as_ref(), power_watts)
    });
    if let Some(figures) = &mut figures {
        memory.extend_trail(figures);
        figures.verdict.clone_from(&verdict);
    }
    EngineSnapshot {
        target: None,
        key: key.clone(),
        facts: Arc::clone(&meter.facts),
        state,
        bound,
        verdict,
        outlook,
        recently: recently(&spent, window.as_ref()),
        totals: meter.totals.clone(),
        gpu_hour_price: settings.gpu_hour_price,
        cost_dollars: cost_dollars(meter, settings),
        spend: meter.spans.spend.clone(),
        time_seconds: meter.spans.time_seconds(),
        phase_seconds: meter.spans.phase_seconds,
        bound_seconds: meter.bound_seconds(),
        sm_clock_mhz: window.and_then(|window| window.account.hardware.sm_clock_mhz()),
        window: figures,
        missing_inputs: missing_inputs(meter),
        now,
        trail: memory.trail(),
        history: Arc::clone(&memory.history),
        events: memory.events(),
    }
}

fn figures(window: &AccountedSpan, meter: &EngineMeter, settings: &MeterSettings) -> Figures {
    let asleep = meter.state() == EngineState::Sleeping;
    Figures::of(window, &meter.facts, asleep, settings)
}

/// Dollars since the start, while there is a price.
fn cost_dollars(meter: &EngineMeter, settings: &MeterSettings) -> Option<f64> {
    let price = meter.facts.gpu_hour_price(settings.gpu_hour_price);
    price.map(|_| meter.cost_dollars)
}

/// The current state and bound of the engine, if its page can be read.
fn state_and_bound(meter: &EngineMeter, reachable: bool) -> (EngineState, Bound) {
    if reachable {
        (meter.state(), meter.bound())
    } else {
        (EngineState::Unreachable, Bound::Unknown)
    }
}

/// The newest seconds by component; host and kernel latency are separate if the GPU measured its activity in `window`.
fn recently(spent: &TimeSpent, window: Option<&AccountedSpan>) -> Option<TimeSeconds> {
    let split =
        window.is_some_and(|window| window.account.hardware.active_known_seconds > Seconds::ZERO);
    spent
        .components(split)
        .filter(|_| spent.seconds > Seconds::ZERO)
}

/// vLLM's metrics that the newest page lacks.
fn missing_inputs(meter: &EngineMeter) -> Vec<MissingInput> {
    meter
        .latest
        .as_ref()
        .map_or_else(Vec::new, |totals| totals.missing.clone())
}

/// The verdict on an engine without a current measurement.
fn without_window(state: EngineState) -> Vec<Finding> {
    let seen = Observation {
        state,
        ..Observation::default()
    };
    diagnose(&seen, &Remedies::default())
}

fn history_point(
    time: Seconds,
    bound: Bound,
    now: &CurrentGauges,
    window: Option<&AccountedSpan>,
    power_watts: Option<f64>,
) -> HistoryPoint {
    #[expect(clippy::cast_possible_truncation, reason = "a drawing needs no more")]
    let short = |value: f64| value as f32;
    let account = window.map(|window| &window.account);
    let of = |pick: fn(&Account) -> Option<f64>| account.and_then(pick).map(short);
    HistoryPoint {
        time,
        bound,
        output_tokens_per_second: of(|own| ratio(own.output_tokens, own.seconds.0)),
        ttft_mean_seconds: of(|own| own.time_to_first_token.mean()),
        ttft_p95_seconds: of(|own| own.time_to_first_token.percentile(0.95).known()),
        tpot_mean_seconds: of(|own| own.inter_token_latency.mean()),
        tpot_p95_seconds: of(|own| own.inter_token_latency.percentile(0.95).known()),
        kv_cache_usage: now.kv_cache_usage.map(short),
        running: now.running.map(short),
        waiting: now.waiting.map(short),
        power_watts: power_watts.map(short),
    }
}

/// Power of the GPUs with these UUIDs, as far as they were read since `oldest`.
fn power(gpus: &BTreeMap<String, GpuMeter>, uuids: &[String], oldest: Seconds) -> Option<f64> {
    let latest = uuids
        .iter()
        .filter_map(|uuid| gpus.get(uuid)?.latest.as_ref());
    let watts = latest
        .filter(|latest| latest.time >= oldest)
        .filter_map(|latest| latest.power_watts);
    watts.reduce(|one, other| one + other)
}

fn gauges(meter: &EngineMeter) -> CurrentGauges {
    let latest = meter.latest.as_ref();
    let gauge = |which| latest.and_then(|totals| totals.gauges.get(which));
    CurrentGauges {
        running: gauge(Gauge::Running),
        waiting: gauge(Gauge::Waiting),
        kv_cache_usage: gauge(Gauge::KvCacheUsage),
        kv_capacity_tokens: latest.and_then(EngineTotals::kv_capacity_tokens),
    }
}

/// The engines' GPUs that were read recently. A node may have further visible GPUs that are not ours to show.
fn gpus_read_since(meter: &Meter, oldest: Seconds) -> Vec<GpuSnapshot> {
    let present = |gpu: &&GpuMeter| {
        let latest = gpu.latest.as_ref();
        latest.is_some_and(|latest| latest.time >= oldest)
    };
    let serves = |gpu: &&GpuMeter| {
        let mut engines = meter.engines.values();
        engines.any(|engine| engine.facts.gpu_uuids.contains(&gpu.facts.uuid))
    };
    let gpus = meter.gpus.values().filter(present).filter(serves);
    gpus.map(gpu_snapshot).collect()
}

fn gpu_snapshot(gpu: &GpuMeter) -> GpuSnapshot {
    GpuSnapshot {
        facts: gpu.facts.clone(),
        latest: gpu.latest.clone(),
        hbm_bytes_total: gpu.hbm_bytes_total(),
        links_total: gpu.links_total(),
        energy_total: gpu.energy_total(),
        busy_total: gpu.busy_total(),
    }
}
