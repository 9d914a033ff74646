//! The request queue over a time span.

use serde::Serialize;

use crate::meter::interval::Interval;
use roofline::engine::EngineFacts;
use roofline::units::{Seconds, ratio};

/// From this share of the KV cache, waiting requests are assumed to wait for blocks.
const KV_FULL: f64 = 0.95;

/// Seconds by state of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Queue {
    /// Running requests × seconds.
    pub running_seconds: f64,
    /// Waiting requests × seconds.
    pub waiting_seconds: f64,
    /// Seconds with a request waiting.
    pub queued: Seconds,
    /// Of these, seconds with the KV cache too full to admit one.
    pub kv_full: Seconds,
    /// Of these, seconds with `--max-num-seqs` requests running.
    pub seqs_full: Seconds,
    /// Used share of the KV cache × seconds.
    pub kv_usage_seconds: f64,
    /// Seconds with a known share.
    pub kv_known: Seconds,
    /// Maximum used share.
    pub kv_usage_most: Option<f64>,
    /// Capacity of the KV cache in tokens, as last known.
    pub kv_capacity_tokens: Option<f64>,
    /// The same while the cache was too full: another server may have taken over since.
    pub full_capacity_tokens: Option<f64>,
}

/// Means of the queue over a time span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct QueueMeans {
    /// Running requests.
    pub running: Option<f64>,
    /// Waiting requests.
    pub waiting: Option<f64>,
    /// Used share of the KV cache.
    pub kv_cache_usage: Option<f64>,
}

impl Queue {
    /// The means over `seconds`.
    #[must_use]
    pub fn means(&self, seconds: Seconds) -> QueueMeans {
        QueueMeans {
            running: ratio(self.running_seconds, seconds.0),
            waiting: ratio(self.waiting_seconds, seconds.0),
            kv_cache_usage: ratio(self.kv_usage_seconds, self.kv_known.0),
        }
    }

    /// Applies the gauges at each end of `interval` to the half next to it.
    pub(super) fn of(interval: &Interval, facts: &EngineFacts) -> Self {
        let half = interval.seconds() * 0.5;
        let limit = facts.max_num_seqs();
        let mut queue = Self::default();
        for moment in [interval.before, interval.after] {
            queue.running_seconds += moment.running * half.0;
            queue.waiting_seconds += moment.waiting * half.0;
            if let Some(usage) = moment.kv_usage {
                queue.kv_usage_seconds += usage * half.0;
                queue.kv_known += half;
                queue.kv_usage_most = most(queue.kv_usage_most, Some(usage));
            }
            queue.kv_capacity_tokens = moment.kv_capacity_tokens.or(queue.kv_capacity_tokens);
            if moment.waiting <= 0.0 {
                continue;
            }
            queue.queued += half;
            if moment.kv_usage.is_some_and(|usage| usage >= KV_FULL) {
                queue.kv_full += half;
                queue.full_capacity_tokens =
                    moment.kv_capacity_tokens.or(queue.full_capacity_tokens);
            }
            if limit.is_some_and(|limit| moment.running >= limit) {
                queue.seqs_full += half;
            }
        }
        queue
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.running_seconds += other.running_seconds;
        self.waiting_seconds += other.waiting_seconds;
        self.queued += other.queued;
        self.kv_full += other.kv_full;
        self.seqs_full += other.seqs_full;
        self.kv_usage_seconds += other.kv_usage_seconds;
        self.kv_known += other.kv_known;
        self.kv_usage_most = most(self.kv_usage_most, other.kv_usage_most);
        self.kv_capacity_tokens = other.kv_capacity_tokens.or(self.kv_capacity_tokens);
        self.full_capacity_tokens = other.full_capacity_tokens.or(self.full_capacity_tokens);
    }
}

/// The larger of two shares, where known.
fn most(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_that_was_full_outlives_the_server() {
        let starved = Queue {
            kv_capacity_tokens: Some(60_000.0),
            full_capacity_tokens: Some(60_000.0),
            ..Queue::default()
        };
        let next = Queue {
            kv_capacity_tokens: Some(462_000.0),
            ..Queue::default()
        };
        let mut both = starved;
        both.add(&next);
        assert_eq!(both.full_capacity_tokens, Some(60_000.0));
        assert_eq!(both.kv_capacity_tokens, Some(462_000.0));
    }
}
