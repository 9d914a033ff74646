//! `FigureTargets`: which values count as good and as bad.
//!
//! A figure is judged by what the model on this GPU is expected to reach under the measured load, where that can be predicted: 200 tokens/s
//! is high for a CPU and low for an H100. The absolute targets, by default the table in the configuration, are shown beside it, and judge
//! alone where there is no prediction.

use serde::{Deserialize, Serialize};

use super::figure::Figure;
use super::run::{Comparison, ComparisonRow, MeasuredRun};
use super::text;
use roofline::diagnosis::VerdictLevel;
use roofline::units::Seconds;

/// Which values count as good and as bad; values in between are fair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FigureTargets {
    /// Output tokens per second from which a run is good.
    pub throughput_good: f64,
    /// Output tokens per second below which it is bad.
    pub throughput_bad: f64,
    /// Median time to first token up to which it is good.
    pub ttft_good_seconds: Seconds,
    /// Median time to first token above which it is bad.
    pub ttft_bad_seconds: Seconds,
    /// Median time per output token up to which it is good.
    pub tpot_good_seconds: Seconds,
    /// Median time per output token above which it is bad.
    pub tpot_bad_seconds: Seconds,
    /// GPU utilisation from which it is good.
    pub gpu_utilization_good: f64,
    /// GPU utilisation up to which it is good.
    pub gpu_utilization_good_up_to: f64,
    /// GPU utilisation below which it is bad.
    pub gpu_utilization_bad: f64,
    /// GPU utilisation from which there is no headroom, which is bad too.
    pub gpu_utilization_full: f64,
}

impl Default for FigureTargets {
    fn default() -> Self {
        Self {
            throughput_good: 200.0,
            throughput_bad: 150.0,
            ttft_good_seconds: Seconds(0.1),
            ttft_bad_seconds: Seconds(0.5),
            tpot_good_seconds: Seconds(0.05),
            tpot_bad_seconds: Seconds(0.1),
            gpu_utilization_good: 0.8,
            gpu_utilization_good_up_to: 0.95,
            gpu_utilization_bad: 0.5,
            gpu_utilization_full: 1.0,
        }
    }
}

/// A figure compared with its expected value and with its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetVerdict {
    /// Which figure.
    pub figure: Figure,
    /// Its measured value.
    pub value: f64,
    /// The verdict: against the expected value for this load, or against the target where there is none.
    pub standing: VerdictLevel,
    /// What this model on this GPU is expected to reach under the load as measured.
    #[serde(default)]
    pub expected: Option<f64>,
    /// The upper bound.
    #[serde(default)]
    pub bound: Option<f64>,
    /// The target in words; it is a setting.
    pub target: String,
    /// The verdict against the target.
    #[serde(default)]
    pub against_target: Option<VerdictLevel>,
}

impl FigureTargets {
    /// The verdicts on the measured figures; `expected` is the prediction for the same load. High GPU utilisation is not good in itself: it
    /// is judged only where a target is set for it.
    #[must_use]
    pub fn judge(
        &self,
        measured: &MeasuredRun,
        expected: Option<&Comparison>,
    ) -> Vec<TargetVerdict> {
        let latency = &measured.latency;
        let values = [
            (
                Figure::OutputTokensPerSecond,
                measured.rates.output_tokens_per_second,
            ),
            (
                Figure::TtftP50Seconds,
                latency.ttft.as_ref().and_then(|ttft| ttft.p50_seconds),
            ),
            (
                Figure::TpotP50Seconds,
                latency.per_token().and_then(|tpot| tpot.p50_seconds),
            ),
            (
                Figure::GpuUtilization,
                measured
                    .gpu_utilization
                    .filter(|_| self.judges_gpu_utilization()),
            ),
        ];
        let verdicts = values.into_iter().filter_map(|(figure, value)| {
            let value = value?;
            let rows = expected.iter().flat_map(|comparison| &comparison.rows);
            let row = rows.into_iter().find(|row| row.figure == figure);
            let against_target = self.standing(figure, value)?;
            Some(TargetVerdict {
                figure,
                value,
                standing: row.map_or(against_target, against_expected),
                expected: row.map(|row| row.expected),
                bound: row.map(|row| row.bound),
                target: self.in_words(figure)?,
                against_target: Some(against_target),
            })
        });
        verdicts.collect()
    }

    /// Whether a target is set for the GPU utilisation.
    fn judges_gpu_utilization(&self) -> bool {
        let own = |targets: &Self| {
            [
                targets.gpu_utilization_good,
                targets.gpu_utilization_good_up_to,
                targets.gpu_utilization_bad,
                targets.gpu_utilization_full,
            ]
            .map(f64::to_bits)
        };
        own(self) != own(&Self::default())
    }

    /// The verdict on `value`; `None` where `figure` has no target.
    #[must_use]
    pub fn standing(&self, figure: Figure, value: f64) -> Option<VerdictLevel> {
        let (good, bad) = match figure {
            Figure::OutputTokensPerSecond => {
                (value > self.throughput_good, value < self.throughput_bad)
            }
            Figure::TtftP50Seconds => (
                value < self.ttft_good_seconds.0,
                value > self.ttft_bad_seconds.0,
            ),
            Figure::TpotP50Seconds => (
                value < self.tpot_good_seconds.0,
                value > self.tpot_bad_seconds.0,
            ),
            Figure::GpuUtilization => {
                // Rounded as displayed: 99.96 % is 100.0 %.
                let value = (value * 1000.0).round() / 1000.0;
                let good = self.gpu_utilization_good..=self.gpu_utilization_good_up_to;
                let bad = value < self.gpu_utilization_bad || value >= self.gpu_utilization_full;
                (good.contains(&value), bad)
            }
            _ => return None,
        };
        Some(match (good, bad) {
            (_, true) => VerdictLevel::Bad,
            (true, false) => VerdictLevel::Good,
            (false, false) => VerdictLevel::Fair,
        })
    }

