//! `Distribution`: latencies as percentiles, with their uncertainty.

use serde::{Deserialize, Serialize};

use roofline::statistics::Histogram;
use roofline::statistics::quantile;

/// A 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceInterval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How percentiles were obtained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PercentileOrigin {
    /// Computed here from single requests, linearly interpolated.
    #[default]
    Requests,
    /// As the tool printed them.
    Tool,
    /// Interpolated within the buckets of a vLLM histogram.
    Histogram,
}

impl PercentileOrigin {
    /// Label for the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "from single requests",
            Self::Tool => "as the tool printed them",
            Self::Histogram => "from vLLM's histogram",
        }
    }
}

/// A distribution of latencies, in seconds. Values that the source does not have are `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How the percentiles were obtained.
    pub origin: PercentileOrigin,
    /// Observations.
    pub count: Option<f64>,
    /// Mean.
    pub mean_seconds: Option<f64>,
    /// Standard deviation of the population.
    pub std_seconds: Option<f64>,
    /// Smallest.
    pub min_seconds: Option<f64>,
    /// Median; where buckets do not resolve it, the most likely value within them.
    pub p50_seconds: Option<f64>,
    /// The bounds of such a median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_between_seconds: Option<[f64; 2]>,
    /// 90th percentile.
    pub p90_seconds: Option<f64>,
    /// 95th percentile.
    pub p95_seconds: Option<f64>,
    /// 99th percentile.
    pub p99_seconds: Option<f64>,
    /// Largest.
    pub max_seconds: Option<f64>,
    /// Confidence interval of the median.
    pub p50_interval: Option<ConfidenceInterval>,
    /// Confidence interval of the 99th percentile; `None` for few requests.
    pub p99_interval: Option<ConfidenceInterval>,
    /// Points of the cumulative distribution, `[share, seconds]`, ascending.
    pub quantiles: Vec<[f64; 2]>,
}

/// Shares at which the cumulative distribution is kept.
const SHARES: [f64; 15] = [
    0.0, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95, 0.99, 1.0,
];

impl Distribution {
    /// The distribution of `samples`; `None` without any.
    #[must_use]
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = samples
            .into_iter()
            .filter(|sample| sample.is_finite())
            .collect();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len() as f64;
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let mean = sorted.iter().sum::<f64>() / count;
        let variance = sorted
            .iter()
            .map(|sample| (sample - mean).powi(2))
            .sum::<f64>()
            / count;
        let at = |q| quantile(&sorted, q);
        Some(Self {
            origin: PercentileOrigin::Requests,
            count: Some(count),
            mean_seconds: Some(mean),
            std_seconds: Some(variance.sqrt()),
            min_seconds: Some(min),
            p50_seconds: at(0.5),
            p50_between_seconds: None,
            p90_seconds: at(0.9),
            p95_seconds: at(0.95),
            p99_seconds: at(0.99),
            max_seconds: Some(max),
            p50_interval: rank_interval(&sorted, 0.5),
            p99_interval: rank_interval(&sorted, 0.99),
            quantiles: SHARES
                .iter()
                .filter_map(|&share| Some([share, at(share)?]))
                .collect(),
        })
    }

    /// The distribution of a vLLM histogram; `None` if it is empty. Within the lowest bucket only the mean is known, which stands for the
    /// median; quantiles above the median are unknown there.
    #[must_use]
    pub fn of_histogram(histogram: &Histogram) -> Option<Self> {
        let mean = histogram.mean()?;
        let lowest = histogram.buckets.first().map_or(0.0, |bucket| bucket.1);
        let at = |q: f64| {
            let resolved = q <= 0.5 || q * histogram.count > lowest;
            histogram.quantile(q).filter(|_| resolved)
        };
        Some(Self {
            origin: PercentileOrigin::Histogram,
            count: Some(histogram.count),
            mean_seconds: Some(mean),
            p50_seconds: at(0.5),
            p50_between_seconds: histogram.percentile(0.5).between(),
            p90_seconds: at(0.9),
            p95_seconds: at(0.95),
            p99_seconds: at(0.99),
            quantiles: known_shares(histogram),
            ..Self::default()
        })
    }

    /// Uses what a tool printed, and fills the gaps from the requests that the tool wrote out.
    #[must_use]
    pub fn printed(self, computed: Option<Self>) -> Self {
        let computed = computed.unwrap_or_default();
        Self {
            origin: PercentileOrigin::Tool,
            count: self.count.or(computed.count),
            mean_seconds: self.mean_seconds.or(computed.mean_seconds),
            std_seconds: self.std_seconds.or(computed.std_seconds),
            min_seconds: self.min_seconds.or(computed.min_seconds),
            p50_seconds: self.p50_seconds.or(computed.p50_seconds),
            p50_between_seconds: None,
            p90_seconds: self.p90_seconds.or(computed.p90_seconds),
            p95_seconds: self.p95_seconds.or(computed.p95_seconds),
            p99_seconds: self.p99_seconds.or(computed.p99_seconds),
            max_seconds: self.max_seconds.or(computed.max_seconds),
            p50_interval: computed.p50_interval.or_else(|| self.median_interval()),
            p99_interval: computed.p99_interval,
            quantiles: if computed.quantiles.len() > self.quantiles.len() {
                computed.quantiles
            } else {
                self.quantiles
            },
        }
    }

    /// Interval of the median where only mean and deviation are known: its standard error is √(π/2) times the mean's if the values are
    /// normally distributed; latencies have a longer tail, which makes this too wide, not too narrow.
    fn median_interval(&self) -> Option<ConfidenceInterval> {
        let error = (std::f64::consts::PI / 2.0).sqrt() * self.std_seconds? / self.count?.sqrt();
        let median = self.p50_seconds?;
        Some(ConfidenceInterval {
            low: (median - NORMAL_95 * error).max(0.0),
            high: median + NORMAL_95 * error,
        })
    }
}

