//! The section "what worked": compares each analysis with the one before it.

use super::ReportPart;
use super::cell::{CellPath, NumberCell};
use super::figures::figure_cell;
use crate::analysis::text::change;
use crate::analysis::{Baseline, BaselineOutcome, Figure, FigureChange, Pair, Run, compare};

/// The step from one analysis to the next.
pub(super) struct StepView {
    pub title: String,
    pub changed: Vec<String>,
    pub loads: Vec<LoadView>,
    pub unpaired: Vec<String>,
}

/// A load before and after.
pub(super) struct LoadView {
    pub name: String,
    pub rows: Vec<FigureChangeView>,
    pub effects: Vec<EffectView>,
}

/// A figure before and after.
pub(super) struct FigureChangeView {
    pub figure: &'static str,
    pub before: NumberCell,
    pub before_noise: String,
    pub after: NumberCell,
    pub after_noise: String,
    pub change: NumberCell,
    pub outcome: &'static str,
}

/// The measured effect of a piece of advice.
pub(super) struct EffectView {
    pub r#do: String,
    pub predicted: String,
    pub measured: String,
    pub arrival: &'static str,
}

/// The steps between `parts`; for a single part, the step from its own baseline.
pub(super) fn steps(parts: &[ReportPart<'_>]) -> Vec<StepView> {
    if let [only] = parts {
        let baseline = only.analysis.baseline.iter();
        return baseline
            .map(|baseline| step(format!("{} → {}", baseline.file, only.name), baseline, None))
            .collect();
    }
    let steps = parts.windows(2).enumerate().map(|(place, pair)| {
        let (before, after) = (&pair[0], &pair[1]);
        let compared = compare(before.analysis, after.analysis, before.name);
        let both = [
            (CellPath::new(place), before.analysis.runs.as_slice()),
            (CellPath::new(place + 1), after.analysis.runs.as_slice()),
        ];
        step(
            format!("{} → {}", before.name, after.name),
            &compared,
            Some(&both),
        )
    });
    steps.collect()
}

/// The runs before and after, with their JSON paths.
type Both<'a> = [(CellPath, &'a [Run]); 2];

/// The settings that differ, in words.
pub(super) fn settings(baseline: &Baseline) -> Vec<String> {
    let shown = |value: &str| if value.is_empty() { "default" } else { value }.to_owned();
    let changed = baseline.changed.iter().map(|changed| {
        format!(
            "{}: {} → {}",
            changed.setting,
            shown(&changed.before),
            shown(&changed.after)
        )
    });
    changed.collect()
}

fn step(title: String, baseline: &Baseline, both: Option<&Both<'_>>) -> StepView {
    let only = |names: &[String], when: &str| {
        (!names.is_empty()).then(|| format!("Only {when}: {}.", names.join(", ")))
    };
    let unpaired = [
        only(&baseline.only_before, "before"),
        only(&baseline.only_after, "after"),
    ];
    StepView {
        title,
        changed: settings(baseline),
        loads: baseline.pairs.iter().map(|pair| load(pair, both)).collect(),
        unpaired: unpaired.into_iter().flatten().collect(),
    }
}

fn load(pair: &Pair, both: Option<&Both<'_>>) -> LoadView {
    let name = if pair.before == pair.after {
        pair.after.clone()
    } else {
        format!("{} → {}", pair.before, pair.after)
    };
    let effects = pair.predicted.iter().map(|effect| EffectView {
        r#do: effect.r#do.clone(),
        predicted: change(effect.predicted_factor),
        measured: effect
            .measured_factor
            .map_or_else(|| "–".to_owned(), change),
        arrival: effect.arrival.as_str(),
    });
    LoadView {
        name,
        rows: pair
            .changes
            .iter()
            .map(|change| row(pair, change, both))
            .collect(),
        effects: effects.collect(),
    }
}

fn row(pair: &Pair, changed: &FigureChange, both: Option<&Both<'_>>) -> FigureChangeView {
    let FigureChange {
        figure,
        before,
        after,
        factor,
        outcome,
    } = changed;
    let class = match outcome {
        BaselineOutcome::Better => "good",
        BaselineOutcome::Worse => "bad",
        BaselineOutcome::WithinNoise => "soft",
    };
    let value = |side: usize, name: &str, repeats: usize, mean: f64| {
        let own = both
            .filter(|_| repeats == 1)
            .and_then(|both| from_run(&both[side], name, *figure));
        own.unwrap_or_else(|| NumberCell::words(figure.show(mean)))
    };
    let noise = |plus_minus: f64| format!("± {}", figure.show(plus_minus));
    FigureChangeView {
        figure: figure.label(),
        before: value(0, &pair.before, pair.repeats_before, before.value),
        before_noise: noise(before.plus_minus),
        after: value(1, &pair.after, pair.repeats_after, after.value),
        after_noise: noise(after.plus_minus),
        change: NumberCell::words(change(*factor)).with_class(class),
        outcome: outcome.as_str(),
    }
}

/// The figure of the run called `name`, with its JSON path.
fn from_run((place, runs): &(CellPath, &[Run]), name: &str, figure: Figure) -> Option<NumberCell> {
    let number = runs.iter().position(|run| run.name == name)?;
    Some(figure_cell(&place.at("runs").at(number), &runs[number], figure).with_class(""))
}
