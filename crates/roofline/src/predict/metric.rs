//! `ImprovedMetric`: the figure by which remedies are compared.

use serde::{Deserialize, Serialize};

use super::{PredictedSteps, Prediction};

/// A figure that a remedy improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImprovedMetric {
    /// Expected seconds of the step.
    StepSeconds,
    /// Expected tokens per second of such steps.
    StepTokensPerSecond,
    /// Expected time to first token.
    TtftSeconds,
    /// Expected time per output token.
    TpotSeconds,
    /// Expected tokens per second.
    OutputTokensPerSecond,
    /// Tokens that the KV cache holds.
    KvCapacityTokens,
}

impl ImprovedMetric {
    /// Its value in `prediction`.
    pub(super) fn of(self, prediction: &Prediction) -> Option<f64> {
        let step = match &prediction.steps {
            PredictedSteps::Step(step) => Some(step),
            PredictedSteps::Steps(_) => None,
        };
        let seconds = || Some(step?.expected_seconds?.0);
        let latency = prediction.latency.as_ref();
        match self {
            Self::StepSeconds => seconds(),
            Self::StepTokensPerSecond => Some(step?.batch / seconds()?),
            Self::TtftSeconds => Some(latency?.ttft_expected_seconds.0),
            Self::TpotSeconds => Some(latency?.tpot_expected_seconds.0),
            Self::OutputTokensPerSecond => Some(latency?.output_tokens_per_second_expected),
            Self::KvCapacityTokens => prediction.memory.kv_capacity_tokens,
        }
    }

    /// By which factor `after` is better than `before`.
    #[must_use]
    pub fn gain(self, before: f64, after: f64) -> f64 {
        match self {
            Self::StepSeconds | Self::TtftSeconds | Self::TpotSeconds => before / after,
            Self::StepTokensPerSecond | Self::OutputTokensPerSecond | Self::KvCapacityTokens => {
                after / before
            }
        }
    }

    pub(super) fn describe(self, before: f64, after: f64) -> String {
        let milliseconds =
            |name: &str| format!("{name} {:.1} → {:.1} ms", before * 1e3, after * 1e3);
        let whole = |unit: &str| format!("{before:.0} → {after:.0} {unit}");
        match self {
            Self::StepSeconds => milliseconds("step"),
            Self::TtftSeconds => milliseconds("TTFT"),
            Self::TpotSeconds => milliseconds("TPOT"),
            Self::StepTokensPerSecond | Self::OutputTokensPerSecond => whole("tokens/s"),
            Self::KvCapacityTokens => whole("tokens of KV cache"),
        }
    }
}
