//! Takes a snapshot of a meter. Pure: a recording gives the same snapshots as the live run did.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::config::Settings;
use crate::meter::Meter;
use crate::meter::engine::{EngineMeter, MeterSettings};
use crate::meter::figures::Figures;
use crate::meter::gpu::GpuMeter;
use crate::sample::engine::{EngineKey, EngineTotals, Gauge};
use roofline::bound::{Bound, EngineState};
use roofline::units::Seconds;

use super::{EngineSnapshot, GpuSnapshot, Now, Reload, Snapshot, SourceStatus, TrailPoint};

/// Points of the trail kept per phase.
const TRAIL: usize = 60;

/// What a snapshot shows beside the meter.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Unix time.
    pub time: Seconds,
    /// Where vLLM is.
    pub vllm_url: String,
    /// Every source and how it fares.
    pub sources: Vec<SourceStatus>,
    /// Whether vLLM answers; what is derived from its pages vanishes where it does not.
    pub reachable: bool,
    /// How the newest reload went.
    pub reload: Option<Reload>,
    /// GPUs last read before this are lost, and what was read of them must not stand on.
    pub gpus_since: Seconds,
}

/// Where the phases of each engine were on the roofline.
#[derive(Debug, Default)]
pub struct Trails(BTreeMap<EngineKey, VecDeque<TrailPoint>>);

impl Snapshot {
    /// The state of `meter` among `around`; the newest points go on `trails`.
    pub fn take(
        meter: &mut Meter,
        trails: &mut Trails,
        settings: &Settings,
        around: Surroundings,
    ) -> Self {
        let measuring = meter.settings;
        trails.0.retain(|key, _| meter.engines.contains_key(key));
        let engines = meter.engines.iter_mut().map(|(key, engine)| {
            let trail = trails.0.entry(key.clone()).or_default();
            engine_snapshot(key, engine, trail, &measuring, &around)
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
    trail: &mut VecDeque<TrailPoint>,
    settings: &MeterSettings,
    around: &Surroundings,
) -> EngineSnapshot {
    let (state, bound) = if around.reachable {
        (meter.state(), meter.bound())
    } else {
        (EngineState::Unreachable, Bound::Unknown)
    };
    let window = meter
        .window(around.time, settings.window)
        .filter(|_| around.reachable);
    let figures = window.as_ref().map(|window| {
        let asleep = meter.state() == EngineState::Sleeping;
        let figures = Figures::of(window, &meter.facts, asleep, settings.overhead_below);
        Figures { bound, ..figures }
    });
    if let Some(figures) = &figures {
        extend(trail, figures);
    }
    EngineSnapshot {
        key: key.clone(),
        facts: Arc::clone(&meter.facts),
        state,
        bound,
        totals: meter.totals.clone(),
        cost_dollars: settings.gpu_hour_price.map(|_| meter.cost_dollars),
        time_seconds: meter.spans.settled.time_seconds(),
        phase_seconds: meter.spans.phase_seconds,
        bound_seconds: meter.bound_seconds,
        sm_clock_mhz: window.and_then(|window| window.account.hardware.sm_clock_mhz()),
        window: figures,
        missing_inputs: meter
            .latest
            .as_ref()
            .map_or_else(Vec::new, |totals| totals.missing.clone()),
        now: gauges(meter),
        trail: trail.iter().copied().collect(),
    }
}

fn gauges(meter: &EngineMeter) -> Now {
    let latest = meter.latest.as_ref();
    let gauge = |which| latest.and_then(|totals| totals.gauges.get(which));
    Now {
        running: gauge(Gauge::Running),
        waiting: gauge(Gauge::Waiting),
        kv_cache_usage: gauge(Gauge::KvCacheUsage),
        kv_capacity_tokens: latest.and_then(EngineTotals::kv_capacity_tokens),
    }
}

/// The engines' GPUs that were read lately. Others may be seen, on a node with many, and are not ours to show.
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

/// Adds where the phases of `figures` are on the roofline.
fn extend(trail: &mut VecDeque<TrailPoint>, figures: &Figures) {
    for (phase, point) in [
        ("prefill", figures.by_phase.prefill),
        ("decode", figures.by_phase.decode),
    ] {
        if let Some((intensity, flops_per_second)) =
            point.arithmetic_intensity.zip(point.flops_per_busy_second)
        {
            trail.push_back(TrailPoint {
                time: figures.t_end,
                phase,
                intensity,
                flops_per_second,
            });
        }
    }
    while trail.len() > 2 * TRAIL {
        trail.pop_front();
    }
}
