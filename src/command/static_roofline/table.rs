//! Prints a prediction: what fits, the roof, the time by component, user-visible latency, advice.

use std::io::Write;

use comfy_table::Table;

use super::{GridCell, roof};
use crate::command::output::{self, write_table};
use roofline::predict::{BatchLimits, PredictedSteps, Prediction, StepPrediction};
use roofline::units::{Bytes, Seconds};

const NOTHING: &str = "–";

/// One prediction.
pub(super) fn write_prediction(
    prediction: &Prediction,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    write_head(prediction, out)?;
    let steps = steps(prediction);
    if let Some(gpu) = &prediction.gpu {
        let placed: Vec<(char, &StepPrediction)> = steps
            .iter()
            .map(|(name, step)| {
                (
                    name.chars().next().unwrap_or('*').to_ascii_uppercase(),
                    *step,
                )
            })
            .collect();
        let letters: Vec<String> = steps
            .iter()
            .zip(&placed)
            .map(|((name, _), (letter, _))| format!("{letter} {name}"))
            .collect();
        writeln!(
            out,
            "\nRoof ({}): / ─ data sheet, · attainable, {} as expected",
            gpu.precision,
            letters.join(", ")
        )?;
        for line in roof::draw(gpu, &placed) {
            writeln!(out, "{line}")?;
        }
    }
    writeln!(out)?;
    write_table(&step_table(&steps), out)?;
    write_latency(prediction, out)?;
    if let Some(limits) = &prediction.limits {
        write_limits(limits, out)?;
    }
    write_advice(prediction, out)
}

/// One line for each cell of a grid.
pub(super) fn write_grid(cells: &[GridCell], out: &mut impl Write) -> anyhow::Result<()> {
    let mut table = output::table([
        "GPU",
        "batch",
        "bound by",
        "mostly",
        "step",
        "at least",
        "TTFT",
        "TPOT",
        "tokens/s",
        "at most",
        "KV full at",
        "SLO met to",
    ]);
    for cell in cells {
        let mut row = vec![cell.gpu.clone(), format!("{:.0}", cell.batch)];
        match &cell.prediction {
            Some(prediction) => row.extend(grid_row(prediction)),
            None => row.push(cell.error.clone().unwrap_or_default()),
        }
        table.add_row(row);
    }
    write_table(&table, out)?;
    writeln!(
        out,
        "Expected values; `at least` and `at most` are the bounds that they cannot beat."
    )?;
    Ok(())
}

fn grid_row(prediction: &Prediction) -> Vec<String> {
    let step = match &prediction.steps {
        PredictedSteps::Step(step) => step.as_ref(),
        PredictedSteps::Steps(steps) => &steps.decode,
    };
    let latency = prediction.latency.as_ref();
    let limits = prediction.limits.as_ref();
    let mostly = match prediction.memory.fits {
        Some(false) => "does not fit",
        _ => step.bottleneck.map_or(NOTHING, |bound| bound.as_str()),
    };
    vec![
        step.bound
            .map_or(NOTHING, |bound| bound.as_str())
            .to_owned(),
        mostly.to_owned(),
        time(step.expected_seconds),
        time(step.bound_seconds),
        time(latency.map(|latency| latency.ttft_expected_seconds)),
        time(latency.map(|latency| latency.tpot_expected_seconds)),
        number(latency.map(|latency| latency.output_tokens_per_second_expected)),
        number(latency.map(|latency| latency.output_tokens_per_second_bound)),
        batch(limits.and_then(|limits| limits.kv_capacity_batch)),
        batch(limits.and_then(|limits| limits.slo_batch)),
    ]
}

fn steps(prediction: &Prediction) -> Vec<(&'static str, &StepPrediction)> {
    match &prediction.steps {
        PredictedSteps::Step(step) => vec![(step.phase.name(), step)],
        PredictedSteps::Steps(steps) => {
            vec![("prefill", &steps.prefill), ("decode", &steps.decode)]
        }
    }
}

fn write_head(prediction: &Prediction, out: &mut impl Write) -> anyhow::Result<()> {
    let (model, memory) = (&prediction.model, &prediction.memory);
    write!(
        out,
        "{} ({}), {:.2} B parameters",
        model.name,
        model.architecture,
        billions(model.total_params)
    )?;
    if model.active_params != model.total_params {
        write!(out, ", {:.2} B active", billions(model.active_params))?;
    }
    match &prediction.gpu {
        Some(gpu) => writeln!(
            out,
            "\non {}: {:.0} TFLOP/s {}, {:.0} GB/s, ridge {:.0} FLOP/B",
            gpu.name,
            gpu.peak_flops_per_second.0 / 1e12,
            gpu.precision,
            gpu.hbm_bytes_per_second.0 / 1e9,
            (gpu.peak_flops_per_second / gpu.hbm_bytes_per_second).0,
        )?,
        None => writeln!(out, "\nwithout a GPU: work only, no roof")?,
    }
    write!(
        out,
        "Memory per GPU: weights {}, KV cache {:.1} KiB a token",
        size(memory.weights_resident_bytes_per_gpu),
        memory.kv_bytes_per_token_per_gpu.0 / 1024.0,
    )?;
    if memory.state_bytes_per_sequence_per_gpu > Bytes::ZERO {
        write!(
            out,
            ", state {} a sequence",
            size(memory.state_bytes_per_sequence_per_gpu)
        )?;
    }
    if let (Some(cache), Some(tokens)) = (memory.kv_cache_bytes_per_gpu, memory.kv_capacity_tokens)
    {
        write!(
            out,
            ", room for {} = {} tokens",
            size(cache),
            grouped(tokens)
        )?;
    }
    writeln!(out)?;
    if let Some(problem) = &memory.problem {
        writeln!(out, "DOES NOT START: {problem}")?;
    }
    Ok(())
}

