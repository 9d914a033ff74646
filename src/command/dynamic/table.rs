//! Prints an analysis as text.

use std::io::{self, Write};

use crate::command::output::{table, write_table};
use crate::command::verdict_text;
use loadtest::analysis::text::{change, count, duration, percent, range};
use loadtest::analysis::{
    Against, Analysis, Baseline, Bottleneck, Comparison, Figure, Pair, Run, TargetVerdict,
    TimelineMoment, felt,
};
use roofline::diagnosis::VerdictLevel;
use roofline::predict::ImprovedMetric;

/// Writes `analysis`.
///
/// # Errors
/// When writing to `out` fails.
pub(super) fn write(analysis: &Analysis, out: &mut impl Write) -> io::Result<()> {
    let configuration = &analysis.configuration;
    let gpu = configuration.gpu_name.as_deref().unwrap_or("GPU not known");
    let model = configuration.model.as_deref().unwrap_or("model not known");
    writeln!(out, "{model} on {gpu}\n")?;
    overview(&analysis.runs, out)?;
    for run in &analysis.runs {
        write_run(run, out)?;
    }
    if let Some(baseline) = &analysis.baseline {
        write_baseline(baseline, out)?;
    }
    for note in &analysis.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// Each run as a row.
fn overview(runs: &[Run], out: &mut impl Write) -> io::Result<()> {
    let mut rows = table([
        "run",
        "requests",
        "failed",
        "in flight",
        "in",
        "out",
        "req/s",
        "tok/s",
        "MFU",
        "MBU",
        "GPU",
        "bound",
    ]);
    let number = |value: Option<f64>| value.map_or_else(dash, count);
    let share = |value: Option<f64>| value.map_or_else(dash, percent);
    for run in runs {
        let (load, rates) = (&run.load, &run.measured.rates);
        let modelled = run.modelled.as_ref();
        rows.add_row([
            run.name.clone(),
            run.completed.to_string(),
            run.failed.to_string(),
            number(load.concurrency),
            number(load.input_tokens),
            number(load.output_tokens),
            number(rates.requests_per_second),
            number(rates.output_tokens_per_second),
            share(modelled.and_then(|modelled| modelled.mfu)),
            share(modelled.and_then(|modelled| modelled.mbu)),
            share(run.measured.gpu_utilization),
            bound_of(run),
        ]);
    }
    write_table(&rows, out)
}

/// The bound of the run, or those of its phases.
fn bound_of(run: &Run) -> String {
    let named = |found: &Bottleneck| found.bound.name().to_owned();
    let whole = run.bottlenecks.iter().find(|found| found.phase.is_none());
    whole.map(named).unwrap_or_else(|| {
        let phases = run.bottlenecks.iter().map(|found| {
            let phase = found.phase.map_or("", |phase| phase.name());
            format!("{phase} {}", found.bound.name())
        });
        let phases: Vec<String> = phases.collect();
        if phases.is_empty() {
            dash()
        } else {
            phases.join(", ")
        }
    })
}

fn write_run(run: &Run, out: &mut impl Write) -> io::Result<()> {
    let basis = run
        .modelled
        .as_ref()
        .map(|modelled| modelled.basis.as_str());
    writeln!(
        out,
        "━━ {} · {} · {}{}",
        run.name,
        run.source.tool,
        duration(run.duration_seconds.0),
        basis.map_or_else(String::new, |basis| format!(" · work {basis}"))
    )?;
    verdict_text::write("", &run.verdict, &felt(&run.measured), out)?;
    if !run.verdict.is_empty() {
        writeln!(out)?;
    }
    percentiles(run, out)?;
    for comparison in &run.comparisons {
        write_comparison(comparison, out)?;
    }
    write_verdicts(&run.verdicts, out)?;
    for found in &run.bottlenecks {
        let phase = found.phase.map_or("run", |phase| phase.name());
        writeln!(out, "{phase}: bound by {}", found.bound.name())?;
        for evidence in &found.evidence {
            writeln!(out, "  · {evidence}")?;
        }
    }
    over_time(&run.timeline, out)?;
    write_advice(run, out)?;
    for (kind, count) in &run.errors {
        writeln!(out, "failed: {kind} × {count}")?;
    }
    for caveat in &run.caveats {
        writeln!(out, "caveat: {caveat}")?;
    }
    writeln!(out)
}

fn percentiles(run: &Run, out: &mut impl Write) -> io::Result<()> {
    let mut rows = table(["latency (measured)", "mean", "P50", "P90", "P95", "P99", ""]);
    let mut any = false;
    for (name, distribution) in run.measured.latency.all() {
        let Some(distribution) = distribution else {
            continue;
        };
        any = true;
        let time = |value: Option<f64>| value.map_or_else(dash, duration);
        rows.add_row([
            name.to_uppercase(),
            time(distribution.mean_seconds),
            distribution
                .p50_between_seconds
                .map_or_else(|| time(distribution.p50_seconds), range),
            time(distribution.p90_seconds),
            time(distribution.p95_seconds),
            time(distribution.p99_seconds),
            distribution.origin.as_str().to_owned(),
        ]);
    }
    if any { write_table(&rows, out) } else { Ok(()) }
}

fn write_comparison(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    let against = match comparison.against {
        Against::Static => "against --static",
        Against::MeasuredLoad => "against the measured load",
    };
    let title = format!("{against}, {} at a time", count(comparison.batch));
    let mut rows = table([
        title.as_str(),
        "measured",
        "expected",
        "measured/expected",
        "bound",
        "of the bound",
    ]);
    for row in &comparison.rows {
        rows.add_row([
            row.figure.label().to_owned(),
            row.figure.show(row.measured),
            row.figure.show(row.expected),
            format!("{:.2}", row.measured_over_expected),
            row.figure.show(row.bound),
            percent(row.share_of_bound),
        ]);
    }
    write_table(&rows, out)
}

fn write_verdicts(verdicts: &[TargetVerdict], out: &mut impl Write) -> io::Result<()> {
    if verdicts.is_empty() {
        return Ok(());
    }
    let mut rows = table([
        "judged",
        "measured",
        "is",
        "expected",
        "target (a setting)",
        "",
    ]);
    for verdict in verdicts {
        let standing =
            |standing: Option<VerdictLevel>| standing.map_or("", VerdictLevel::as_str).to_owned();
        rows.add_row([
            verdict.figure.label().to_owned(),
            verdict.figure.show(verdict.value),
            standing(Some(verdict.standing)),
            verdict
                .expected
                .map_or_else(dash, |expected| verdict.figure.show(expected)),
            verdict.target.clone(),
            standing(verdict.against_target),
        ]);
    }
    write_table(&rows, out)
}

/// Selects a utilisation of an interval.
type PickUtilisation = fn(&TimelineMoment) -> Option<f64>;

/// Utilisations over time, one character per interval.
fn over_time(moments: &[TimelineMoment], out: &mut impl Write) -> io::Result<()> {
    let lines: [(&str, PickUtilisation); 5] = [
        ("GPU (measured)", |moment| moment.gpu_utilization),
        ("HBM (measured)", |moment| moment.hbm_utilization),
        ("MFU (modelled)", |moment| moment.mfu),
        ("MBU (modelled)", |moment| moment.mbu),
        ("KV cache (measured)", |moment| moment.kv_cache_usage),
    ];
    for (name, pick) in lines {
        let values: Vec<Option<f64>> = moments.iter().map(pick).collect();
        let known: Vec<f64> = values.iter().flatten().copied().collect();
        let Some(most) = known.iter().copied().reduce(f64::max) else {
            continue;
        };
        let drawn: String = values.into_iter().map(bar).collect();
        writeln!(out, "{name:>20} {drawn} up to {}", percent(most))?;
    }
    if moments.is_empty() {
        Ok(())
    } else {
        writeln!(out)
    }
}

/// A share as a block character of that height.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the letters"
)]
fn bar(share: Option<f64>) -> char {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    share.map_or(' ', |share| {
        BLOCKS[(share.clamp(0.0, 1.0) * 7.0).round() as usize]
    })
}

