//! Prints a sweep: one line per setting, the best one, and how far it could go.

use std::io::Write;

use crate::command::output::{table, write_table};
use loadtest::sweep::choice::BestSetting;
use loadtest::sweep::prediction::Predicted;
use loadtest::sweep::setting::{MeasuredPoint, Setting, Spread, SweepPoint};
use loadtest::sweep::{Objective, Sweep};

const NOTHING: &str = "–";

/// Writes the whole result.
pub(super) fn write(sweep: &Sweep, out: &mut impl Write) -> anyhow::Result<()> {
    if let Some(concurrency) = sweep.concurrency {
        writeln!(out, "{concurrency} requests at a time at every setting\n")?;
    }
    write_settings(sweep, out)?;
    for stopped in &sweep.stopped {
        writeln!(out, "{stopped}")?;
    }
    if sweep.interrupted {
        writeln!(
            out,
            "The sweep ended before it was done; this is what there was."
        )?;
    }
    if let Some(best) = &sweep.best {
        writeln!(
            out,
            "Best: {} with {}",
            named(&best.point, sweep),
            value(best, sweep.metric)
        )?;
        writeln!(out, "      {}", best.why)?;
    }
    if let Some(predicted) = &sweep.predicted {
        write_predicted(predicted, out)?;
    } else if let Some(why) = &sweep.not_predicted {
        writeln!(out, "No roofline: {why}")?;
    }
    Ok(())
}

fn write_settings(sweep: &Sweep, out: &mut impl Write) -> anyhow::Result<()> {
    let percentile = sweep.slo.percentile;
    let varies =
        |of: fn(&SweepPoint) -> bool| sweep.settings.iter().any(|setting| of(&setting.point));
    let utilization = varies(|point| point.gpu_memory_utilization.is_some());
    let tokens = varies(|point| point.max_num_batched_tokens.is_some());
    let mut header = vec!["batch".to_owned()];
    header.extend(utilization.then(|| "GPU memory".to_owned()));
    header.extend(tokens.then(|| "tokens a step".to_owned()));
    header.extend(["tokens/s", "requests/s", "within SLO/s"].map(str::to_owned));
    header.extend([
        format!("TTFT P{percentile} ms"),
        format!("TPOT P{percentile} ms"),
    ]);
    header.extend(["failed", "SLO"].map(str::to_owned));
    let mut rows = table(header);
    for setting in &sweep.settings {
        let point = &setting.point;
        let mut row = vec![point.batch.to_string()];
        row.extend(utilization.then(|| text(point.gpu_memory_utilization)));
        row.extend(tokens.then(|| text(point.max_num_batched_tokens)));
        match &setting.measured {
            Some(measured) => row.extend(figures(setting, measured)),
            None => row.extend([NOTHING; 7].map(str::to_owned)),
        }
        rows.add_row(row);
    }
    write_table(&rows, out)?;
    for setting in &sweep.settings {
        if let Some(error) = &setting.error {
            writeln!(out, "batch {}: {error}", setting.point.batch)?;
        }
        if let Some(measured) = setting
            .measured
            .as_ref()
            .filter(|measured| measured.failed > 0)
        {
            let kinds: Vec<String> = measured
                .errors
                .iter()
                .map(|(kind, count)| format!("{count} × {kind}"))
                .collect();
            writeln!(
                out,
                "batch {}: failed {}",
                setting.point.batch,
                kinds.join(", ")
            )?;
        }
    }
    Ok(())
}

fn figures(setting: &Setting, measured: &MeasuredPoint) -> [String; 7] {
    let spread = |spread: Option<Spread>, unit: f64, decimals: usize| {
        let Some(spread) = spread else {
            return NOTHING.to_owned();
        };
        let mean = format!("{:.decimals$}", spread.mean * unit);
        if measured.repeats > 1 {
            format!("{mean} ±{:.0} %", spread.relative() * 100.0)
        } else {
            mean
        }
    };
    [
        spread(Some(measured.output_tokens_per_second), 1.0, 1),
        spread(Some(measured.requests_per_second), 1.0, 2),
        spread(Some(measured.goodput_requests_per_second), 1.0, 2),
        spread(measured.ttft_seconds, 1e3, 1),
        spread(measured.tpot_seconds, 1e3, 2),
        measured.failed.to_string(),
        if setting.meets_slo { "met" } else { "missed" }.to_owned(),
    ]
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

fn named(point: &SweepPoint, sweep: &Sweep) -> String {
    let what = if sweep.varied == "launch" {
        "batch"
    } else {
        "concurrency"
    };
    let utilization = point
        .gpu_memory_utilization
        .map(|value| format!(", --gpu-memory-utilization {value}"));
    let tokens = point
        .max_num_batched_tokens
        .map(|value| format!(", --max-num-batched-tokens {value}"));
    format!(
        "{what} {}{}{}",
        point.batch,
        utilization.unwrap_or_default(),
        tokens.unwrap_or_default()
    )
}

fn value(best: &BestSetting, metric: Objective) -> String {
    match metric {
        Objective::Throughput => format!("{:.1} output tokens/s (measured)", best.value),
        Objective::Ttft => format!("{:.1} ms to the first token (measured)", best.value * 1e3),
        Objective::Tpot => format!("{:.2} ms per output token (measured)", best.value * 1e3),
        Objective::Goodput => format!("{:.2} requests/s within the targets (measured)", best.value),
    }
}

fn write_predicted(predicted: &Predicted, out: &mut impl Write) -> anyhow::Result<()> {
    let latency = &predicted.latency;
    writeln!(
        out,
        "Roofline of {} at this setting (modelled): bound {:.0} tokens/s, of which {:.0} % are reached; expected {:.0} tokens/s, TTFT {:.1} ms, TPOT {:.2} ms",
        predicted.gpu,
        latency.output_tokens_per_second_bound,
        predicted.share_of_bound * 100.0,
        latency.output_tokens_per_second_expected,
        latency.ttft_expected_seconds.0 * 1e3,
        latency.tpot_expected_seconds.0 * 1e3,
    )?;
    match &predicted.at_slo_batch {
        Some(at) => writeln!(
            out,
            "It could go to batch {} within the SLO: {:.0} tokens/s expected (modelled)",
            at.batch, at.output_tokens_per_second_expected
        )?,
        None => writeln!(out, "By the model no batch keeps the SLO")?,
    }
    Ok(())
}
