//! Whether two figures differ by more than chance.
//!
//! For repeated runs: Student's interval of their mean. For a single run: the interval within it (ranks of the median, slices of the
//! throughput), which excludes run-to-run variation. Without either, 5 % are assumed, and half of the value for the 99th percentile, which
//! rests on few requests.

use serde::{Deserialize, Serialize};

use super::figure::Figure;
use super::run::Run;
use crate::results::{ConfidenceInterval, Distribution};
use roofline::statistics::Mean;

/// Smaller changes have no practical effect, however certain they are.
const LEAST_CHANGE: f64 = 0.01;
/// Assumed half-width of the interval of a single figure without one, as a share of the value.
const ASSUMED: f64 = 0.05;
/// The same for a 99th percentile.
const ASSUMED_OF_TAILS: f64 = 0.5;

/// How an interval was obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseBasis {
    /// Several runs of the same load.
    Repeats,
    /// Requests or slices of one run.
    WithinRun,
    /// Assumed: 5 %, and half of the value for tails.
    Assumed,
}

/// A figure with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Its value: the mean of repeats.
    pub value: f64,
    /// Half-width of its 95 % interval.
    pub plus_minus: f64,
    /// How the interval was obtained.
    pub basis: NoiseBasis,
}

impl Estimate {
    /// `figure` of `repeats` of one load.
    pub(super) fn of(repeats: &[&Run], figure: Figure) -> Option<Self> {
        let values: Vec<f64> = repeats
            .iter()
            .filter_map(|run| run.figure(figure))
            .collect();
        match values.as_slice() {
            [] => None,
            [value] => Some(Self::of_one(*value, repeats.first()?, figure)),
            several => Mean::of(several).map(Self::of_several),
        }
    }

    fn of_one(value: f64, run: &Run, figure: Figure) -> Self {
        match interval(run, figure) {
            Some(interval) => Self {
                value,
                plus_minus: (interval.high - interval.low) / 2.0,
                basis: NoiseBasis::WithinRun,
            },
            None => Self {
                value,
                plus_minus: value.abs() * assumed(figure),
                basis: NoiseBasis::Assumed,
            },
        }
    }

    fn of_several(mean: Mean) -> Self {
        Self {
            value: mean.value,
            plus_minus: mean.plus_minus,
            basis: NoiseBasis::Repeats,
        }
    }

    /// Whether `after` differs from this by more than chance, and by enough to matter.
    pub(super) fn differs_from(&self, after: &Self) -> bool {
        let noise = self.plus_minus.hypot(after.plus_minus);
        let change = (after.value - self.value).abs();
        change > noise && change >= LEAST_CHANGE * self.value.abs()
    }
}

/// The interval of a figure within one run.
fn interval(run: &Run, figure: Figure) -> Option<ConfidenceInterval> {
    let latency = &run.measured.latency;
    let median = |distribution: Option<&Distribution>| distribution?.p50_interval;
    let tail = |distribution: Option<&Distribution>| distribution?.p99_interval;
    match figure {
        Figure::OutputTokensPerSecond => run.measured.rates.output_tokens_per_second_interval,
        Figure::TtftP50Seconds => median(latency.ttft.as_ref()),
        Figure::TtftP99Seconds => tail(latency.ttft.as_ref()),
        Figure::TpotP50Seconds => median(latency.per_token()),
        Figure::TpotP99Seconds => tail(latency.per_token()),
        Figure::E2eP50Seconds => median(latency.e2e.as_ref()),
        Figure::TtftMeanSeconds
        | Figure::TpotMeanSeconds
        | Figure::RequestsPerSecond
        | Figure::Mfu
        | Figure::Mbu
        | Figure::GpuUtilization => None,
    }
}

const fn assumed(figure: Figure) -> f64 {
    match figure {
        Figure::TtftP99Seconds | Figure::TpotP99Seconds => ASSUMED_OF_TAILS,
        _ => ASSUMED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn several(values: &[f64]) -> Estimate {
        Estimate::of_several(Mean::of(values).unwrap())
    }

    #[test]
    fn repeats_that_scatter_hide_a_change_that_steady_ones_show() {
        let (steady_before, steady_after) = (
            several(&[100.0, 101.0, 99.0]),
            several(&[110.0, 111.0, 109.0]),
        );
        assert!(steady_before.differs_from(&steady_after));
        let (loose_before, loose_after) = (
            several(&[100.0, 120.0, 80.0]),
            several(&[110.0, 130.0, 90.0]),
        );
        assert!(!loose_before.differs_from(&loose_after));
    }

    #[test]
    fn a_change_of_half_a_percent_does_not_matter() {
        let exact = |value| Estimate {
            value,
            plus_minus: 0.0,
            basis: NoiseBasis::Repeats,
        };
        assert!(!exact(100.0).differs_from(&exact(100.5)));
        assert!(exact(100.0).differs_from(&exact(102.0)));
    }
}
