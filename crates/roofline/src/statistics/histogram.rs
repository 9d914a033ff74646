//! Prometheus histograms as cumulative bucket counts.

/// A cumulative histogram, or the difference of two of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// `(le, observations ≤ le)`, ascending, the last `le` infinite. Empty where a page carries only sum and count.
    pub buckets: Vec<(f64, f64)>,
    /// Sum of the observed values.
    pub sum: f64,
    /// Number of observations.
    pub count: f64,
    /// Whether `sum` was computed from bucket midpoints, as Ray's metrics agent does: then there is no mean.
    pub sum_of_midpoints: bool,
}

/// A bucket resolves a percentile if its upper bound is at most this many times its lower one: interpolation within it is then off by at
/// most a sixth.
const RESOLVED: f64 = 1.35;

/// What the buckets determine about a percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Percentile {
    /// No observations, or none in buckets.
    Unknown,
    /// Between these bounds.
    Between(f64, f64),
    /// Approximately this.
    Known(f64),
}

impl Percentile {
    /// Its value, if the buckets resolve it.
    #[must_use]
    pub const fn known(self) -> Option<f64> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }

    /// Its bounds, if the buckets do not resolve it.
    #[must_use]
    pub const fn between(self) -> Option<[f64; 2]> {
        match self {
            Self::Between(low, high) => Some([low, high]),
            _ => None,
        }
    }
}

impl Histogram {
    /// Adds `count` to the bucket `le`, in ascending order. Repeated bounds are summed, for example over label sets.
    pub fn add_bucket(&mut self, le: f64, count: f64) {
        match self
            .buckets
            .binary_search_by(|(bound, _)| bound.total_cmp(&le))
        {
            Ok(found) => self.buckets[found].1 += count,
            Err(place) => self.buckets.insert(place, (le, count)),
        }
    }

    /// The observations since `earlier`, or `None` if any count went down (a restart).
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut buckets = Vec::with_capacity(self.buckets.len());
        for &(le, count) in &self.buckets {
            buckets.push((le, count - earlier.at_most(le)));
        }
        let difference = Self {
            buckets,
            sum: self.sum - earlier.sum,
            count: self.count - earlier.count,
            sum_of_midpoints: self.sum_of_midpoints || earlier.sum_of_midpoints,
        };
        let went_down =
            difference.count < 0.0 || difference.buckets.iter().any(|&(_, count)| count < 0.0);
        (!went_down).then_some(difference)
    }

    /// Adds the observations of `other`.
    pub fn merge(&mut self, other: &Self) {
        for &(le, count) in &other.buckets {
            self.add_bucket(le, count);
        }
        self.sum += other.sum;
        self.count += other.count;
        self.sum_of_midpoints |= other.sum_of_midpoints;
    }

    /// Observations in the bucket bounded by exactly `le`; 0 where there is no such bucket.
    fn at_most(&self, le: f64) -> f64 {
        self.buckets
            .binary_search_by(|(bound, _)| bound.total_cmp(&le))
            .map_or(0.0, |found| self.buckets[found].1)
    }

    /// Mean of the observations, or `None` without any, or where only bucket midpoints are known.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0.0 && !self.sum_of_midpoints).then(|| self.sum / self.count)
    }

    /// What the buckets determine about the quantile `q` in 0..=1.
    #[must_use]
    pub fn percentile(&self, q: f64) -> Percentile {
        let Some(mean) = self.mean().filter(|_| !self.buckets.is_empty()) else {
            return Percentile::Unknown;
        };
        let rank = q * self.count;
        let reached = self
            .buckets
            .iter()
            .position(|(_, at_most)| *at_most >= rank);
        let Some(place) = reached else {
            return Percentile::Unknown;
        };
        let low = place
            .checked_sub(1)
            .map_or(0.0, |below| self.buckets[below].0);
        // Markov's inequality: at most the share (1 − q) lies above mean / (1 − q).
        let high = self.buckets[place].0.min(mean / (1.0 - q)).max(low);
        if high <= low * RESOLVED {
            self.quantile(q).map_or(Percentile::Unknown, |value| {
                Percentile::Known(value.clamp(low, high))
            })
        } else {
            Percentile::Between(low, high)
        }
    }

    /// The quantile `q` in 0..=1, interpolated within its bucket as `histogram_quantile` does.
    ///
    /// In the lowest bucket, interpolation from 0 is meaningless (vLLM's lowest inter-token bucket is 10 ms, above a whole decode step of a
    /// fast GPU), so there the mean is the better estimate: it is measured, and the bound caps it.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count <= 0.0 {
            return None;
        }
        let rank = q * self.count;
        let mut below = (0.0, 0.0);
        for (position, &(le, at_most)) in self.buckets.iter().enumerate() {
            if at_most >= rank {
                if position == 0 {
                    return self.mean().map(|mean| mean.min(le));
                }
                if le.is_infinite() {
                    return Some(below.0);
                }
                let inside = (at_most - below.1).max(f64::MIN_POSITIVE);
                return Some(below.0 + (le - below.0) * (rank - below.1) / inside);
            }
            below = (le, at_most);
        }
        self.mean()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(f64, f64)], sum: f64) -> Histogram {
        Histogram {
            buckets: buckets.to_vec(),
            sum,
            count: buckets.last().map_or(0.0, |last| last.1),
            sum_of_midpoints: false,
        }
    }

    #[test]
    fn quantiles_interpolate_and_use_the_mean_in_the_lowest_bucket() {
        let slow = histogram(&[(0.1, 0.0), (0.2, 10.0), (f64::INFINITY, 10.0)], 1.5);
        assert!((slow.quantile(0.5).unwrap() - 0.15).abs() < 1e-12);
        let fast = histogram(&[(0.01, 100.0), (f64::INFINITY, 100.0)], 0.645);
        assert!((fast.quantile(0.5).unwrap() - 0.00645).abs() < 1e-12);
        let beyond = histogram(&[(0.1, 0.0), (f64::INFINITY, 4.0)], 40.0);
        assert_eq!(beyond.quantile(0.5), Some(0.1));
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn differences_notice_a_restart_and_new_buckets() {
        let before = histogram(&[(1.0, 2.0), (f64::INFINITY, 3.0)], 5.0);
        let after = histogram(&[(1.0, 2.0), (8.0, 4.0), (f64::INFINITY, 7.0)], 30.0);
        let difference = after.since(&before).unwrap();
        assert_eq!(
            difference.buckets,
            [(1.0, 0.0), (8.0, 4.0), (f64::INFINITY, 4.0)]
        );
        assert_eq!(before.since(&after), None);
    }
}
