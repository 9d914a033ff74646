//! What the server gets to see: the state of the sampler as a snapshot.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::meter::engine::EngineMeter;
use crate::meter::figures::Figures;
use crate::meter::verdict::{Bound, EngineState};
use crate::sample::engine::{EngineTotals, Gauge};
use crate::snapshot::{EngineSnapshot, GpuSnapshot, Now, Snapshot, SourceStatus, TrailPoint};
use crate::units::Seconds;

use super::{GRACE_TICKS, Sampler};

/// Points of the trail kept per phase.
const TRAIL: usize = 60;

impl Sampler {
    pub(super) fn snapshot(&mut self, time: Seconds) -> Snapshot {
        let reachable = self.missed <= GRACE_TICKS;
        let settings = self.meter.settings;
        let mut engines = Vec::with_capacity(self.meter.engines.len());
        for (key, meter) in &mut self.meter.engines {
            let window = meter.window(time, settings.window).filter(|_| reachable);
            let figures = window.as_ref().map(|window| {
                let asleep = meter.state() == EngineState::Sleeping;
                let figures = Figures::of(window, &meter.facts, asleep, settings.overhead_below);
                Figures {
                    bound: meter.bound(),
                    ..figures
                }
            });
            let trail = self.trails.entry(key.clone()).or_default();
            if let Some(figures) = &figures {
                extend(trail, figures);
            }
            engines.push(EngineSnapshot {
                key: key.clone(),
                facts: Arc::clone(&meter.facts),
                state: if reachable {
                    meter.state()
                } else {
                    EngineState::Unreachable
                },
                bound: if reachable {
                    meter.bound()
                } else {
                    Bound::Unknown
                },
                totals: meter.totals.clone(),
                bound_seconds: meter.bound_seconds,
                sm_clock_mhz: window.and_then(|window| window.account.hardware.sm_clock_mhz()),
                window: figures,
                now: gauges(meter),
                trail: trail.iter().copied().collect(),
            });
        }
        Snapshot {
            time,
            vllm_url: self.vllm.url().to_string(),
            sources: self.sources(),
            engines,
            gpus: self.present_gpus(time),
            discards: self
                .meter
                .discards
                .iter()
                .map(|(gap, count)| (gap.as_str(), *count))
                .collect(),
            slo: [
                ("ttft", self.settings.slo_ttft.seconds()),
                ("tpot", self.settings.slo_tpot.seconds()),
            ],
            gpu_hour_price: self.settings.gpu_hour_price,
        }
    }

    /// GPUs that were read lately: what was read of one that is lost must not stand on.
    fn present_gpus(&self, time: Seconds) -> Vec<GpuSnapshot> {
        let oldest = time - self.settings.tick.seconds() * f64::from(GRACE_TICKS + 1);
        let gpus = self.meter.gpus.values();
        gpus.filter(|gpu| {
            gpu.latest
                .as_ref()
                .is_some_and(|latest| latest.time >= oldest)
        })
        .map(gpu_snapshot)
        .collect()
    }

    fn sources(&self) -> Vec<SourceStatus> {
        let vllm = std::iter::once(self.vllm_status.clone());
        vllm.chain(self.gpus.status()).collect()
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

fn gpu_snapshot(gpu: &crate::meter::gpu::GpuMeter) -> GpuSnapshot {
    GpuSnapshot {
        facts: gpu.facts.clone(),
        latest: gpu.latest.clone(),
        hbm_bytes_total: gpu.hbm_bytes_total,
        energy_total: gpu.energy_total,
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
