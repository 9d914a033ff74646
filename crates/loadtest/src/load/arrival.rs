//! `Schedule`: send times of the requests of an open loop.
//!
//! Gaps follow a gamma distribution of shape `b` (burstiness) and mean `1 / rate`, as in `vllm bench serve`: `b = 1` is a Poisson process,
//! a smaller `b` is burstier, a larger one steadier. If the number of requests is known, the gaps are scaled so that the last request is
//! sent after `n / rate`, again as vLLM's client does: otherwise the offered rate would vary from run to run.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Gamma};

/// Send times in seconds from the start, without end.
#[derive(Debug)]
pub(crate) struct Schedule {
    gaps: Gamma<f64>,
    scale: f64,
    random: SmallRng,
    time: f64,
}

impl Schedule {
    /// `rate` requests per second; `requests`, if known, are sent within `requests / rate` seconds. `None` unless rate and burstiness are
    /// positive.
    #[must_use]
    pub(crate) fn new(
        rate: f64,
        burstiness: f64,
        requests: Option<u32>,
        seed: u64,
    ) -> Option<Self> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(rate) || !positive(burstiness) {
            return None;
        }
        let mut schedule = Self {
            gaps: Gamma::new(burstiness, 1.0 / (rate * burstiness)).ok()?,
            scale: 1.0,
            random: SmallRng::seed_from_u64(seed),
            time: 0.0,
        };
        if let Some(requests) = requests {
            let mut rehearsal = schedule.random.clone();
            let total: f64 = (0..requests)
                .map(|_| schedule.gaps.sample(&mut rehearsal))
                .sum();
            schedule.scale = f64::from(requests) / rate / total;
        }
        Some(schedule)
    }
}

impl Iterator for Schedule {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        self.time += self.gaps.sample(&mut self.random) * self.scale;
        Some(self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and squared coefficient of variation of 20,000 gaps.
    fn gaps(rate: f64, burstiness: f64) -> (f64, f64) {
        let times: Vec<f64> = Schedule::new(rate, burstiness, None, 1)
            .unwrap()
            .take(20_001)
            .collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / 20_000.0;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 20_000.0;
        (mean, variance / mean.powi(2))
    }

    #[test]
    fn gaps_have_the_rate_and_the_burstiness_asked_for() {
        for (rate, burstiness) in [(10.0, 1.0), (2.0, 0.25), (50.0, 4.0)] {
            let (mean, variation) = gaps(rate, burstiness);
            assert!((mean * rate - 1.0).abs() < 0.05, "{mean} at {rate}/s");
            // A gamma distribution of shape b has the squared coefficient of variation 1/b.
            assert!(
                (variation * burstiness - 1.0).abs() < 0.15,
                "{variation} at {burstiness}"
            );
        }
    }

    #[test]
    fn a_known_number_of_requests_is_sent_in_its_time() {
        let last = Schedule::new(4.0, 0.5, Some(100), 3)
            .unwrap()
            .nth(99)
            .unwrap();
        assert!((last - 25.0).abs() < 1e-9, "{last}");
    }

    #[test]
    fn nonsense_is_no_schedule() {
        assert!(Schedule::new(0.0, 1.0, None, 1).is_none());
        assert!(Schedule::new(1.0, 0.0, None, 1).is_none());
        assert!(Schedule::new(f64::NAN, 1.0, None, 1).is_none());
    }
}
