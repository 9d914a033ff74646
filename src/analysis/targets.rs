//! `Targets`: what counts as good and as bad. The defaults are the user's own table.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::figure::Figure;
use super::run::Measured;
use super::text;
use crate::config::duration::Span;
use crate::units::Seconds;

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

/// Targets as flags.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Targets")]
pub struct TargetFlags {
    /// Output tokens per second that are good [default: 200]
    #[arg(long, value_name = "TOKENS/S")]
    pub throughput_good: Option<f64>,
    /// Output tokens per second that are bad if less [default: 150]
    #[arg(long, value_name = "TOKENS/S")]
    pub throughput_bad: Option<f64>,
    /// Median time to first token that is good [default: 100ms]
    #[arg(long, value_name = "DURATION")]
    pub ttft_good: Option<Span>,
    /// Median time to first token that is bad if more [default: 500ms]
    #[arg(long, value_name = "DURATION")]
    pub ttft_bad: Option<Span>,
    /// Median time per output token that is good [default: 50ms]
    #[arg(long, value_name = "DURATION")]
    pub tpot_good: Option<Span>,
    /// Median time per output token that is bad if more [default: 100ms]
    #[arg(long, value_name = "DURATION")]
    pub tpot_bad: Option<Span>,
    /// GPU utilization that is good, in percent [default: 80-95]
    #[arg(long, value_name = "LOW-HIGH", value_parser = percent_range)]
    pub gpu_utilization_good: Option<(f64, f64)>,
    /// GPU utilization that is bad below LOW and from HIGH on, in percent [default: 50-100]
    #[arg(long, value_name = "LOW-HIGH", value_parser = percent_range)]
    pub gpu_utilization_bad: Option<(f64, f64)>,
}

/// `80-95`, as shares.
fn percent_range(text: &str) -> Result<(f64, f64), String> {
    let range = text
        .trim_end_matches('%')
        .split_once('-')
        .and_then(|(low, high)| {
            let (low, high): (f64, f64) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
            (0.0 <= low && low <= high && high <= 100.0).then_some((low / 100.0, high / 100.0))
        });
    range.ok_or_else(|| format!("`{text}` is no range of percent such as 80-95"))
}

impl TargetFlags {
    /// The targets: as given, else the defaults.
    ///
    /// # Errors
    /// A good value that is worse than the bad one.
    pub fn targets(&self) -> Result<Targets, String> {
        let known = Targets::default();
        let good = self
            .gpu_utilization_good
            .unwrap_or((known.gpu_utilization_good, known.gpu_utilization_good_up_to));
        let bad = self
            .gpu_utilization_bad
            .unwrap_or((known.gpu_utilization_bad, known.gpu_utilization_full));
        let seconds = |given: Option<Span>, default: Seconds| given.map_or(default, Span::seconds);
        let targets = Targets {
            throughput_good: self.throughput_good.unwrap_or(known.throughput_good),
            throughput_bad: self.throughput_bad.unwrap_or(known.throughput_bad),
            ttft_good_seconds: seconds(self.ttft_good, known.ttft_good_seconds),
            ttft_bad_seconds: seconds(self.ttft_bad, known.ttft_bad_seconds),
            tpot_good_seconds: seconds(self.tpot_good, known.tpot_good_seconds),
            tpot_bad_seconds: seconds(self.tpot_bad, known.tpot_bad_seconds),
            gpu_utilization_good: good.0,
            gpu_utilization_good_up_to: good.1,
            gpu_utilization_bad: bad.0,
            gpu_utilization_full: bad.1,
        };
        let order = [
            (
                "--throughput-bad",
                "--throughput-good",
                targets.throughput_bad,
                targets.throughput_good,
            ),
            (
                "--ttft-good",
                "--ttft-bad",
                targets.ttft_good_seconds.0,
                targets.ttft_bad_seconds.0,
            ),
            (
                "--tpot-good",
                "--tpot-bad",
                targets.tpot_good_seconds.0,
                targets.tpot_bad_seconds.0,
            ),
            (
                "the low end of --gpu-utilization-bad",
                "that of --gpu-utilization-good",
                bad.0,
                good.0,
            ),
            (
                "the high end of --gpu-utilization-good",
                "that of --gpu-utilization-bad",
                good.1,
                bad.1,
            ),
        ];
        for (less, more, low, high) in order {
            if low > high {
                return Err(format!("{less} must not be above {more}"));
            }
        }
        Ok(targets)
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
        let ttft = latency.ttft.as_ref().and_then(|ttft| ttft.p50_seconds);
        let tpot = latency.per_token().and_then(|tpot| tpot.p50_seconds);
        let throughput = measured.rates.output_tokens_per_second;
        let verdicts = [
            (
                Figure::OutputTokensPerSecond,
                throughput,
                self.throughput(throughput),
            ),
            (
                Figure::TtftP50Seconds,
                ttft,
                below(ttft, self.ttft_good_seconds, self.ttft_bad_seconds),
            ),
            (
                Figure::TpotP50Seconds,
                tpot,
                below(tpot, self.tpot_good_seconds, self.tpot_bad_seconds),
            ),
            (
                Figure::GpuUtilization,
                measured.gpu_utilization,
                self.gpu_utilization(measured.gpu_utilization),
            ),
        ];
        verdicts
            .into_iter()
            .filter_map(|(figure, value, judged)| {
                let (standing, target) = judged?;
                Some(Verdict {
                    figure,
                    value: value?,
                    standing,
                    target,
                })
            })
            .collect()
    }

