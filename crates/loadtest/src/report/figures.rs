//! The figures of a run, each with its JSON path, its provenance and its target.

use super::cell::{CellPath, NumberCell};
use crate::analysis::text::{count, duration, percent, range, scaled};
use crate::analysis::{Figure, MeasuredRun, ModelledRun, Run, TargetVerdict};

/// A figure with its name, its provenance and, where there is one, its target.
pub(super) struct Labelled {
    pub name: &'static str,
    pub cell: NumberCell,
    pub provenance: &'static str,
    pub target: String,
}

/// A row of the percentile table.
pub(super) struct Percentiles {
    pub name: String,
    pub cells: Vec<NumberCell>,
    pub origin: &'static str,
}

/// A figure of `run`, coloured by its verdict.
pub(super) fn figure_cell(place: &CellPath, run: &Run, figure: Figure) -> NumberCell {
    let latency = &run.measured.latency;
    let per_token = if latency.tpot.is_some() {
        "tpot"
    } else {
        "itl"
    };
    let pointer = match figure {
        Figure::OutputTokensPerSecond => "measured/output_tokens_per_second".to_owned(),
        Figure::RequestsPerSecond => "measured/requests_per_second".to_owned(),
        Figure::TtftP50Seconds => "measured/ttft/p50_seconds".to_owned(),
        Figure::TtftMeanSeconds => "measured/ttft/mean_seconds".to_owned(),
        Figure::TpotMeanSeconds => format!("measured/{per_token}/mean_seconds"),
        Figure::TtftP99Seconds => "measured/ttft/p99_seconds".to_owned(),
        Figure::TpotP50Seconds => format!("measured/{per_token}/p50_seconds"),
        Figure::TpotP99Seconds => format!("measured/{per_token}/p99_seconds"),
        Figure::E2eP50Seconds => "measured/e2e/p50_seconds".to_owned(),
        Figure::Mfu => "modelled/mfu".to_owned(),
        Figure::Mbu => "modelled/mbu".to_owned(),
        Figure::GpuUtilization => "measured/gpu_utilization".to_owned(),
    };
    let cell = place.cell(&pointer, run.figure(figure), |value| figure.show(value));
    verdict_on(run, figure).map_or(cell.clone(), |verdict| {
        cell.with_class(verdict.standing.as_str())
    })
}

/// The verdict on `figure`; a mean uses the verdict on its median.
fn verdict_on(run: &Run, figure: Figure) -> Option<&TargetVerdict> {
    let judged = match figure {
        Figure::TtftMeanSeconds => Figure::TtftP50Seconds,
        Figure::TpotMeanSeconds => Figure::TpotP50Seconds,
        figure => figure,
    };
    run.verdicts.iter().find(|verdict| verdict.figure == judged)
}

/// Formats a name such as `memory_bandwidth` as words.
pub(super) fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

const MEASURED: &str = "measured";
const MODELLED: &str = "modelled";

/// The known figures of `run`.
pub(super) fn figures(place: &CellPath, run: &Run) -> Vec<Labelled> {
    let mut figures = targeted(place, run);
    figures.extend(modelled(&place.at("modelled"), run.modelled.as_ref()));
    figures.extend(hardware(&place.at("measured"), &run.measured));
    let duration = place.cell("duration_seconds", run.duration_seconds.0, duration);
    figures.push(plain("duration", duration, MEASURED));
    figures.retain(|figure| figure.cell != NumberCell::dash());
    figures
}

/// Figures that have a target or are compared.
fn targeted(place: &CellPath, run: &Run) -> Vec<Labelled> {
    let figures = [
        (Figure::OutputTokensPerSecond, MEASURED),
        (Figure::TtftMeanSeconds, MEASURED),
        (Figure::TpotMeanSeconds, MEASURED),
        (Figure::RequestsPerSecond, MEASURED),
        (Figure::GpuUtilization, MEASURED),
        (Figure::Mfu, MODELLED),
        (Figure::Mbu, MODELLED),
    ];
    let labelled = figures.into_iter().map(|(figure, provenance)| Labelled {
        name: figure.label(),
        cell: figure_cell(place, run, figure),
        provenance,
        target: verdict_on(run, figure).map_or_else(String::new, beside),
    });
    labelled.collect()
}

