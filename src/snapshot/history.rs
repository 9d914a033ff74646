//! The last hour of an engine, in bounded memory.

use std::collections::VecDeque;

use roofline::bound::Bound;
use roofline::units::Seconds;
use serde::Serialize;

/// Length of the history.
const HOUR: Seconds = Seconds(3600.0);
/// Minimum time between points.
const EVERY: Seconds = Seconds(5.0);
/// Maximum number of engines with points at the full rate. With more engines, points are further apart, so that the total is bounded.
const ENGINES: usize = 16;

/// Time between two points of each of `engines`.
pub(super) fn spacing(engines: usize) -> Seconds {
    EVERY * engines.div_ceil(ENGINES).max(1) as f64
}

/// The last hour of an engine, oldest first.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct History(VecDeque<HistoryPoint>);

/// The state of an engine at one time; rates, means and percentiles refer to the trailing window. `None` is unknown.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HistoryPoint {
    /// Unix time.
    pub time: Seconds,
    /// Its bound.
    pub bound: Bound,
    /// Tokens sampled per second.
    pub output_tokens_per_second: Option<f32>,
    /// Mean time to first token.
    pub ttft_mean_seconds: Option<f32>,
    /// Its 95th percentile, where the buckets resolve it.
    pub ttft_p95_seconds: Option<f32>,
    /// Mean time per output token.
    pub tpot_mean_seconds: Option<f32>,
    /// Its 95th percentile, where the buckets resolve it.
    pub tpot_p95_seconds: Option<f32>,
    /// Used share of the KV cache.
    pub kv_cache_usage: Option<f32>,
    /// Requests running.
    pub running: Option<f32>,
    /// Requests waiting.
    pub waiting: Option<f32>,
    /// Power of the engine's GPUs.
    pub power_watts: Option<f32>,
}

impl HistoryPoint {
    /// A point with only its time and its bound.
    #[must_use]
    pub const fn at(time: Seconds, bound: Bound) -> Self {
        Self {
            time,
            bound,
            output_tokens_per_second: None,
            ttft_mean_seconds: None,
            ttft_p95_seconds: None,
            tpot_mean_seconds: None,
            tpot_p95_seconds: None,
            kv_cache_usage: None,
            running: None,
            waiting: None,
            power_watts: None,
        }
    }
}

impl History {
    /// Whether a point is due at `now`, with this `spacing`; also after the clock was set back.
    pub(super) fn is_due(&self, now: Seconds, spacing: Seconds) -> bool {
        self.0.back().is_none_or(|last| {
            let since = now - last.time;
            since >= spacing - Seconds(0.5) || since < Seconds::ZERO
        })
    }

    /// Adds `point`, and drops points beyond an hour at this `spacing`.
    pub(super) fn push(&mut self, point: HistoryPoint, spacing: Seconds) {
        self.0.push_back(point);
        while self.0.len() as f64 * spacing.0 > HOUR.0 {
            self.0.pop_front();
        }
    }

    /// The points, oldest first.
    pub fn points(&self) -> impl ExactSizeIterator<Item = &HistoryPoint> + DoubleEndedIterator {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_no_more_however_many_engines_there_are() {
        for engines in [1, 16, 17, 128] {
            let spacing = spacing(engines);
            let mut history = History::default();
            let mut now = Seconds(1e9);
            for _ in 0..8000 {
                if history.is_due(now, spacing) {
                    history.push(HistoryPoint::at(now, Bound::Idle), spacing);
                }
                now += Seconds(1.0);
            }
            let times: Vec<f64> = history.points().map(|point| point.time.0).collect();
            assert!(times.len() * engines <= 720 * ENGINES, "{engines} engines");
            let length = times[times.len() - 1] - times[0];
            let hour = HOUR.0 - 2.0 * spacing.0..=HOUR.0;
            assert!(hour.contains(&length), "{length}");
        }
    }
}