    /// Each target in words.
    #[must_use]
    pub fn in_words(&self) -> Vec<(&'static str, String)> {
        let judged = [
            (Figure::OutputTokensPerSecond, self.throughput(Some(0.0))),
            (
                Figure::TtftP50Seconds,
                below(Some(0.0), self.ttft_good_seconds, self.ttft_bad_seconds),
            ),
            (
                Figure::TpotP50Seconds,
                below(Some(0.0), self.tpot_good_seconds, self.tpot_bad_seconds),
            ),
            (Figure::GpuUtilization, self.gpu_utilization(Some(0.0))),
        ];
        let told = judged
            .into_iter()
            .filter_map(|(figure, judged)| Some((figure.label(), judged?.1)));
        told.collect()
    }

    fn throughput(&self, value: Option<f64>) -> Option<(Standing, String)> {
        let value = value?;
        let standing = if value > self.throughput_good {
            Standing::Good
        } else if value < self.throughput_bad {
            Standing::Bad
        } else {
            Standing::Fair
        };
        let target = format!(
            "good above {}, bad below {}",
            text::count(self.throughput_good),
            text::count(self.throughput_bad)
        );
        Some((standing, target))
    }

    fn gpu_utilization(&self, value: Option<f64>) -> Option<(Standing, String)> {
        // As it is shown: 99.96 % is 100.0 %.
        let value = (value? * 1000.0).round() / 1000.0;
        let standing = if value < self.gpu_utilization_bad || value >= self.gpu_utilization_full {
            Standing::Bad
        } else if (self.gpu_utilization_good..=self.gpu_utilization_good_up_to).contains(&value) {
            Standing::Good
        } else {
            Standing::Fair
        };
        let whole = |share: f64| format!("{:.0} %", share * 100.0);
        let target = format!(
            "good from {} to {}, bad below {} and at {}",
            whole(self.gpu_utilization_good),
            whole(self.gpu_utilization_good_up_to),
            whole(self.gpu_utilization_bad),
            whole(self.gpu_utilization_full)
        );
        Some((standing, target))
    }
}

fn below(value: Option<f64>, good: Seconds, bad: Seconds) -> Option<(Standing, String)> {
    let value = value?;
    let standing = if value < good.0 {
        Standing::Good
    } else if value > bad.0 {
        Standing::Bad
    } else {
        Standing::Fair
    };
    let target = format!(
        "good below {}, bad above {}",
        text::duration(good.0),
        text::duration(bad.0)
    );
    Some((standing, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_table_is_the_default() {
        let targets = TargetFlags::default().targets().unwrap();
        let throughput = |value| targets.throughput(Some(value)).unwrap().0;
        assert_eq!(
            [throughput(201.0), throughput(200.0), throughput(149.0)],
            [Standing::Good, Standing::Fair, Standing::Bad]
        );
        let ttft = |value| {
            below(
                Some(value),
                targets.ttft_good_seconds,
                targets.ttft_bad_seconds,
            )
            .unwrap()
            .0
        };
        assert_eq!(
            [ttft(0.09), ttft(0.3), ttft(0.6)],
            [Standing::Good, Standing::Fair, Standing::Bad]
        );
        let gpu = |value| targets.gpu_utilization(Some(value)).unwrap().0;
        assert_eq!(
            [gpu(0.85), gpu(0.97), gpu(0.6)],
            [Standing::Good, Standing::Fair, Standing::Fair]
        );
        assert_eq!([gpu(0.49), gpu(1.0), gpu(0.9997)], [Standing::Bad; 3]);
    }

    #[test]
    fn targets_in_the_wrong_order_are_named() {
        let flags = TargetFlags {
            throughput_good: Some(10.0),
            ..TargetFlags::default()
        };
        assert_eq!(
            flags.targets().unwrap_err(),
            "--throughput-bad must not be above --throughput-good"
        );
        assert!(percent_range("95-80").is_err());
        assert!(percent_range("80").is_err());
    }
}
