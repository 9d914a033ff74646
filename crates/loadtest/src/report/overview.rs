//! The overview table of all runs.

use super::ReportPart;
use super::cell::{CellPath, NumberCell};
use super::figures::{figure_cell, spoken};
use super::run::anchor;
use crate::analysis::text::count;
use crate::analysis::{Figure, Run};

/// The runs of an analysis as rows of the overview.
pub(super) struct Overview {
    pub part: String,
    pub rows: Vec<OverviewRow>,
}

/// A run as a row of the overview.
pub(super) struct OverviewRow {
    pub anchor: String,
    pub number: usize,
    pub name: String,
    pub cells: Vec<NumberCell>,
    pub bound: String,
}

/// The runs of `part`, which is number `document`, as rows.
pub(super) fn overview(document: usize, part: &ReportPart<'_>) -> Overview {
    let place = CellPath::new(document).at("runs");
    let row = |(number, run): (usize, &Run)| OverviewRow {
        anchor: anchor(document, number),
        number: number + 1,
        name: run.name.clone(),
        cells: overview_cells(&place.at(number), run),
        bound: bound_of(run),
    };
    Overview {
        part: part.name.to_owned(),
        rows: part.analysis.runs.iter().enumerate().map(row).collect(),
    }
}

/// The columns of the overview, after the name.
pub(super) const OVERVIEW: [&str; 11] = [
    "requests",
    "failed",
    "in flight",
    "tokens in",
    "tokens out",
    "tokens/s",
    "TTFT mean",
    "TPOT mean",
    "MFU",
    "MBU",
    "GPU",
];

fn overview_cells(place: &CellPath, run: &Run) -> Vec<NumberCell> {
    let load = place.at("load");
    let figure = |figure| figure_cell(place, run, figure);
    vec![
        place.cell("completed", run.completed as f64, count_whole),
        place.cell("failed", run.failed as f64, count_whole),
        load.cell("concurrency", run.load.concurrency, count),
        load.cell("input_tokens", run.load.input_tokens, count),
        load.cell("output_tokens", run.load.output_tokens, count),
        figure(Figure::OutputTokensPerSecond),
        figure(Figure::TtftMeanSeconds),
        figure(Figure::TpotMeanSeconds),
        figure(Figure::Mfu),
        figure(Figure::Mbu),
        figure(Figure::GpuUtilization),
    ]
}

fn count_whole(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.0}")
    } else {
        count(value)
    }
}

fn bound_of(run: &Run) -> String {
    let whole = run.bottlenecks.iter().find(|found| found.phase.is_none());
    if let Some(found) = whole {
        return spoken(found.bound.name());
    }
    let phases = run.bottlenecks.iter().map(|found| {
        let phase = found.phase.map_or("", |phase| phase.name());
        format!("{phase} {}", spoken(found.bound.name()))
    });
    let phases: Vec<String> = phases.collect();
    if phases.is_empty() {
        "–".to_owned()
    } else {
        phases.join(" · ")
    }
}
