//! Before and after: which figures became better or worse by more than noise, and whether the effect that was predicted arrived.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::figure::Figure;
use super::noise::Estimate;
use super::run::{Run, Suggestion};
use super::{Analysis, predicted};
use crate::predict::Metric;
use crate::units::ratio;

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

/// An analysis against an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Where the earlier one lies.
    pub file: String,
    /// What is configured differently.
    pub changed: Vec<Changed>,
    /// Loads that both have.
    pub pairs: Vec<Pair>,
    /// Runs that only the earlier one has.
    pub only_before: Vec<String>,
    /// Runs that only the later one has.
    pub only_after: Vec<String>,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Which.
    pub setting: String,
    /// Its value before; empty if vLLM's default.
    pub before: String,
    /// Its value after.
    pub after: String,
}

/// A load before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// What it was called.
    pub before: String,
    /// What it is called.
    pub after: String,
    /// Runs of it before.
    pub repeats_before: usize,
    /// Runs of it after.
    pub repeats_after: usize,
    /// Each figure that both have.
    pub changes: Vec<Change>,
    /// What the earlier analysis advised, and what came of it.
    pub predicted: Vec<PredictedEffect>,
}

/// A figure before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which.
    pub figure: Figure,
    /// Before.
    pub before: Estimate,
    /// After.
    pub after: Estimate,
    /// After over before.
    pub factor: f64,
    /// What that means.
    pub outcome: Outcome,
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Better by more than noise.
    Better,
    /// Worse by more than noise.
    Worse,
    /// Not to be told from chance.
    WithinNoise,
}

impl Outcome {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::WithinNoise => "within noise",
        }
    }
}

/// What an advice promised, and what came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedEffect {
    /// The advice.
    pub r#do: String,
    /// The figure it was about.
    pub metric: Metric,
    /// By which factor it was to change.
    pub predicted_factor: f64,
    /// By which factor it changed.
    pub measured_factor: Option<f64>,
    /// What came of it.
    pub arrival: Arrival,
}

/// What came of a predicted effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// At least four fifths of it.
    Arrived,
    /// Some of it.
    Partly,
    /// Next to nothing.
    NotArrived,
    /// The contrary.
    Opposite,
    /// The advice was not taken, as far as the configurations tell.
    NotTaken,
    /// The figure was not measured on both sides.
    NotMeasured,
}

impl Arrival {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Partly => "arrived in part",
            Self::NotArrived => "did not arrive",
            Self::Opposite => "went the other way",
            Self::NotTaken => "not tried",
            Self::NotMeasured => "not measured",
        }
    }
}

/// `after` against `before`, which lies in `file`.
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
    // A single load on each side is meant to be compared, even if the advice was to change it.
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

/// Runs of the same load together.
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

/// Whether the server was asked for the same, lengths to a tenth.
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

fn pair(before: &[&Run], after: &[&Run], changed: &[Changed]) -> Pair {
    let changes = FIGURES.into_iter().filter_map(|figure| {
        let (old, new) = (Estimate::of(before, figure)?, Estimate::of(after, figure)?);
        Some(Change {
            figure,
            before: old,
            after: new,
            factor: ratio(new.value, old.value)?,
            outcome: outcome(figure, &old, &new),
        })
    });
    let predicted = before[0].advice.iter().map(|suggestion| {
        let taken = is_taken(suggestion, changed, before[0], after[0]);
        effect(suggestion, before, after, taken)
    });
    Pair {
        before: before[0].name.clone(),
        after: after[0].name.clone(),
        repeats_before: before.len(),
        repeats_after: after.len(),
        changes: changes.collect(),
        predicted: predicted.collect(),
    }
}

fn outcome(figure: Figure, before: &Estimate, after: &Estimate) -> Outcome {
    if !before.differs_from(after) {
        Outcome::WithinNoise
    } else if (after.value > before.value) == figure.more_is_better() {
        Outcome::Better
    } else {
        Outcome::Worse
    }
}

