//! What the model on this GPU is expected to reach under the measured load, and the verdict on a measured figure.

use serde::{Deserialize, Serialize};

use super::effect::{Effect, ObservedLoad, predicted};
use crate::predict::Scenario;
use crate::units::Seconds;

/// From this share of the expected value, a figure is good.
const GOOD: f64 = 0.8;
/// Below this share it is bad.
const BAD: f64 = 0.5;
/// The same for a time to first token, which depends on when requests arrive.
const GOOD_FIRST_TOKEN: f64 = 0.5;
const BAD_FIRST_TOKEN: f64 = 0.25;
/// Time that HTTP, the tokeniser and the scheduler add to a first token; predictions exclude it.
const SERVING: Seconds = Seconds(0.02);

/// Tolerance above the bound: lengths and batches are means.
const TOLERANCE: f64 = 1.1;

/// The verdict on a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictLevel {
    /// As expected.
    Good,
    /// Between good and bad.
    Fair,
    /// Well below expectation.
    Bad,
}

impl VerdictLevel {
    /// Its name; also the CSS class.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Bad => "bad",
        }
    }

    /// The verdict on a rate, given its prediction `expected`.
    #[must_use]
    pub fn of_rate(measured: f64, expected: f64) -> Self {
        Self::of_share(measured / expected, GOOD, BAD)
    }

    /// The verdict on a time, given its prediction `expected`.
    #[must_use]
    pub fn of_time(measured: f64, expected: f64) -> Self {
        Self::of_share(expected / measured, GOOD, BAD)
    }

    /// The verdict on a time to first token, given its prediction `expected`.
    #[must_use]
    pub fn of_first_token(measured: f64, expected: f64) -> Self {
        let share = (expected + SERVING.0) / measured;
        Self::of_share(share, GOOD_FIRST_TOKEN, BAD_FIRST_TOKEN)
    }

    fn of_share(share: f64, good: f64, bad: f64) -> Self {
        if share >= good {
            Self::Good
        } else if share < bad {
            Self::Bad
        } else {
            Self::Fair
        }
    }
}

/// What the deployment is expected to reach under a load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Outlook {
    /// The expected values.
    pub expected: Effect,
    /// The bounds.
    pub bound: Effect,
}

impl Outlook {
    /// Whether it can describe the load of `measured`: no measurement exceeds a bound, so one that does belongs to another load.
    #[must_use]
    pub fn holds_for(&self, measured: &Effect) -> bool {
        let both = |one: Option<f64>, other: Option<f64>| one.zip(other);
        let rate = both(
            measured.output_tokens_per_second,
            self.bound.output_tokens_per_second,
        );
        let times = [
            both(measured.ttft_seconds, self.bound.ttft_seconds),
            both(measured.tpot_seconds, self.bound.tpot_seconds),
        ];
        rate.is_none_or(|(rate, most)| rate <= most * TOLERANCE)
            && times
                .into_iter()
                .flatten()
                .all(|(time, least)| time * TOLERANCE >= least)
    }

    /// The outlook of `scenario` under `load`; `None` where it cannot be predicted. If the traffic limits the throughput, no throughput is
    /// expected.
    pub(super) fn of(
        scenario: &Scenario,
        load: &ObservedLoad,
        traffic_limits: bool,
    ) -> Option<Self> {
        let latency = predicted(scenario, load, load.running, 1.0)?;
        let decodes = load.output_tokens > 1.5;
        let effect = |rate: f64, ttft: Seconds, tpot: Seconds| Effect {
            output_tokens_per_second: (!traffic_limits).then_some(rate),
            ttft_seconds: Some(ttft.0),
            tpot_seconds: decodes.then_some(tpot.0),
            dollars_per_million_tokens: None,
        };
        Some(Self {
            expected: effect(
                latency.output_tokens_per_second_expected,
                latency.ttft_steady_seconds,
                latency.tpot_expected_seconds,
            ),
            bound: effect(
                latency.output_tokens_per_second_bound,
                latency.ttft_bound_seconds,
                latency.tpot_bound_seconds,
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_stands_by_its_share_of_what_is_expected() {
        assert_eq!(VerdictLevel::of_rate(250.0, 7000.0), VerdictLevel::Bad);
        assert_eq!(VerdictLevel::of_rate(5000.0, 7000.0), VerdictLevel::Fair);
        assert_eq!(VerdictLevel::of_rate(7200.0, 7000.0), VerdictLevel::Good);
        assert_eq!(VerdictLevel::of_time(0.02, 0.019), VerdictLevel::Good);
        assert_eq!(VerdictLevel::of_time(0.05, 0.019), VerdictLevel::Bad);
    }

    #[test]
    fn what_beats_a_bound_was_another_load() {
        let effect = |rate, tpot| Effect {
            output_tokens_per_second: Some(rate),
            tpot_seconds: Some(tpot),
            ..Effect::default()
        };
        let outlook = Outlook {
            expected: effect(900.0, 0.008),
            bound: effect(1200.0, 0.006),
        };
        assert!(outlook.holds_for(&effect(700.0, 0.02)));
        assert!(outlook.holds_for(&Effect::default()));
        assert!(!outlook.holds_for(&effect(5000.0, 0.02)));
        assert!(!outlook.holds_for(&effect(700.0, 0.002)));
    }

    #[test]
    fn a_first_token_may_take_what_serving_takes() {
        assert_eq!(
            VerdictLevel::of_first_token(0.025, 0.005),
            VerdictLevel::Good
        );
        assert_eq!(VerdictLevel::of_first_token(3.0, 0.1), VerdictLevel::Bad);
    }
}
