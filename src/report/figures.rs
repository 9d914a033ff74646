//! The figures of a run, each with its place in the JSON, its provenance and its target.

use super::cell::{Cell, Place};
use crate::analysis::text::{count, duration, percent, scaled};
use crate::analysis::{Figure, Run};

/// A figure with its name, its provenance and, where there is one, its target.
pub(super) struct Labelled {
    pub name: &'static str,
    pub cell: Cell,
    pub provenance: &'static str,
    pub target: String,
}

/// A row of the percentile table.
pub(super) struct Percentiles {
    pub name: String,
    pub cells: Vec<Cell>,
    pub origin: &'static str,
}

/// A figure of `run`, coloured by its verdict.
pub(super) fn figure_cell(place: &Place, run: &Run, figure: Figure) -> Cell {
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
        Figure::TtftP99Seconds => "measured/ttft/p99_seconds".to_owned(),
        Figure::TpotP50Seconds => format!("measured/{per_token}/p50_seconds"),
        Figure::TpotP99Seconds => format!("measured/{per_token}/p99_seconds"),
        Figure::E2eP50Seconds => "measured/e2e/p50_seconds".to_owned(),
        Figure::Mfu => "modelled/mfu".to_owned(),
        Figure::Mbu => "modelled/mbu".to_owned(),
        Figure::GpuUtilization => "measured/gpu_utilization".to_owned(),
    };
    let cell = place.cell(&pointer, run.figure(figure), |value| figure.show(value));
    let verdict = run.verdicts.iter().find(|verdict| verdict.figure == figure);
    verdict.map_or(cell.clone(), |verdict| {
        cell.with_class(verdict.standing.as_str())
    })
}

/// `memory_bandwidth` as people say it.
pub(super) fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

const MEASURED: &str = "measured";
const MODELLED: &str = "modelled";

pub(super) fn figures(place: &Place, run: &Run) -> Vec<Labelled> {
    let (measured, modelled) = (place.at("measured"), place.at("modelled"));
    let by_figure = |figure: Figure, provenance| {
        let verdict = run.verdicts.iter().find(|verdict| verdict.figure == figure);
        Labelled {
            name: figure.label(),
            cell: figure_cell(place, run, figure),
            provenance,
            target: verdict.map_or_else(String::new, |verdict| verdict.target.clone()),
        }
    };
    let plain = |name, cell, provenance| Labelled {
        name,
        cell,
        provenance,
        target: String::new(),
    };
    let facts = run.modelled.as_ref();
    let seen = &run.measured;
    let watts = |value: f64| format!("{value:.0} W");
    let joules = |value: f64| format!("{value:.3} J");
    let clock = |value: f64| format!("{value:.0} MHz");
    let mut figures = vec![
        by_figure(Figure::OutputTokensPerSecond, MEASURED),
        by_figure(Figure::TtftP50Seconds, MEASURED),
        by_figure(Figure::TpotP50Seconds, MEASURED),
        by_figure(Figure::RequestsPerSecond, MEASURED),
        by_figure(Figure::GpuUtilization, MEASURED),
        plain(
            "HBM traffic (GPM)",
            measured.cell("hbm_utilization", seen.hbm_utilization, percent),
            MEASURED,
        ),
        by_figure(Figure::Mfu, MODELLED),
        by_figure(Figure::Mbu, MODELLED),
        plain(
            "intensity, FLOP/byte",
            modelled.cell(
                "arithmetic_intensity",
                facts.and_then(|facts| facts.arithmetic_intensity),
                count,
            ),
            MODELLED,
        ),
        plain(
            "decode batch",
            modelled.cell(
                "decode_batch",
                facts.and_then(|facts| facts.decode_batch),
                count,
            ),
            MODELLED,
        ),
        plain(
            "context, tokens",
            modelled.cell(
                "context_tokens",
                facts.and_then(|facts| facts.context_tokens),
                count,
            ),
            MODELLED,
        ),
        plain(
            "FLOPs",
            modelled.cell(
                "flops",
                facts.and_then(|facts| Some(facts.flops?.0)),
                scaled,
            ),
            MODELLED,
        ),
        plain(
            "HBM bytes",
            modelled.cell(
                "hbm_bytes",
                facts.and_then(|facts| Some(facts.hbm_bytes?.0)),
                scaled,
            ),
            MODELLED,
        ),
        plain(
            "power",
            measured.cell("power_watts", seen.power_watts, watts),
            MEASURED,
        ),
        plain(
            "energy per token",
            measured.cell(
                "joules_per_output_token",
                seen.joules_per_output_token,
                joules,
            ),
            MEASURED,
        ),
        plain(
            "SM clock",
            measured.cell("sm_clock_mhz", seen.sm_clock_mhz, clock),
            MEASURED,
        ),
        plain(
            "power-limited",
            measured.cell("power_limited_ratio", seen.power_limited_ratio, percent),
            MEASURED,
        ),
        plain(
            "duration",
            place.cell("duration_seconds", run.duration_seconds.0, duration),
            MEASURED,
        ),
    ];
    figures.retain(|figure| figure.cell != Cell::dash());
    figures
}

pub(super) fn percentiles(place: &Place, run: &Run) -> Vec<Percentiles> {
    let measured = place.at("measured");
    let row = |name: &'static str, distribution: &crate::results::Distribution| {
        let own = measured.at(name);
        let cell = |pointer, value| own.cell(pointer, value, duration);
        Percentiles {
            name: name.to_uppercase(),
            cells: vec![
                cell("mean_seconds", distribution.mean_seconds),
                cell("p50_seconds", distribution.p50_seconds),
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
