//! Before and after: which figures became better or worse by more than noise, and whether the effect that was predicted arrived.

use serde::{Deserialize, Serialize};

use super::Analysis;
use super::effect::PredictedEffect;
use super::figure::Figure;
use super::noise::Estimate;
use super::run::Run;
use roofline::units::ratio;

/// The figures that are compared.
const FIGURES: [Figure; 9] = [
    Figure::OutputTokensPerSecond,
    Figure::RequestsPerSecond,
    Figure::TtftP50Seconds,
    Figure::TtftP99Seconds,
    Figure::TpotP50Seconds,
    Figure::TpotP99Seconds,
    Figure::E2eP50Seconds,
    Figure::Mfu,
    Figure::Mbu,
];

/// Compares an analysis with an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// File of the earlier analysis.
    pub file: String,
    /// Settings that differ.
    pub changed: Vec<ChangedSetting>,
    /// Loads that both analyses have.
    pub pairs: Vec<Pair>,
    /// Runs that only the earlier analysis has.
    pub only_before: Vec<String>,
    /// Runs that only the later analysis has.
    pub only_after: Vec<String>,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedSetting {
    /// Name of the setting.
    pub setting: String,
    /// Value before; empty for vLLM's default.
    pub before: String,
    /// Value after.
    pub after: String,
}

/// A load before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Name of the run before.
    pub before: String,
    /// Name of the run after.
    pub after: String,
    /// Number of runs before.
    pub repeats_before: usize,
    /// Number of runs after.
    pub repeats_after: usize,
    /// Each figure that both analyses have.
    pub changes: Vec<FigureChange>,
    /// What the earlier analysis advised, and how much of the predicted effect was measured.
    pub predicted: Vec<PredictedEffect>,
}

/// A figure before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FigureChange {
    /// Which figure.
    pub figure: Figure,
    /// Value before.
    pub before: Estimate,
    /// Value after.
    pub after: Estimate,
    /// After divided by before.
    pub factor: f64,
    /// What the change means.
    pub outcome: BaselineOutcome,
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineOutcome {
    /// Better by more than noise.
    Better,
    /// Worse by more than noise.
    Worse,
    /// Within noise: indistinguishable from chance.
    WithinNoise,
}

impl BaselineOutcome {
    /// Label for the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::WithinNoise => "within noise",
        }
    }
}

/// Compares `after` with `before`, which was read from `file`.
#[must_use]
pub fn compare(before: &Analysis, after: &Analysis, file: &str) -> Baseline {
    let changed = changed(before, after);
    let (mut earlier, mut later) = (groups(&before.runs), groups(&after.runs));
    let mut paired = Vec::new();
    earlier.retain(|group| {
        let found = later.iter().position(|other| same_load(group[0], other[0]));
        let Some(found) = found else { return true };
        paired.push((group.clone(), later.remove(found)));
        false
    });
    // With a single load on each side, the two are compared even if the advice was to change the load.
    if earlier.len() == 1 && later.len() == 1 && paired.is_empty() {
        paired.extend(earlier.pop().zip(later.pop()));
    }
    let names = |groups: &[Vec<&Run>]| groups.iter().map(|group| group[0].name.clone()).collect();
    Baseline {
        file: file.to_owned(),
        pairs: paired
            .iter()
            .map(|(before, after)| pair(before, after, &changed))
            .collect(),
        only_before: names(&earlier),
        only_after: names(&later),
        changed,
    }
}

/// Groups the runs of the same load.
fn groups(runs: &[Run]) -> Vec<Vec<&Run>> {
    let mut groups: Vec<Vec<&Run>> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| same_load(group[0], run)) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups
}

/// Whether two runs put the same load on the server; lengths may differ by a tenth.
fn same_load(one: &Run, other: &Run) -> bool {
    let near = |one: Option<f64>, other: Option<f64>| match one.zip(other) {
        Some((one, other)) => (one - other).abs() <= 0.1 * one.max(other),
        None => true,
    };
    one.name == other.name
        && one.load.sent == other.load.sent
        && near(one.load.input_tokens, other.load.input_tokens)
        && near(one.load.output_tokens, other.load.output_tokens)
}

fn pair(before: &[&Run], after: &[&Run], changed: &[ChangedSetting]) -> Pair {
    let changes = FIGURES.into_iter().filter_map(|figure| {
        let (old, new) = (Estimate::of(before, figure)?, Estimate::of(after, figure)?);
        Some(FigureChange {
            figure,
            before: old,
            after: new,
            factor: ratio(new.value, old.value)?,
            outcome: outcome(figure, &old, &new),
        })
    });
    let predicted = before[0]
        .advice
        .iter()
        .map(|suggestion| PredictedEffect::of(suggestion, before, after, changed));
    Pair {
        before: before[0].name.clone(),
        after: after[0].name.clone(),
        repeats_before: before.len(),
        repeats_after: after.len(),
        changes: changes.collect(),
        predicted: predicted.collect(),
    }
}

fn outcome(figure: Figure, before: &Estimate, after: &Estimate) -> BaselineOutcome {
    if !before.differs_from(after) {
        BaselineOutcome::WithinNoise
    } else if (after.value > before.value) == figure.more_is_better() {
        BaselineOutcome::Better
    } else {
        BaselineOutcome::Worse
    }
}

/// Settings that differ between the two.
fn changed(before: &Analysis, after: &Analysis) -> Vec<ChangedSetting> {
    let (before, after) = (settings(before), settings(after));
    let value_of = |settings: &[(String, String)], name: &str| {
        let found = settings.iter().find(|(setting, _)| setting == name);
        found.map_or_else(String::new, |(_, value)| value.clone())
    };
    let mut names: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| ChangedSetting {
            setting: name.clone(),
            before: value_of(&before, name),
            after: value_of(&after, name),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

/// What is known of the deployment of `analysis`, keyed by vLLM's flag names.
#[must_use]
pub fn settings(analysis: &Analysis) -> Vec<(String, String)> {
    let configuration = &analysis.configuration;
    let mut settings = configuration.deployment.settings();
    let model = configuration.model.clone();
    settings.retain(|(name, _)| name != "model");
    settings.extend(model.map(|model| ("model".to_owned(), model)));
    settings.extend(configuration.gpu.clone().map(|gpu| ("gpu".to_owned(), gpu)));
    settings
}
