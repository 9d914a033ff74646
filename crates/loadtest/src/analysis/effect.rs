//! Whether the predicted effect of a piece of advice was measured.

use serde::{Deserialize, Serialize};

use super::baseline::ChangedSetting;
use super::predicted;
use super::run::{Run, Suggestion};
use roofline::predict::ImprovedMetric;
use roofline::units::ratio;

/// The predicted effect of a piece of advice, and the measured one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedEffect {
    /// The advice.
    pub r#do: String,
    /// The figure that the advice should change.
    pub metric: ImprovedMetric,
    /// Predicted factor of the change.
    pub predicted_factor: f64,
    /// Measured factor of the change.
    pub measured_factor: Option<f64>,
    /// How much of the predicted effect was measured.
    pub arrival: Arrival,
}

/// How much of a predicted effect was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// At least four fifths of it.
    Arrived,
    /// Some of it.
    Partly,
    /// Almost none of it.
    NotArrived,
    /// The opposite.
    Opposite,
    /// The advice was not taken, as far as the configurations show.
    NotTaken,
    /// The figure was not measured on both sides.
    NotMeasured,
}

impl Arrival {
    /// Label for the report.
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

impl PredictedEffect {
    /// Compares `suggestion`, given for the load `before`, with the load after; `changed` lists the settings that differ.
    pub(super) fn of(
        suggestion: &Suggestion,
        before: &[&Run],
        after: &[&Run],
        changed: &[ChangedSetting],
    ) -> Self {
        let taken = is_taken(suggestion, changed, before[0], after[0]);
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
        Self {
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

/// Whether the advice was taken, as far as configurations and loads show.
fn is_taken(
    suggestion: &Suggestion,
    changed: &[ChangedSetting],
    before: &Run,
    after: &Run,
) -> bool {
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