fn step_table(steps: &[(&'static str, &StepPrediction)]) -> Table {
    let mut table = output::table([
        "step", "batch", "GFLOP", "GB", "FLOP/B", "bound by", "bound", "expected", "compute",
        "memory", "links", "overhead", "mostly",
    ]);
    for (name, step) in steps {
        let parts = step.time_seconds.as_ref();
        table.add_row([
            (*name).to_owned(),
            format!("{:.0}", step.batch),
            format!("{:.1}", step.flops_per_gpu.0 / 1e9),
            format!("{:.2}", step.bytes_per_gpu.0 / 1e9),
            format!("{:.1}", step.arithmetic_intensity.0),
            step.bound
                .map_or(NOTHING, |bound| bound.as_str())
                .to_owned(),
            time(step.bound_seconds),
            time(step.expected_seconds),
            time(parts.map(|parts| parts.compute)),
            time(parts.map(|parts| parts.memory)),
            time(parts.map(|parts| parts.communication)),
            time(parts.map(|parts| parts.overhead)),
            step.bottleneck
                .map_or(NOTHING, |bound| bound.as_str())
                .to_owned(),
        ]);
    }
    table
}

fn write_latency(prediction: &Prediction, out: &mut impl Write) -> anyhow::Result<()> {
    let Some(latency) = &prediction.latency else {
        return Ok(());
    };
    let mut table = output::table(["users see", "bound", "expected"]);
    table.add_row([
        "time to first token".to_owned(),
        time(Some(latency.ttft_bound_seconds)),
        time(Some(latency.ttft_expected_seconds)),
    ]);
    for (name, expected) in [
        ("  arriving one by one", latency.ttft_steady_seconds),
        ("  all at once", latency.ttft_burst_seconds),
    ] {
        table.add_row([name.to_owned(), String::new(), time(Some(expected))]);
    }
    table.add_row([
        "time per output token".to_owned(),
        time(Some(latency.tpot_bound_seconds)),
        time(Some(latency.tpot_expected_seconds)),
    ]);
    table.add_row([
        "output tokens per second".to_owned(),
        number(Some(latency.output_tokens_per_second_bound)),
        number(Some(latency.output_tokens_per_second_expected)),
    ]);
    write_table(&table, out)?;
    Ok(())
}

fn write_limits(limits: &BatchLimits, out: &mut impl Write) -> anyhow::Result<()> {
    let mut table = output::table(["batch at which", "", ""]);
    for (name, limit, meaning) in [
        (
            "the targets are still met",
            limits.slo_batch,
            "more requests answer too slowly",
        ),
        (
            "the KV cache is full",
            limits.kv_capacity_batch,
            "more requests wait",
        ),
        (
            "the knee is reached",
            limits.knee_batch,
            "half of the largest decode throughput; more requests gain ever less",
        ),
        (
            "weights turn compute-bound",
            limits.ridge_batch,
            "below it, reading the weights takes longer than computing with them",
        ),
        (
            "decode turns compute-bound",
            limits.compute_saturation_batch,
            "attention included",
        ),
    ] {
        let limit = limit.map_or_else(|| "never".to_owned(), |limit| limit.to_string());
        table.add_row([name.to_owned(), limit, meaning.to_owned()]);
    }
    write_table(&table, out)?;
    Ok(())
}

fn write_advice(prediction: &Prediction, out: &mut impl Write) -> anyhow::Result<()> {
    if !prediction.advice.is_empty() {
        let mut table = output::table(["against", "in", "do", "predicted effect"]);
        for advice in &prediction.advice {
            table.add_row([
                advice.bound.name(),
                advice.phase.map_or("", |phase| phase.name()),
                &advice.r#do,
                &advice.predicted_effect,
            ]);
        }
        write_table(&table, out)?;
    }
    if let Some(recommended) = &prediction.recommended {
        writeln!(out, "Recommended: {}", recommended.command)?;
    }
    if let Some(origins) = &prediction.origins {
        writeln!(
            out,
            "Specified: model, data sheet. Modelled: FLOPs, bytes, bounds, limits. Nothing here is measured on your machine."
        )?;
        writeln!(
            out,
            "Expected values: attainable compute {}, bandwidth {}, overheads {}.",
            origins.attainable_flops.name(),
            origins.attainable_hbm.name(),
            origins.overheads.name(),
        )?;
    }
    for note in &prediction.not_modelled {
        writeln!(out, "Not modelled: {note}.")?;
    }
    Ok(())
}

fn time(seconds: Option<Seconds>) -> String {
    match seconds {
        None => NOTHING.to_owned(),
        Some(Seconds(seconds)) if seconds >= 1.0 => format!("{seconds:.2} s"),
        Some(Seconds(seconds)) => format!("{:.2} ms", seconds * 1e3),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), grouped)
}

fn batch(limit: Option<u64>) -> String {
    limit.map_or_else(|| NOTHING.to_owned(), |limit| limit.to_string())
}

fn size(bytes: Bytes) -> String {
    let gib = bytes.0 / f64::from(1 << 30);
    if gib >= 1.0 {
        format!("{gib:.2} GiB")
    } else {
        format!("{:.1} MiB", gib * 1024.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "printed with three digits")]
fn billions(count: u64) -> f64 {
    count as f64 / 1e9
}

/// An integer with thousands separators.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