/// The value that a judged figure is compared with.
fn beside(verdict: &TargetVerdict) -> String {
    let show = |value| verdict.figure.show(value);
    let expected = verdict
        .expected
        .map(|value| format!("expected {}; ", show(value)));
    format!("{}target: {}", expected.unwrap_or_default(), verdict.target)
}

/// Figures that follow by the roofline model.
fn modelled(place: &CellPath, modelled: Option<&ModelledRun>) -> Vec<Labelled> {
    let Some(facts) = modelled else {
        return Vec::new();
    };
    let of = |name, pointer, value: Option<f64>, show: fn(f64) -> String| {
        plain(name, place.cell(pointer, value, show), MODELLED)
    };
    let (flops, bytes) = (
        facts.flops.map(|flops| flops.0),
        facts.hbm_bytes.map(|bytes| bytes.0),
    );
    vec![
        of(
            "intensity, FLOP/byte",
            "arithmetic_intensity",
            facts.arithmetic_intensity,
            count,
        ),
        of("decode batch", "decode_batch", facts.decode_batch, count),
        of(
            "context, tokens",
            "context_tokens",
            facts.context_tokens,
            count,
        ),
        of("FLOPs", "flops", flops, scaled),
        of("HBM bytes", "hbm_bytes", bytes, scaled),
    ]
}

/// Figures from the GPU's own counters.
fn hardware(place: &CellPath, seen: &MeasuredRun) -> Vec<Labelled> {
    let of = |name, pointer, value: Option<f64>, show: fn(f64) -> String| {
        plain(name, place.cell(pointer, value, show), MEASURED)
    };
    vec![
        of(
            "HBM traffic (GPM)",
            "hbm_utilization",
            seen.hbm_utilization,
            percent,
        ),
        of("power", "power_watts", seen.power_watts, |value| {
            format!("{value:.0} W")
        }),
        of(
            "energy per token",
            "joules_per_output_token",
            seen.joules_per_output_token,
            |value| format!("{value:.3} J"),
        ),
        of("SM clock", "sm_clock_mhz", seen.sm_clock_mhz, |value| {
            format!("{value:.0} MHz")
        }),
        of(
            "power-limited",
            "power_limited_ratio",
            seen.power_limited_ratio,
            percent,
        ),
    ]
}

const fn plain(name: &'static str, cell: NumberCell, provenance: &'static str) -> Labelled {
    Labelled {
        name,
        cell,
        provenance,
        target: String::new(),
    }
}

pub(super) fn percentiles(place: &CellPath, run: &Run) -> Vec<Percentiles> {
    let measured = place.at("measured");
    let row = |name: &'static str, distribution: &crate::results::Distribution| {
        let own = measured.at(name);
        let cell = |pointer, value| own.cell(pointer, value, duration);
        Percentiles {
            name: name.to_uppercase(),
            cells: vec![
                cell("mean_seconds", distribution.mean_seconds),
                distribution.p50_between_seconds.map_or_else(
                    || cell("p50_seconds", distribution.p50_seconds),
                    |between| NumberCell::words(range(between)),
                ),
                cell("p90_seconds", distribution.p90_seconds),
                cell("p95_seconds", distribution.p95_seconds),
                cell("p99_seconds", distribution.p99_seconds),
                cell("max_seconds", distribution.max_seconds),
            ],
            origin: distribution.origin.as_str(),
        }
    };
    let all = run.measured.latency.all();
    all.into_iter()
        .filter_map(|(name, distribution)| Some(row(name, distribution?)))
        .collect()
}