    /// The target of `figure` in words, where it has one.
    #[must_use]
    pub(crate) fn in_words(&self, figure: Figure) -> Option<String> {
        let below = |good: Seconds, bad: Seconds| {
            format!(
                "good below {}, bad above {}",
                text::duration(good.0),
                text::duration(bad.0)
            )
        };
        let whole = |share: f64| format!("{:.0} %", share * 100.0);
        Some(match figure {
            Figure::OutputTokensPerSecond => format!(
                "good above {}, bad below {}",
                text::count(self.throughput_good),
                text::count(self.throughput_bad)
            ),
            Figure::TtftP50Seconds => below(self.ttft_good_seconds, self.ttft_bad_seconds),
            Figure::TpotP50Seconds => below(self.tpot_good_seconds, self.tpot_bad_seconds),
            Figure::GpuUtilization => format!(
                "good from {} to {}, bad below {} and at {}",
                whole(self.gpu_utilization_good),
                whole(self.gpu_utilization_good_up_to),
                whole(self.gpu_utilization_bad),
                whole(self.gpu_utilization_full)
            ),
            _ => return None,
        })
    }

    /// The figures that can have a target.
    pub const FIGURES: [Figure; 4] = [
        Figure::OutputTokensPerSecond,
        Figure::TtftP50Seconds,
        Figure::TpotP50Seconds,
        Figure::GpuUtilization,
    ];
}

/// The verdict on a figure against its expected value.
fn against_expected(row: &ComparisonRow) -> VerdictLevel {
    match row.figure {
        Figure::TtftP50Seconds => VerdictLevel::of_first_token(row.measured, row.expected),
        figure if figure.more_is_better() => VerdictLevel::of_rate(row.measured, row.expected),
        _ => VerdictLevel::of_time(row.measured, row.expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Against;
    use crate::results::ResultRates;

    fn verdict(targets: FigureTargets, rate: f64, expected: Option<f64>) -> TargetVerdict {
        let measured = MeasuredRun {
            rates: ResultRates {
                output_tokens_per_second: Some(rate),
                ..ResultRates::default()
            },
            gpu_utilization: Some(0.98),
            ..MeasuredRun::default()
        };
        let comparison = expected.map(|expected| Comparison {
            against: Against::MeasuredLoad,
            batch: 8.0,
            rows: vec![ComparisonRow {
                figure: Figure::OutputTokensPerSecond,
                measured: rate,
                bound: 2.0 * expected,
                expected,
                measured_over_expected: rate / expected,
                share_of_bound: rate / expected / 2.0,
            }],
        });
        let [first, ..] = &targets.judge(&measured, comparison.as_ref())[..] else {
            panic!("nothing is judged");
        };
        first.clone()
    }

    #[test]
    fn what_is_expected_of_this_gpu_judges_and_the_target_stands_beside_it() {
        let of = |rate, expected| {
            let found = verdict(FigureTargets::default(), rate, expected);
            (found.standing, found.against_target)
        };
        assert_eq!(
            of(250.0, Some(7000.0)),
            (VerdictLevel::Bad, Some(VerdictLevel::Good))
        );
        assert_eq!(
            of(120.0, Some(125.0)),
            (VerdictLevel::Good, Some(VerdictLevel::Bad))
        );
        assert_eq!(
            of(250.0, Some(400.0)),
            (VerdictLevel::Fair, Some(VerdictLevel::Good))
        );
        assert_eq!(
            of(250.0, None),
            (VerdictLevel::Good, Some(VerdictLevel::Good))
        );
    }

    #[test]
    fn a_busy_gpu_is_judged_only_by_a_target_that_was_set() {
        let figures = |targets: FigureTargets| {
            let measured = MeasuredRun {
                gpu_utilization: Some(0.98),
                ..MeasuredRun::default()
            };
            let judged = targets.judge(&measured, None);
            judged
                .into_iter()
                .map(|verdict| (verdict.figure, verdict.standing))
                .collect::<Vec<_>>()
        };
        assert_eq!(figures(FigureTargets::default()), []);
        let set = FigureTargets {
            gpu_utilization_good_up_to: 0.99,
            ..FigureTargets::default()
        };
        assert_eq!(figures(set), [(Figure::GpuUtilization, VerdictLevel::Good)]);
    }

    #[test]
    fn the_users_table_is_the_default() {
        let targets = FigureTargets::default();
        let standings =
            |figure, values: [f64; 3]| values.map(|value| targets.standing(figure, value).unwrap());
        let table = [VerdictLevel::Good, VerdictLevel::Fair, VerdictLevel::Bad];
        assert_eq!(
            standings(Figure::OutputTokensPerSecond, [201.0, 200.0, 149.0]),
            table
        );
        assert_eq!(standings(Figure::TtftP50Seconds, [0.09, 0.3, 0.6]), table);
        assert_eq!(standings(Figure::TpotP50Seconds, [0.04, 0.1, 0.11]), table);
        assert_eq!(standings(Figure::GpuUtilization, [0.85, 0.97, 0.49]), table);
        assert_eq!(standings(Figure::GpuUtilization, [0.8, 0.6, 0.9997]), table);
        assert_eq!(targets.standing(Figure::Mfu, 0.5), None);
    }
}
