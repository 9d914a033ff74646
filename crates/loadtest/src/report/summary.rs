//! The first screen: what holds the server back, what changed, and the best remedies with their effect.

use super::ReportPart;
use super::run::anchor;
use crate::analysis::text::change;
use crate::analysis::{Baseline, BaselineOutcome, Figure, FigureChange, Pair, Run, compare, felt};
use roofline::diagnosis::{Remedy, Shift, best_remedies, worst};

/// Maximum number of remedies on the first screen.
const REMEDIES: usize = 3;
/// Maximum number of changed figures on the first screen.
const MOVED: usize = 4;

/// The first screen.
pub(super) struct ReportSummary {
    pub headline: Option<Headline>,
    /// The first sentence of every other run of the newest analysis.
    pub others: Vec<Sentence>,
    pub change: Option<NewestChangeView>,
}

/// The verdict on the run that is held back the most.
pub(super) struct Headline {
    pub run: Sentence,
    /// Further findings of that run.
    pub findings: Vec<String>,
    pub evidence: Vec<String>,
    pub remedies: Vec<ReportRemedy>,
}

/// The first sentence of a run.
pub(super) struct Sentence {
    pub anchor: String,
    pub name: String,
    pub severity: &'static str,
    pub text: String,
}

/// A remedy with its predicted effect.
pub(super) struct ReportRemedy {
    pub r#do: String,
    pub free: bool,
    pub effects: Vec<Shift>,
}

/// The effect of the newest change.
pub(super) struct NewestChangeView {
    pub settings: Vec<String>,
    /// Figures that changed beyond noise, largest change first; empty where none did.
    pub moved: Vec<(&'static str, String)>,
    /// Whether any figure could be compared.
    pub compared: bool,
}

/// The first screen of `parts`, the oldest first.
pub(super) fn summary(parts: &[ReportPart<'_>]) -> Option<ReportSummary> {
    let (document, newest) = parts.iter().enumerate().next_back()?;
    let runs = &newest.analysis.runs;
    let judged = |run: &&Run| {
        (
            run.verdict.first().map(|first| first.severity),
            worst(&run.verdict),
        )
    };
    // Among equals, the first.
    let worst = runs.iter().rev().max_by_key(judged);
    let worst = worst.filter(|run| !run.verdict.is_empty());
    let all = runs.iter().enumerate();
    Some(ReportSummary {
        headline: worst.and_then(|run| headline(document, runs, run)),
        others: all
            .filter(|(_, run)| !worst.is_some_and(|worst| std::ptr::eq(worst, *run)))
            .filter_map(|(number, run)| sentence(document, number, run))
            .collect(),
        change: newest_change(parts),
    })
}

fn headline(document: usize, runs: &[Run], run: &Run) -> Option<Headline> {
    let number = runs.iter().position(|other| std::ptr::eq(other, run))?;
    let (first, others) = run.verdict.split_first()?;
    Some(Headline {
        run: sentence(document, number, run)?,
        findings: others.iter().map(|other| other.finding.clone()).collect(),
        evidence: first.evidence.clone(),
        remedies: remedies(run),
    })
}

/// The best remedies for `run`.
pub(super) fn remedies(run: &Run) -> Vec<ReportRemedy> {
    let felt = felt(&run.measured);
    let best = best_remedies(&run.verdict, REMEDIES).into_iter();
    let view = |remedy: &Remedy| ReportRemedy {
        r#do: remedy.r#do.clone(),
        free: remedy.free,
        effects: remedy.shifts(&felt),
    };
    best.map(view).collect()
}

fn sentence(document: usize, number: usize, run: &Run) -> Option<Sentence> {
    let first = run.verdict.first()?;
    Some(Sentence {
        anchor: anchor(document, number),
        name: run.name.clone(),
        severity: first.severity.as_str(),
        text: first.finding.clone(),
    })
}

/// The step to the newest of `parts`; for a single part, the step from its own baseline.
fn newest_change(parts: &[ReportPart<'_>]) -> Option<NewestChangeView> {
    match parts {
        [.., before, after] => {
            let compared = compare(before.analysis, after.analysis, before.name);
            Some(change_view(&compared))
        }
        [only] => only.analysis.baseline.as_ref().map(change_view),
        [] => None,
    }
}

/// Whether users experience `figure` directly; hardware utilisation is not an end in itself.
const fn is_felt(figure: Figure) -> bool {
    !matches!(
        figure,
        Figure::Mfu | Figure::Mbu | Figure::GpuUtilization | Figure::RequestsPerSecond
    )
}

fn change_view(baseline: &Baseline) -> NewestChangeView {
    let mut moved: Vec<_> = baseline
        .pairs
        .iter()
        .flat_map(|pair| pair.changes.iter().map(move |change| (pair, change)))
        .filter(|(_, change)| {
            change.outcome != BaselineOutcome::WithinNoise && is_felt(change.figure)
        })
        .collect();
    moved.sort_by(|(_, one), (_, other)| other.factor.ln().abs().total_cmp(&one.factor.ln().abs()));
    let moved_row = |(pair, changed): &(&Pair, &FigureChange)| {
        let class = match changed.outcome {
            BaselineOutcome::Better => "good",
            BaselineOutcome::Worse => "bad",
            BaselineOutcome::WithinNoise => "soft",
        };
        let figure = changed.figure;
        let text = format!(
            "{} of {}: {} → {} ({})",
            figure.label(),
            pair.after,
            figure.show(changed.before.value),
            figure.show(changed.after.value),
            change(changed.factor)
        );
        (class, text)
    };
    NewestChangeView {
        settings: super::worked::settings(baseline),
        moved: moved.iter().take(MOVED).map(moved_row).collect(),
        compared: !baseline.pairs.is_empty(),
    }
}
