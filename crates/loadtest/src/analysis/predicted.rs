//! Compares measurements with predictions, and selects the advice that helps.

use super::figure::Figure;
use super::run::{
    Against, Bottleneck, Comparison, ComparisonRow, MeasuredRun, RunWorkload, Suggestion,
};
use roofline::predict::{Advice, ImprovedMetric, Latency, PredictedSteps, Prediction};
use roofline::units::ratio;

/// Compares `measured` with `prediction`; `None` where the prediction has no latencies, for example without a GPU.
pub(super) fn compare(
    against: Against,
    prediction: &Prediction,
    measured: &MeasuredRun,
) -> Option<Comparison> {
    let latency = prediction.latency.as_ref()?;
    let batch = match &prediction.steps {
        PredictedSteps::Steps(steps) => steps.decode.batch,
        PredictedSteps::Step(step) => step.batch,
    };
    Some(Comparison {
        against,
        batch,
        rows: rows(latency, measured),
    })
}

/// Whether two predictions agree to one percent.
pub(super) fn same(one: &Comparison, other: &Comparison) -> bool {
    let pairs = one.rows.iter().zip(&other.rows);
    one.rows.len() == other.rows.len()
        && pairs
            .into_iter()
            .all(|(one, other)| (one.expected / other.expected - 1.0).abs() < 0.01)
}

fn rows(latency: &Latency, measured: &MeasuredRun) -> Vec<ComparisonRow> {
    let ttft = measured
        .latency
        .ttft
        .as_ref()
        .and_then(|ttft| ttft.p50_seconds);
    let tpot = measured
        .latency
        .per_token()
        .and_then(|tpot| tpot.p50_seconds);
    let rows = [
        (
            Figure::OutputTokensPerSecond,
            measured.rates.output_tokens_per_second,
            latency.output_tokens_per_second_bound,
            latency.output_tokens_per_second_expected,
        ),
        (
            Figure::TtftP50Seconds,
            ttft,
            latency.ttft_bound_seconds.0,
            latency.ttft_expected_seconds.0,
        ),
        (
            Figure::TpotP50Seconds,
            tpot,
            latency.tpot_bound_seconds.0,
            latency.tpot_expected_seconds.0,
        ),
    ];
    rows.into_iter()
        .filter_map(|(figure, measured, bound, expected)| {
            let measured = measured?;
            let share = if figure.more_is_better() {
                ratio(measured, bound)
            } else {
                ratio(bound, measured)
            };
            Some(ComparisonRow {
                figure,
                measured,
                bound,
                expected,
                measured_over_expected: ratio(measured, expected)?,
                share_of_bound: share?,
            })
        })
        .collect()
}

/// Minimum gain for advice to double the GPUs.
const LEAST_GAIN_OF_HARDWARE: f64 = 1.15;

/// Whether `advice` fits `load` as measured: one user cannot fill a larger batch, and doubling the GPUs must gain enough.
pub(super) fn fits(advice: &Advice, load: &RunWorkload) -> bool {
    let one_user = load
        .concurrency
        .is_some_and(|concurrency| concurrency < 2.0);
    let gain = advice.metric.gain(advice.before, advice.after);
    if advice.r#do.contains("requests at a time") {
        !one_user
    } else if advice.r#do.starts_with("--tensor-parallel-size") {
        gain >= LEAST_GAIN_OF_HARDWARE
    } else {
        true
    }
}

/// `advice` with its predicted effect on the measured figures: first the advice against the bottleneck of the whole run, then that against
/// a phase's.
pub(super) fn suggestions(
    mut advice: Vec<Advice>,
    measured: &MeasuredRun,
    bottlenecks: &[Bottleneck],
) -> Vec<Suggestion> {
    let found = |advice: &Advice, whole: bool| {
        bottlenecks.iter().any(|found| {
            found.bound == advice.bound
                && (found.phase == advice.phase || found.phase.is_none())
                && found.phase.is_none() == whole
        })
    };
    advice.sort_by_key(|advice| (!found(advice, true), !found(advice, false)));
    advice
        .into_iter()
        .map(|advice| suggestion(advice, measured))
        .collect()
}

fn suggestion(advice: Advice, measured: &MeasuredRun) -> Suggestion {
    let value = of(advice.metric, measured);
    let factor = ratio(advice.after, advice.before);
    Suggestion {
        measured: value,
        measured_then: value.zip(factor).map(|(value, factor)| value * factor),
        advice,
    }
}

/// The measured figure that a piece of advice is about.
pub(super) fn of(metric: ImprovedMetric, measured: &MeasuredRun) -> Option<f64> {
    let latency = &measured.latency;
    match metric {
        ImprovedMetric::TtftSeconds => latency.ttft.as_ref()?.p50_seconds,
        ImprovedMetric::TpotSeconds => latency.per_token()?.p50_seconds,
        ImprovedMetric::OutputTokensPerSecond => measured.rates.output_tokens_per_second,
        ImprovedMetric::StepSeconds
        | ImprovedMetric::StepTokensPerSecond
        | ImprovedMetric::KvCapacityTokens => None,
    }
}
