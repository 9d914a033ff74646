//! The snapshot as JSON, for `/api/v1/snapshot`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::sample::gpu::GpuReading;
use crate::snapshot::{EngineSnapshot, GpuSnapshot, Snapshot};
use roofline::engine::EngineRoof;

/// Version of this JSON.
const SCHEMA: u32 = 1;

/// `snapshot` as JSON; a window has the members of `replay`'s windows.
#[must_use]
pub fn of(snapshot: &Snapshot) -> Value {
    json!({
        "schema": SCHEMA,
        "time": snapshot.time,
        "up": snapshot.vllm_up(),
        "vllm_url": snapshot.vllm_url,
        "sources": snapshot.sources,
        "slo": snapshot.slo.iter().copied().collect::<BTreeMap<_, _>>(),
        "window_discards": snapshot.discards,
        "engines": snapshot.engines.iter().map(engine).collect::<Vec<_>>(),
        "gpus": snapshot.gpus.iter().map(gpu).collect::<Vec<_>>(),
    })
}

fn engine(engine: &EngineSnapshot) -> Value {
    let totals = &engine.totals;
    json!({
        "target": engine.target,
        "model_name": engine.key.model_name,
        "engine": engine.key.engine,
        "engine_state": engine.state,
        "bound": engine.bound,
        "verdict": engine.verdict,
        "outlook": engine.outlook,
        "time_seconds": engine.recently,
        "now": engine.now,
        "window": engine.window,
        "totals": {
            "seconds": totals.seconds,
            "prefill_tokens": totals.tokens.prefill,
            "decode_tokens": totals.tokens.decode,
            "output_tokens": totals.output_tokens,
            "steps": totals.steps,
            "flops": totals.work.map(|work| work.flops.total()),
            "hbm_bytes": totals.work.map(|work| (work.bytes.prefill + work.bytes.decode).total()),
            "cost_dollars": engine.cost_dollars,
        },
        "gpus": engine.facts.gpu_uuids,
        "origins": engine.facts.origins.iter().map(|(fact, origin)| json!({"fact": fact, "origin": origin})).collect::<Vec<_>>(),
        "missing": engine.facts.missing,
        "roofs": engine.facts.roofs(engine.sm_clock_mhz).iter().map(roof).collect::<Vec<_>>(),
        "limits": limits(engine),
        "missing_inputs": engine.missing_inputs,
        "trail": engine.trail,
    })
}

fn roof(roof: &EngineRoof) -> Value {
    json!({
        "level": roof.level,
        "peak_flops_per_second": roof.peak,
        "hbm_bytes_per_second": roof.bandwidth,
    })
}

/// Decode batches at which a limit is reached, with the context of the window.
fn limits(engine: &EngineSnapshot) -> Vec<Value> {
    let context = engine
        .window
        .as_ref()
        .and_then(|window| window.context_tokens);
    let most = engine.facts.max_num_seqs();
    let limits = engine
        .facts
        .batch_limits(context, engine.now.kv_capacity_tokens);
    limits
        .into_iter()
        .chain(most.map(|most| ("max_num_seqs", most)))
        .map(|(limit, batch)| json!({"limit": limit, "batch": batch}))
        .collect()
}

fn gpu(gpu: &GpuSnapshot) -> Value {
    let latest = gpu.latest.as_ref();
    json!({
        "uuid": gpu.facts.uuid,
        "name": gpu.facts.name,
        "sm_clock_mhz": latest.and_then(|reading| reading.sm_clock_mhz),
        "power_watts": latest.and_then(|reading| reading.power_watts),
        "temperature_celsius": latest.and_then(|reading| reading.temperature_celsius),
        "measured_hbm_bytes": gpu.hbm_bytes_total,
        "energy_joules": gpu.energy_total,
        "absent": latest.map(absent).unwrap_or_default(),
    })
}

/// Quantities that could not be read from a GPU, and why.
fn absent(reading: &GpuReading) -> Vec<Value> {
    let absent = reading.absent.iter();
    absent
        .map(|(quantity, cause)| json!({"what": quantity.as_str(), "why": cause.as_str()}))
        .collect()
}
