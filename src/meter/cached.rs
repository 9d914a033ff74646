//! Which share of the prompt tokens was found in caches, for a vLLM that does not count the computed ones (before 0.16).
//!
//! Hits are counted when a request is admitted, its prompt at its first token, so a difference of the two is wrong over short times.
//! While the KV cache is full, a request that waits for blocks is looked up again at every step, so that hits may exceed prompts many
//! times over. The ratio of hits to lookups stands both, and is free of units: 0.8 counts blocks.

use std::collections::VecDeque;

use crate::sample::engine::{Counter, EngineTotals, Gauge};
use roofline::units::{Seconds, ratio};

use super::interval::Interval;

/// Lookups of at least so long ago are taken together: a few requests, so that a ratio is a mean of several.
const LEAST: Seconds = Seconds(5.0);
/// Prompts were admitted at most so many mean times to first token before they are counted.
const FIRST_TOKENS: f64 = 2.0;
/// Lookups before this are forgotten.
const LONGEST: Seconds = Seconds(120.0);

/// The lookups that one reading shows, since the start of vLLM.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Lookups {
    time: Seconds,
    /// In the prefix cache: looked up, found.
    own: (f64, f64),
    /// Through a KV connector, what the prefix cache did not have.
    external: (f64, f64),
}

/// The newest lookups of one engine.
#[derive(Debug, Default)]
pub(super) struct CachedShare {
    readings: VecDeque<Lookups>,
    /// The newest share known.
    newest: Option<f64>,
}

impl CachedShare {
    /// Takes one more reading.
    pub(super) fn observe(&mut self, totals: &EngineTotals) {
        if totals.counters.get(Counter::PromptTokensComputed).is_some() {
            return;
        }
        let now = Lookups::of(totals);
        if self.newest.is_none() {
            self.newest = now
                .share()
                .or_else(|| totals.gauges.get(Gauge::PrefixCacheHitRate));
        }
        self.readings.push_back(now);
        while self
            .readings
            .front()
            .is_some_and(|first| now.time - first.time > LONGEST)
        {
            self.readings.pop_front();
        }
    }

    /// Nothing so far can be compared with what comes.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The share of the prompt tokens of `interval` that was found, by the lookups of the time in which they were admitted; the newest
    /// one known where there were none.
    pub(super) fn over(&mut self, interval: &Interval) -> f64 {
        let waited = interval.observed.time_to_first_token.as_ref();
        let waited = waited
            .and_then(roofline::statistics::Histogram::mean)
            .unwrap_or(0.0);
        let from = interval.start - Seconds(FIRST_TOKENS * waited).max(LEAST);
        let before = self
            .readings
            .iter()
            .rev()
            .find(|reading| reading.time <= from);
        let lookups = before
            .or_else(|| self.readings.front())
            .zip(self.readings.back())
            .and_then(|(before, now)| now.since(before).share());
        self.newest = lookups.or(self.newest);
        self.newest.unwrap_or(0.0)
    }
}

impl Lookups {
    fn of(totals: &EngineTotals) -> Self {
        let counter = |which| totals.counters.get(which).unwrap_or(0.0);
        Self {
            time: totals.time,
            own: (
                counter(Counter::PrefixCacheQueries),
                counter(Counter::PrefixCacheHits),
            ),
            external: (
                counter(Counter::ExternalPrefixCacheQueries),
                counter(Counter::ExternalPrefixCacheHits),
            ),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            time: self.time,
            own: (self.own.0 - before.own.0, self.own.1 - before.own.1),
            external: (
                self.external.0 - before.external.0,
                self.external.1 - before.external.1,
            ),
        }
    }

    /// What was found of what was looked up, 0..=1; the connector has its share of what the prefix cache left. `None` without lookups.
    fn share(&self) -> Option<f64> {
        let found =
            |(queries, hits): (f64, f64)| ratio(hits, queries).map(|share| share.clamp(0.0, 1.0));
        let (own, external) = (found(self.own), found(self.external));
        if own.is_none() && external.is_none() {
            return None;
        }
        let left = (1.0 - own.unwrap_or(0.0)) * (1.0 - external.unwrap_or(0.0));
        Some(1.0 - left)
    }
}
