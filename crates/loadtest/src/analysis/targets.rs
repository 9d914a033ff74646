//! `Targets`: what counts as good and as bad. The defaults are the user's own table.

use serde::{Deserialize, Serialize};

use super::figure::Figure;
use super::run::Measured;
use super::text;
use roofline::units::Seconds;

/// What counts as good and as bad; between the two is fair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// Output tokens per second from which on a run is good.
    pub throughput_good: f64,
    /// Output tokens per second under which it is bad.
    pub throughput_bad: f64,
    /// Median time to first token up to which it is good.
    pub ttft_good_seconds: Seconds,
    /// The same beyond which it is bad.
    pub ttft_bad_seconds: Seconds,
    /// Median time per output token up to which it is good.
    pub tpot_good_seconds: Seconds,
    /// The same beyond which it is bad.
    pub tpot_bad_seconds: Seconds,
    /// GPU utilisation from which on it is good.
    pub gpu_utilization_good: f64,
    /// GPU utilisation up to which it is good.
    pub gpu_utilization_good_up_to: f64,
    /// GPU utilisation under which it is bad.
    pub gpu_utilization_bad: f64,
    /// GPU utilisation from which on there is no headroom, which is bad too.
    pub gpu_utilization_full: f64,
}

impl Default for Targets {
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

/// How a figure stands against its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// On target.
    Good,
    /// Between good and bad.
    Fair,
    /// Off target.
    Bad,
}

impl Standing {
    /// Its name; also the CSS class.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Bad => "bad",
        }
    }
}

/// A figure against its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which figure.
    pub figure: Figure,
    /// Its measured value.
    pub value: f64,
    /// How it stands.
    pub standing: Standing,
    /// The target in words.
    pub target: String,
}

impl Targets {
    /// The verdicts on what was measured, as far as it was.
    #[must_use]
    pub fn judge(&self, measured: &Measured) -> Vec<Verdict> {
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
            (Figure::GpuUtilization, measured.gpu_utilization),
        ];
        let verdicts = values.into_iter().filter_map(|(figure, value)| {
            let value = value?;
            Some(Verdict {
                figure,
                value,
                standing: self.standing(figure, value)?,
                target: self.in_words(figure)?,
            })
        });
        verdicts.collect()
    }

    /// How `value` stands; `None` where `figure` has no target.
    #[must_use]
    pub fn standing(&self, figure: Figure, value: f64) -> Option<Standing> {
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
                // As it is shown: 99.96 % is 100.0 %.
                let value = (value * 1000.0).round() / 1000.0;
                let good = self.gpu_utilization_good..=self.gpu_utilization_good_up_to;
                let bad = value < self.gpu_utilization_bad || value >= self.gpu_utilization_full;
                (good.contains(&value), bad)
            }
            _ => return None,
        };
        Some(match (good, bad) {
            (_, true) => Standing::Bad,
            (true, false) => Standing::Good,
            (false, false) => Standing::Fair,
        })
    }

    /// The target of `figure` in words, where it has one.
    #[must_use]
    pub fn in_words(&self, figure: Figure) -> Option<String> {
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

    /// The figures that have a target.
    pub const FIGURES: [Figure; 4] = [
        Figure::OutputTokensPerSecond,
        Figure::TtftP50Seconds,
        Figure::TpotP50Seconds,
        Figure::GpuUtilization,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_table_is_the_default() {
        let targets = Targets::default();
        let standings =
            |figure, values: [f64; 3]| values.map(|value| targets.standing(figure, value).unwrap());
        let table = [Standing::Good, Standing::Fair, Standing::Bad];
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