/// What a histogram determines exactly: the share within each bound, up to the bound that contains all observations.
fn known_shares(histogram: &Histogram) -> Vec<[f64; 2]> {
    let finite = histogram.buckets.iter().filter(|(le, _)| le.is_finite());
    let mut shares = Vec::new();
    for &(le, at_most) in finite {
        let share = at_most / histogram.count;
        if share > 0.0 {
            shares.push([share, le]);
        }
        if share >= 1.0 {
            break;
        }
    }
    shares
}

/// Two-sided 95 % quantile of the normal distribution.
const NORMAL_95: f64 = 1.96;

/// Interval of the percentile `q` from the ranks that it has with 95 % probability, whatever the distribution; `None` where a rank lies
/// outside the samples.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks are checked to lie within the samples"
)]
fn rank_interval(sorted: &[f64], q: f64) -> Option<ConfidenceInterval> {
    let count = sorted.len() as f64;
    let spread = NORMAL_95 * (count * q * (1.0 - q)).sqrt();
    let low = (count * q - spread).floor();
    let high = (count * q + spread).ceil();
    (low >= 1.0 && high < count).then(|| ConfidenceInterval {
        low: sorted[low as usize - 1],
        high: sorted[high as usize],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_numpys() {
        // numpy.percentile([1, 2, 4, 8], [50, 90, 95, 99]) = [3.0, 6.8, 7.4, 7.88]
        let found = Distribution::of([8.0, 1.0, 4.0, 2.0]).unwrap();
        let close = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-12;
        assert!(close(found.p50_seconds, 3.0) && close(found.p90_seconds, 6.8));
        assert!(close(found.p95_seconds, 7.4) && close(found.p99_seconds, 7.88));
    }

    #[test]
    fn the_interval_of_a_median_holds_it_and_needs_enough_samples() {
        let many = Distribution::of((1..=101).map(f64::from)).unwrap();
        let interval = many.p50_interval.unwrap();
        assert!(interval.low < 51.0 && 51.0 < interval.high);
        assert_eq!(many.p99_interval, None, "a hundred samples do not tell P99");
        let few = Distribution::of([1.0, 2.0, 3.0]).unwrap();
        assert_eq!(few.p50_interval, None);
        let printed = Distribution {
            origin: PercentileOrigin::Tool,
            std_seconds: Some(1.0),
            ..few
        }
        .printed(None);
        assert!(printed.p50_interval.is_some());
    }

    #[test]
    fn what_a_tool_printed_outranks_what_is_computed() {
        let computed = Distribution::of([1.0, 2.0, 3.0]);
        let printed = Distribution {
            p50_seconds: Some(2.5),
            ..Distribution::default()
        };
        let both = printed.printed(computed);
        assert_eq!(both.p50_seconds, Some(2.5));
        assert_eq!(both.mean_seconds, Some(2.0));
        assert_eq!(both.origin, PercentileOrigin::Tool);
    }

    #[test]
    fn a_histogram_tells_the_shares_within_its_bounds_and_no_more() {
        let histogram = Histogram {
            buckets: vec![
                (0.01, 60.0),
                (0.025, 90.0),
                (0.05, 100.0),
                (f64::INFINITY, 100.0),
            ],
            sum: 1.2,
            count: 100.0,
            sum_of_midpoints: false,
        };
        let found = Distribution::of_histogram(&histogram).unwrap();
        assert_eq!(found.quantiles, [[0.6, 0.01], [0.9, 0.025], [1.0, 0.05]]);
        assert_eq!(found.p50_between_seconds, Some([0.0, 0.01]));
    }

    #[test]
    fn nothing_and_nonsense_are_no_distribution() {
        assert_eq!(Distribution::of([]), None);
        assert_eq!(Distribution::of([f64::NAN]), None);
        assert_eq!(Distribution::of_histogram(&Histogram::default()), None);
    }
}
