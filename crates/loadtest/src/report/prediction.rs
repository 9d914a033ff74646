//! The prediction on the page.

use super::cell::{CellPath, NumberCell};
use crate::analysis::text::{count, duration, scaled};
use roofline::bound::Bound;
use roofline::predict::{
    BatchLimits, BottleneckKind, GpuFacts, MemoryFacts, PredictedSteps, Prediction, StepPrediction,
};
use roofline::units::Seconds;

/// A prediction.
pub(super) struct PredictionView {
    pub facts: Vec<Fact>,
    pub steps: Vec<StepRow>,
    pub latency: Vec<(&'static str, NumberCell, NumberCell)>,
    pub advice: Vec<(String, String, String)>,
    pub command: Option<String>,
    pub not_modelled: Vec<String>,
}

/// A step.
pub(super) struct StepRow {
    pub phase: &'static str,
    pub cells: Vec<NumberCell>,
    pub bound: &'static str,
    pub bottleneck: &'static str,
}

pub(super) fn view(prediction: &Prediction) -> PredictionView {
    let place = CellPath::new("static");
    let advice = prediction.advice.iter().map(|advice| {
        let phase = advice
            .phase
            .map_or_else(String::new, |phase| format!("{}: ", phase.name()));
        (
            advice.r#do.clone(),
            format!("{phase}{}", against(advice.bound)),
            advice.predicted_effect.clone(),
        )
    });
    PredictionView {
        facts: facts(&place, prediction),
        steps: match &prediction.steps {
            PredictedSteps::Step(step) => vec![row(&place.at("step"), step)],
            PredictedSteps::Steps(steps) => vec![
                row(&place.at("steps").at("prefill"), &steps.prefill),
                row(&place.at("steps").at("decode"), &steps.decode),
            ],
        },
        latency: latency(&place, prediction),
        advice: advice.collect(),
        command: prediction
            .recommended
            .as_ref()
            .map(|recommended| recommended.command.clone()),
        not_modelled: prediction.not_modelled.clone(),
    }
}

/// Bytes as GiB.
fn gib(bytes: f64) -> String {
    format!("{:.2} GiB", bytes / f64::from(1 << 30))
}

/// A figure: its name, its value, and whether it is specified or modelled.
type Fact = (&'static str, NumberCell, &'static str);

const SPECIFIED: &str = "specified";
const MODELLED: &str = "modelled";

fn facts(place: &CellPath, prediction: &Prediction) -> Vec<Fact> {
    let params = prediction.model.total_params as f64;
    let params = place.at("model").cell("total_params", params, scaled);
    let mut facts = vec![("parameters", params, SPECIFIED)];
    facts.extend(memory(&place.at("memory"), &prediction.memory));
    if let Some(limits) = &prediction.limits {
        facts.extend(batches(&place.at("limits"), limits));
    }
    if let Some(gpu) = &prediction.gpu {
        facts.extend(peaks(&place.at("gpu"), gpu));
    }
    facts.retain(|(_, cell, _)| *cell != NumberCell::dash());
    facts
}

fn memory(place: &CellPath, memory: &MemoryFacts) -> [Fact; 2] {
    let weights = memory.weights_resident_bytes_per_gpu.0;
    let tokens = memory.kv_capacity_tokens;
    [
        (
            "weights per GPU",
            place.cell("weights_resident_bytes_per_gpu", weights, gib),
            MODELLED,
        ),
        (
            "KV cache, tokens",
            place.cell("kv_capacity_tokens", tokens, count),
            MODELLED,
        ),
    ]
}

fn batches(place: &CellPath, limits: &BatchLimits) -> [Fact; 4] {
    let limit = |name, pointer, value: Option<u64>| {
        let cell = place.cell(pointer, value.map(|value| value as f64), count);
        (name, cell, MODELLED)
    };
    [
        limit("ridge batch", "ridge_batch", limits.ridge_batch),
        limit("knee batch", "knee_batch", limits.knee_batch),
        limit(
            "batch that fits",
            "kv_capacity_batch",
            limits.kv_capacity_batch,
        ),
        limit("batch within targets", "slo_batch", limits.slo_batch),
    ]
}

fn peaks(place: &CellPath, gpu: &GpuFacts) -> [Fact; 2] {
    let flops = |value: f64| format!("{}FLOP/s", scaled(value));
    let bytes = |value: f64| format!("{}B/s", scaled(value));
    let (peak, bandwidth) = (gpu.peak_flops_per_second.0, gpu.hbm_bytes_per_second.0);
    [
        (
            "peak",
            place.cell("peak_flops_per_second", peak, flops),
            SPECIFIED,
        ),
        (
            "HBM bandwidth",
            place.cell("hbm_bytes_per_second", bandwidth, bytes),
            SPECIFIED,
        ),
    ]
}

fn row(place: &CellPath, step: &StepPrediction) -> StepRow {
    let seconds =
        |pointer, value: Option<Seconds>| place.cell(pointer, value.map(|value| value.0), duration);
    StepRow {
        phase: step.phase.name(),
        cells: vec![
            place.cell("batch", step.batch, count),
            place.cell("arithmetic_intensity", step.arithmetic_intensity.0, count),
            seconds("compute_seconds", step.compute_seconds),
            seconds("memory_seconds", step.memory_seconds),
            seconds("bound_seconds", step.bound_seconds),
            seconds("expected_seconds", step.expected_seconds),
        ],
        bound: spoken(step.bound),
        bottleneck: spoken(step.bottleneck),
    }
}

const fn against(what: BottleneckKind) -> &'static str {
    match what {
        BottleneckKind::Step(bound) => spoken(Some(bound)),
        BottleneckKind::KvCapacity => "room in the KV cache",
    }
}

const fn spoken(bound: Option<Bound>) -> &'static str {
    match bound {
        Some(Bound::MemoryBandwidth) => "memory bandwidth",
        Some(other) => other.as_str(),
        None => "–",
    }
}

fn latency(
    place: &CellPath,
    prediction: &Prediction,
) -> Vec<(&'static str, NumberCell, NumberCell)> {
    let own = place.at("latency");
    let Some(latency) = &prediction.latency else {
        return Vec::new();
    };
    vec![
        (
            "TTFT",
            own.cell("ttft_bound_seconds", latency.ttft_bound_seconds.0, duration),
            own.cell(
                "ttft_expected_seconds",
                latency.ttft_expected_seconds.0,
                duration,
            ),
        ),
        (
            "TPOT",
            own.cell("tpot_bound_seconds", latency.tpot_bound_seconds.0, duration),
            own.cell(
                "tpot_expected_seconds",
                latency.tpot_expected_seconds.0,
                duration,
            ),
        ),
        (
            "output tokens/s",
            own.cell(
                "output_tokens_per_second_bound",
                latency.output_tokens_per_second_bound,
                count,
            ),
            own.cell(
                "output_tokens_per_second_expected",
                latency.output_tokens_per_second_expected,
                count,
            ),
        ),
    ]
}
