//! One run on the page.

use super::cell::{CellPath, NumberCell};
use super::charts::{self, Roofline};
use super::figures::{Labelled, Percentiles, figures, percentiles, spoken};
use super::summary::{self, ReportRemedy};
use crate::analysis::text::{count, duration, percent};
use crate::analysis::{Against, Analysis, Bottleneck, Comparison, ModelledRun, Run, Suggestion};
use roofline::predict::ImprovedMetric;
use roofline::units::ratio;

/// All details of a run.
pub(super) struct RunView {
    pub anchor: String,
    pub number: usize,
    pub name: String,
    pub source: String,
    pub basis: &'static str,
    pub figures: Vec<Labelled>,
    pub percentiles: Vec<Percentiles>,
    pub comparisons: Vec<ComparisonView>,
    pub findings: Vec<(&'static str, String)>,
    pub remedies: Vec<ReportRemedy>,
    pub bottlenecks: Vec<BottleneckView>,
    pub roofline: Option<Roofline>,
    pub heatmap: Option<String>,
    pub time: Vec<TimePart>,
    pub advice: Vec<AdviceView>,
    pub errors: Vec<(String, NumberCell)>,
    pub caveats: Vec<String>,
}

/// Measured figures compared with predicted ones.
pub(super) struct ComparisonView {
    pub title: String,
    pub rows: Vec<(&'static str, Vec<NumberCell>)>,
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
    pub cell: NumberCell,
    pub share: String,
}

/// A remedy.
pub(super) struct AdviceView {
    pub r#do: String,
    pub against: String,
    pub predicted: String,
    pub now: NumberCell,
    pub then: NumberCell,
}

/// The runs of `analysis`, which is number `document`.
pub(super) fn views(document: usize, analysis: &Analysis) -> Vec<RunView> {
    let place = CellPath::new(document).at("runs");
    let of = |(number, run): (usize, &Run)| view(&place.at(number), document, number, run);
    analysis.runs.iter().enumerate().map(of).collect()
}

/// The anchor of a run's section.
pub(super) fn anchor(document: usize, number: usize) -> String {
    format!("run-{document}-{number}")
}

fn view(place: &CellPath, document: usize, number: usize, run: &Run) -> RunView {
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
        findings: run
            .verdict
            .iter()
            .map(|finding| (finding.severity.as_str(), finding.finding.clone()))
            .collect(),
        remedies: summary::remedies(run),
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
            .map(|(kind, count)| (kind.clone(), NumberCell::words(count.to_string())))
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

fn compared(place: &CellPath, comparison: &Comparison) -> ComparisonView {
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

fn time(place: &CellPath, modelled: &ModelledRun) -> Vec<TimePart> {
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

fn advice(place: &CellPath, suggestion: &Suggestion) -> AdviceView {
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

/// Formats a value of the figure that a piece of advice improves.
fn show_metric(metric: ImprovedMetric, value: f64) -> String {
    match metric {
        ImprovedMetric::TtftSeconds | ImprovedMetric::TpotSeconds | ImprovedMetric::StepSeconds => {
            duration(value)
        }
        ImprovedMetric::OutputTokensPerSecond
        | ImprovedMetric::StepTokensPerSecond
        | ImprovedMetric::KvCapacityTokens => count(value),
    }
}