fn effect(
    suggestion: &Suggestion,
    before: &[&Run],
    after: &[&Run],
    taken: bool,
) -> PredictedEffect {
    let advice = &suggestion.advice;
    let mean = |runs: &[&Run]| {
        let values: Option<Vec<f64>> = runs
            .iter()
            .map(|run| predicted::of(advice.metric, &run.measured))
            .collect();
        let values = values?;
        ratio(values.iter().sum(), values.len() as f64)
    };
    let predicted_factor = advice.after / advice.before;
    let measured_factor = mean(before)
        .zip(mean(after))
        .and_then(|(before, after)| ratio(after, before));
    PredictedEffect {
        r#do: advice.r#do.clone(),
        metric: advice.metric,
        predicted_factor,
        measured_factor,
        arrival: if taken {
            arrival(predicted_factor, measured_factor)
        } else {
            Arrival::NotTaken
        },
    }
}

/// How much of a predicted factor was measured, on a logarithmic scale.
fn arrival(predicted: f64, measured: Option<f64>) -> Arrival {
    let Some(share) = measured.map(|measured| measured.ln() / predicted.ln()) else {
        return Arrival::NotMeasured;
    };
    if share >= 0.8 {
        Arrival::Arrived
    } else if share >= 0.2 {
        Arrival::Partly
    } else if share > -0.2 {
        Arrival::NotArrived
    } else {
        Arrival::Opposite
    }
}

/// Whether the advice was taken, as far as configurations and loads tell.
fn is_taken(suggestion: &Suggestion, changed: &[Changed], before: &Run, after: &Run) -> bool {
    let advice = suggestion.advice.r#do.as_str();
    let has_changed = |setting: &str| changed.iter().any(|change| change.setting == setting);
    if advice.contains("requests at a time") {
        let wanted: Option<f64> = advice
            .split(' ')
            .next()
            .and_then(|count| count.parse().ok());
        let (then, now) = (before.load.concurrency, after.load.concurrency);
        return wanted
            .zip(then.zip(now))
            .is_some_and(|(wanted, (then, now))| now >= then + 0.5 * (wanted - then));
    }
    if advice.contains("checkpoint") {
        return has_changed("quantization") || has_changed("model");
    }
    if advice.contains("share half of their tokens") {
        let share = after.load.cached_tokens.zip(after.load.input_tokens);
        return share.is_some_and(|(cached, input)| cached >= 0.25 * input);
    }
    let mut flags = advice
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .map(|flag| flag.trim_matches(|letter: char| !letter.is_ascii_alphanumeric()));
    flags.next().is_some_and(has_changed)
}

/// Settings that differ between the two.
fn changed(before: &Analysis, after: &Analysis) -> Vec<Changed> {
    let (before, after) = (settings(before), settings(after));
    let told = |settings: &[(String, String)], name: &str| {
        let found = settings.iter().find(|(setting, _)| setting == name);
        found.map_or_else(String::new, |(_, value)| value.clone())
    };
    let mut names: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| Changed {
            setting: name.clone(),
            before: told(&before, name),
            after: told(&after, name),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

/// What is known of the deployment that `analysis` is of, by vLLM's names of flags.
#[must_use]
pub fn settings(analysis: &Analysis) -> Vec<(String, String)> {
    let configuration = &analysis.configuration;
    let mut settings = Vec::new();
    if let Ok(Value::Object(flags)) = serde_json::to_value(&configuration.deployment) {
        for (name, value) in flags {
            match value {
                Value::Null | Value::Bool(false) => {}
                Value::String(text) => settings.push((name, text)),
                other => settings.push((name, other.to_string())),
            }
        }
    }
    let model = configuration.model.clone();
    settings.retain(|(name, _)| name != "model");
    settings.extend(model.map(|model| ("model".to_owned(), model)));
    settings.extend(configuration.gpu.clone().map(|gpu| ("gpu".to_owned(), gpu)));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_arrives_by_its_share_of_what_was_predicted() {
        assert_eq!(arrival(2.0, Some(1.9)), Arrival::Arrived);
        assert_eq!(arrival(2.0, Some(1.3)), Arrival::Partly);
        assert_eq!(arrival(2.0, Some(1.01)), Arrival::NotArrived);
        assert_eq!(arrival(2.0, Some(0.7)), Arrival::Opposite);
        assert_eq!(
            arrival(0.5, Some(0.55)),
            Arrival::Arrived,
            "less time is the gain"
        );
        assert_eq!(arrival(0.5, None), Arrival::NotMeasured);
    }
}
