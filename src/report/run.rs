//! One run on the page.

use super::Part;
use super::cell::{Cell, Place};
use super::charts::{self, Roofline};
use crate::analysis::text::{count, duration, percent, scaled};
use crate::analysis::{
    Against, Analysis, Bottleneck, Comparison, Figure, Modelled, Run, Suggestion,
};
use crate::predict::Metric;
use crate::units::ratio;

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
    pub cells: Vec<Cell>,
    pub bound: String,
}

/// A run in full.
pub(super) struct RunView {
    pub anchor: String,
    pub number: usize,
    pub name: String,
    pub source: String,
    pub basis: &'static str,
    pub figures: Vec<Labelled>,
    pub percentiles: Vec<Percentiles>,
    pub comparisons: Vec<ComparisonView>,
    pub bottlenecks: Vec<BottleneckView>,
    pub roofline: Option<Roofline>,
    pub heatmap: Option<String>,
    pub time: Vec<TimePart>,
    pub advice: Vec<AdviceView>,
    pub errors: Vec<(String, Cell)>,
    pub caveats: Vec<String>,
}

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

/// Measured beside predicted.
pub(super) struct ComparisonView {
    pub title: String,
    pub rows: Vec<(&'static str, Vec<Cell>)>,
}

/// What limits a phase.
pub(super) struct BottleneckView {
    pub phase: &'static str,
    pub bound: &'static str,
    pub basis: &'static str,
    pub evidence: Vec<String>,
}

/// A part of the time bar.
pub(super) struct TimePart {
    pub name: &'static str,
    pub width: String,
    pub cell: Cell,
    pub share: String,
}

/// A remedy.
pub(super) struct AdviceView {
    pub r#do: String,
    pub against: String,
    pub predicted: String,
    pub now: Cell,
    pub then: Cell,
}

/// The runs of `part`, which is number `document`, as rows.
pub(super) fn overview(document: usize, part: &Part<'_>) -> Overview {
    let place = Place::new(document).at("runs");
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
    "TTFT P50",
    "TPOT P50",
    "MFU",
    "MBU",
    "GPU",
];

fn overview_cells(place: &Place, run: &Run) -> Vec<Cell> {
    let load = place.at("load");
    let figure = |figure| figure_cell(place, run, figure);
    vec![
        place.cell("completed", run.completed as f64, count_whole),
        place.cell("failed", run.failed as f64, count_whole),
        load.cell("concurrency", run.load.concurrency, count),
        load.cell("input_tokens", run.load.input_tokens, count),
        load.cell("output_tokens", run.load.output_tokens, count),
        figure(Figure::OutputTokensPerSecond),
        figure(Figure::TtftP50Seconds),
        figure(Figure::TpotP50Seconds),
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

/// `memory_bandwidth` as people say it.
fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

/// The runs of `analysis`, which is number `document`.
pub(super) fn views(document: usize, analysis: &Analysis) -> Vec<RunView> {
    let place = Place::new(document).at("runs");
    let of = |(number, run): (usize, &Run)| view(&place.at(number), document, number, run);
    analysis.runs.iter().enumerate().map(of).collect()
}

fn anchor(document: usize, number: usize) -> String {
    format!("run-{document}-{number}")
}

fn view(place: &Place, document: usize, number: usize, run: &Run) -> RunView {
    let modelled = run.modelled.as_ref();
    RunView {
        anchor: anchor(document, number),
        number: number + 1,
        name: run.name.clone(),
        source: source(run),
        basis: modelled.map_or("the model is not known", |modelled| modelled.basis.as_str()),
        figures: figures(place, run),
        percentiles: percentiles(place, run),
        comparisons: run
            .comparisons
            .iter()
            .enumerate()
            .map(|(number, comparison)| compared(&place.at("comparisons").at(number), comparison))
            .collect(),
        bottlenecks: run.bottlenecks.iter().map(bottleneck).collect(),
        roofline: charts::roofline_of(place, run),
        heatmap: charts::heatmap_of(place, run),
        time: modelled.map_or_else(Vec::new, |modelled| time(place, modelled)),
        advice: run
            .advice
            .iter()
            .enumerate()
            .map(|(number, suggestion)| advice(&place.at("advice").at(number), suggestion))
            .collect(),
        errors: run
            .errors
            .iter()
            .map(|(kind, count)| (kind.clone(), Cell::words(count.to_string())))
            .collect(),
        caveats: run.caveats.clone(),
    }
}

fn source(run: &Run) -> String {
    let source = &run.source;
    let parts = [
        Some(source.tool.clone()),
        source.version.clone(),
        source
            .file
            .as_deref()
            .map(|file| file.rsplit('/').next().unwrap_or(file).to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

const MEASURED: &str = "measured";
const MODELLED: &str = "modelled";

fn figures(place: &Place, run: &Run) -> Vec<Labelled> {
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

fn percentiles(place: &Place, run: &Run) -> Vec<Percentiles> {
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

fn compared(place: &Place, comparison: &Comparison) -> ComparisonView {
    let against = match comparison.against {
        Against::Static => "against the prediction given",
        Against::MeasuredLoad => "against what is predicted for the load as measured",
    };
    let rows = comparison.rows.iter().enumerate().map(|(number, row)| {
        let own = place.at("rows").at(number);
        let show = |value| row.figure.show(value);
        let ratio = |value: f64| format!("{value:.2}");
        let cells = vec![
            own.cell("measured", row.measured, show),
            own.cell("expected", row.expected, show),
            own.cell("measured_over_expected", row.measured_over_expected, ratio),
            own.cell("bound", row.bound, show),
            own.cell("share_of_bound", row.share_of_bound, percent),
        ];
        (row.figure.label(), cells)
    });
    ComparisonView {
        title: format!("{against}, {} at a time", count(comparison.batch)),
        rows: rows.collect(),
    }
}

fn bottleneck(found: &Bottleneck) -> BottleneckView {
    BottleneckView {
        phase: found.phase.map_or("the run", |phase| phase.name()),
        bound: match found.bound.name() {
            "memory_bandwidth" => "memory bandwidth",
            "kv_capacity" => "room in the KV cache",
            name => name,
        },
        basis: found.basis.as_str(),
        evidence: found.evidence.clone(),
    }
}

fn time(place: &Place, modelled: &Modelled) -> Vec<TimePart> {
    let Some(split) = modelled.time_seconds else {
        return Vec::new();
    };
    let own = place.at("modelled").at("time_seconds");
    let parts = split.components();
    let whole: f64 = parts.iter().map(|(_, seconds)| seconds.0).sum();
    parts
        .into_iter()
        .filter_map(|(name, seconds)| {
            let share = ratio(seconds.0, whole).filter(|share| *share >= 0.0005)?;
            Some(TimePart {
                name,
                width: format!("{:.2}", share * 100.0),
                cell: own.cell(name, seconds.0, duration),
                share: percent(share),
            })
        })
        .collect()
}

fn advice(place: &Place, suggestion: &Suggestion) -> AdviceView {
    let advice = &suggestion.advice;
    let show = |value: f64| show_metric(advice.metric, value);
    let phase = advice
        .phase
        .map_or_else(String::new, |phase| format!("{}: ", phase.name()));
    AdviceView {
        r#do: advice.r#do.clone(),
        against: format!("{phase}{}", spoken(advice.bound.name())),
        predicted: advice.predicted_effect.clone(),
        now: place.cell("measured", suggestion.measured, show),
        then: place.cell("measured_then", suggestion.measured_then, show),
    }
}

/// A value of what an advice is about.
fn show_metric(metric: Metric, value: f64) -> String {
    match metric {
        Metric::TtftSeconds | Metric::TpotSeconds | Metric::StepSeconds => duration(value),
        Metric::OutputTokensPerSecond | Metric::StepTokensPerSecond | Metric::KvCapacityTokens => {
            count(value)
        }
    }
}
