//! The time of finished requests: inside and outside the engine.

use roofline::statistics::Histogram;
use roofline::units::{Seconds, ratio};

use crate::meter::interval::Interval;

/// Total times of finished requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    /// Number of finished requests.
    pub finished: f64,
    /// Time from the arrival at the API server to the end.
    pub took: Seconds,
    /// Of this, the time queued for and in the engine.
    pub in_engine: Seconds,
}

impl Requests {
    /// The requests that finished in `interval`; empty if vLLM does not export all of these metrics.
    pub(super) fn of(interval: &Interval) -> Self {
        let observed = &interval.observed;
        let [Some(took), Some(queued), Some(inferred)] = [
            &observed.request_latency,
            &observed.request_queue,
            &observed.request_inference,
        ] else {
            return Self::default();
        };
        let sum = |histogram: &Histogram| Seconds(histogram.sum);
        Self {
            finished: took.count,
            took: sum(took),
            in_engine: sum(queued) + sum(inferred),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.finished += other.finished;
        self.took += other.took;
        self.in_engine += other.in_engine;
    }

    /// Mean time per request.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        ratio(self.took.0, self.finished)
    }

    /// Share of their time outside the engine: the API server's part.
    #[must_use]
    pub fn outside_share(&self) -> Option<f64> {
        ratio((self.took - self.in_engine).0, self.took.0).map(|share| share.clamp(0.0, 1.0))
    }
}