fn write_advice(run: &Run, out: &mut impl Write) -> io::Result<()> {
    if run.advice.is_empty() {
        return Ok(());
    }
    let mut rows = table(["advice", "against", "predicted", "measured → then"]);
    for suggestion in &run.advice {
        let advice = &suggestion.advice;
        let phase = advice
            .phase
            .map_or_else(String::new, |phase| format!("{} ", phase.name()));
        let shown = |value: f64| show_metric(advice.metric, value);
        let then = suggestion.measured.zip(suggestion.measured_then);
        rows.add_row([
            advice.r#do.clone(),
            format!("{phase}{}", advice.bound.name()),
            advice.predicted_effect.clone(),
            then.map_or_else(dash, |(now, then)| {
                format!("{} → {}", shown(now), shown(then))
            }),
        ]);
    }
    write_table(&rows, out)
}

fn show_metric(metric: ImprovedMetric, value: f64) -> String {
    match metric {
        ImprovedMetric::TtftSeconds | ImprovedMetric::TpotSeconds | ImprovedMetric::StepSeconds => {
            duration(value)
        }
        ImprovedMetric::OutputTokensPerSecond | ImprovedMetric::StepTokensPerSecond => {
            Figure::OutputTokensPerSecond.show(value)
        }
        ImprovedMetric::KvCapacityTokens => count(value),
    }
}

fn write_baseline(baseline: &Baseline, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "━━ against {}", baseline.file)?;
    for changed in &baseline.changed {
        let or_default = |value: &str| {
            if value.is_empty() {
                "default".to_owned()
            } else {
                value.to_owned()
            }
        };
        writeln!(
            out,
            "changed: {} {} → {}",
            changed.setting,
            or_default(&changed.before),
            or_default(&changed.after)
        )?;
    }
    for pair in &baseline.pairs {
        write_pair(pair, out)?;
    }
    for name in &baseline.only_before {
        writeln!(out, "only before: {name}")?;
    }
    for name in &baseline.only_after {
        writeln!(out, "only after: {name}")?;
    }
    writeln!(out)
}

fn write_pair(pair: &Pair, out: &mut impl Write) -> io::Result<()> {
    let title = if pair.before == pair.after {
        pair.after.clone()
    } else {
        format!("{} → {}", pair.before, pair.after)
    };
    let mut rows = table([title.as_str(), "before", "±", "after", "±", "change", ""]);
    for row in &pair.changes {
        rows.add_row([
            row.figure.label().to_owned(),
            row.figure.show(row.before.value),
            row.figure.show(row.before.plus_minus),
            row.figure.show(row.after.value),
            row.figure.show(row.after.plus_minus),
            change(row.factor),
            row.outcome.as_str().to_owned(),
        ]);
    }
    write_table(&rows, out)?;
    if pair.predicted.is_empty() {
        return Ok(());
    }
    let mut rows = table(["advised before", "predicted", "measured", "effect"]);
    for effect in &pair.predicted {
        rows.add_row([
            effect.r#do.clone(),
            change(effect.predicted_factor),
            effect.measured_factor.map_or_else(dash, change),
            effect.arrival.as_str().to_owned(),
        ]);
    }
    write_table(&rows, out)
}

fn dash() -> String {
    "–".to_owned()
}
