//! Two readings of one engine become an interval, or a gap with its reason.

use crate::sample::engine::{
    Counter, Counters, Distribution, EngineTotals, Gauge, Histograms, PromptCount,
};
use roofline::statistics::Histogram;
use roofline::units::Seconds;

/// Shorter intervals are discarded: scrape jitter would be a large part of them.
const SHORTEST: Seconds = Seconds(0.05);

/// The activity of one engine between two readings of its page.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Time of the first reading.
    pub start: Seconds,
    /// Time of the second reading.
    pub end: Seconds,
    /// The increase of each counter; absent if either page lacks it.
    pub grown: Counters,
    /// The observations of each histogram.
    pub observed: Histograms,
    /// The gauges at the start.
    pub before: GaugeReading,
    /// The gauges at the end.
    pub after: GaugeReading,
    /// Tokens per KV block.
    pub block_size: f64,
    /// Whether step counts are exact.
    pub single_api_server: bool,
    /// LoRA adapters that ran.
    pub running_adapters: f64,
    /// The source of the computed prompt tokens.
    pub prompt_count: PromptCount,
}

/// LoRA adapters that ran between two readings: those of the newest step with any, if it is new.
fn adapters_between(before: &EngineTotals, after: &EngineTotals) -> f64 {
    let last = before.adapters.unwrap_or_default().last;
    after
        .adapters
        .filter(|newest| newest.last > last)
        .map_or(0.0, |newest| newest.running)
}

/// The gauges of one reading that the core uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GaugeReading {
    /// Requests in the running batch.
    pub running: f64,
    /// Requests waiting.
    pub waiting: f64,
    /// Tokens in the KV cache, rounded up to blocks.
    pub resident_tokens: Option<f64>,
    /// Used share of the KV cache.
    pub kv_usage: Option<f64>,
    /// Tokens that the KV cache holds.
    pub kv_capacity_tokens: Option<f64>,
    /// Whether the engine sleeps.
    pub asleep: bool,
}

impl GaugeReading {
    /// Requests in the engine. A pooling engine never shows a running request: each finishes within the step that admits it.
    #[must_use]
    pub fn requests(&self) -> f64 {
        self.running + self.waiting
    }

    fn of(totals: &EngineTotals) -> Self {
        let gauge = |which| totals.gauges.get(which);
        Self {
            running: gauge(Gauge::Running).unwrap_or(0.0),
            waiting: gauge(Gauge::Waiting).unwrap_or(0.0),
            resident_tokens: totals.resident_tokens(),
            kv_usage: gauge(Gauge::KvCacheUsage),
            kv_capacity_tokens: totals.kv_capacity_tokens(),
            asleep: gauge(Gauge::Awake).is_some_and(|awake| awake < 0.5),
        }
    }
}

/// Why two readings do not make an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gap {
    /// vLLM restarted or re-created its metrics: the page shows it, or a counter went down.
    CounterReset,
    /// The readings are too close to each other.
    TooShort,
    /// The readings are too far apart for one window.
    TooLong,
    /// Engines appeared or disappeared.
    EnginesChanged,
    /// The clock was set, or the machine slept: times before and after are not comparable.
    ClockSet,
    /// The counters show more than the GPUs could do, or a value that is not a number.
    Implausible,
}

impl Gap {
    /// All reasons, as values of the label `reason`.
    pub const ALL: [Self; 6] = [
        Self::CounterReset,
        Self::TooShort,
        Self::TooLong,
        Self::EnginesChanged,
        Self::ClockSet,
        Self::Implausible,
    ];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CounterReset => "counter_reset",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::EnginesChanged => "engines_changed",
            Self::ClockSet => "clock_set",
            Self::Implausible => "implausible",
        }
    }
}

impl Interval {
    /// The interval from `before` to `after`.
    ///
    /// # Errors
    /// The [`Gap`] that makes the two readings incomparable: a restart, or a span outside 50 ms..=`longest`.
    pub fn between(
        before: &EngineTotals,
        after: &EngineTotals,
        longest: Seconds,
    ) -> Result<Self, Gap> {
        let span = after.time - before.time;
        if span < SHORTEST {
            return Err(Gap::TooShort);
        }
        let births = before.process_started.zip(after.process_started);
        if births.is_some_and(|(before, after)| before != after) {
            return Err(Gap::CounterReset);
        }
        let grown = grown(&before.counters, &after.counters)?;
        let observed = observed(&before.histograms, &after.histograms)?;
        if span > longest {
            return Err(Gap::TooLong);
        }
        Ok(Self {
            start: before.time,
            end: after.time,
            grown,
            observed,
            before: GaugeReading::of(before),
            after: GaugeReading::of(after),
            block_size: after.cache.block_size.unwrap_or(16.0),
            single_api_server: after.single_api_server,
            running_adapters: adapters_between(before, after),
            prompt_count: after.prompt_count,
        })
    }

    /// Length of the interval.
    #[must_use]
    pub fn seconds(&self) -> Seconds {
        self.end - self.start
    }

    /// Increase of `counter`; 0 if the page lacks it.
    #[must_use]
    pub(crate) fn grew(&self, counter: Counter) -> f64 {
        self.grown.get(counter).unwrap_or(0.0)
    }

    /// Prompt tokens that this engine computed, as vLLM counted them or as its prefix-cache lookups imply.
    #[must_use]
    pub(crate) fn computed_prompt_tokens(&self) -> f64 {
        self.grew(Counter::PromptTokensComputed)
    }

    /// The source of its prompt tokens; without prompt tokens there is no uncertainty.
    #[must_use]
    pub fn prompt_count(&self) -> PromptCount {
        if self.grew(Counter::PromptTokens) > 0.0 {
            self.prompt_count
        } else {
            PromptCount::Counted
        }
    }

    /// Requests that got their first token.
    #[must_use]
    pub fn first_tokens(&self) -> f64 {
        observations(self.observed.time_to_first_token.as_ref())
    }

    /// Decode request-steps: inter-token observations (one per running request and step, vLLM ≥ 0.9), otherwise output tokens except the
    /// first of each request.
    #[must_use]
    pub(crate) fn decode_request_steps(&self) -> f64 {
        self.observed.inter_token_latency.as_ref().map_or_else(
            || (self.grew(Counter::GenerationTokens) - self.first_tokens()).max(0.0),
            |latency| latency.count,
        )
    }

    /// Seconds that requests spent between tokens, summed over the requests.
    #[must_use]
    pub(crate) fn decode_request_seconds(&self) -> f64 {
        seconds(self.observed.inter_token_latency.as_ref())
    }

    /// Seconds that requests waited for their first token, summed over the requests.
    #[must_use]
    pub fn first_token_seconds(&self) -> f64 {
        seconds(self.observed.time_to_first_token.as_ref())
    }

    /// Engine steps with an output, as counted by every API server.
    #[must_use]
    pub fn iterations(&self) -> f64 {
        observations(self.observed.iteration_tokens.as_ref())
    }

    /// Seconds that requests spent in the engine, summed over the requests, as far as counted: up to their newest token.
    #[must_use]
    pub fn request_seconds(&self) -> Seconds {
        let to_first = self.observed.time_to_first_token.as_ref();
        Seconds(self.decode_request_seconds() + to_first.map_or(0.0, |times| times.sum))
    }

    /// Engine steps with an output, or `None` if several API servers would count them more than once.
    #[must_use]
    pub(crate) fn output_steps(&self) -> Option<f64> {
        let iterations = self.observed.iteration_tokens.as_ref()?;
        self.single_api_server.then_some(iterations.count)
    }

    /// Whether there was any output, so that the counters account for the work up to now.
    #[must_use]
    pub fn produced(&self) -> bool {
        self.grew(Counter::GenerationTokens) > 0.0
            || self.grew(Counter::PromptTokens) > 0.0
            || self.first_tokens() > 0.0
            || self.decode_request_steps() > 0.0
            || self.iterations() > 0.0
    }

    /// Whether requests are in the engine at the end.
    #[must_use]
    pub(crate) fn occupied(&self) -> bool {
        self.after.requests() > 0.0
    }
}

/// The sum of the observations; 0 if only bucket midpoints are known.
fn seconds(histogram: Option<&Histogram>) -> f64 {
    histogram
        .filter(|histogram| !histogram.sum_of_midpoints)
        .map_or(0.0, |histogram| histogram.sum)
}

fn observations(histogram: Option<&Histogram>) -> f64 {
    histogram.map_or(0.0, |histogram| histogram.count)
}

fn grown(before: &Counters, after: &Counters) -> Result<Counters, Gap> {
    let mut grown = Counters::default();
    for &counter in Counter::ALL {
        let (Some(from), Some(to)) = (before.get(counter), after.get(counter)) else {
            continue;
        };
        // NaN fails this comparison too, and then nothing may be derived from it.
        let growth = to - from;
        if growth >= 0.0 {
            grown.set(counter, growth);
        } else {
            return Err(Gap::CounterReset);
        }
    }
    Ok(grown)
}

fn observed(before: &Histograms, after: &Histograms) -> Result<Histograms, Gap> {
    let mut observed = Histograms::default();
    for &which in Distribution::ALL {
        let (Some(from), Some(to)) = (before.get(which), after.get(which)) else {
            continue;
        };
        let difference = to.since(from).ok_or(Gap::CounterReset)?;
        *observed.slot(which) = Some(difference);
    }
    Ok(observed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::engine::EngineKey;

    fn totals(time: f64, generated: f64) -> EngineTotals {
        let mut counters = Counters::default();
        counters.set(Counter::GenerationTokens, generated);
        let key = EngineKey {
            model_name: "m".into(),
            engine: "0".into(),
        };
        EngineTotals {
            counters,
            ..EngineTotals::empty(key, Seconds(time))
        }
    }

    fn gap(before: (f64, f64), after: (f64, f64)) -> Option<Gap> {
        Interval::between(
            &totals(before.0, before.1),
            &totals(after.0, after.1),
            Seconds(60.0),
        )
        .err()
    }

    #[test]
    fn restarts_and_odd_spans_are_gaps() {
        assert_eq!(gap((0.0, 5.0), (1.0, 7.0)), None);
        assert_eq!(gap((0.0, 5.0), (1.0, 4.0)), Some(Gap::CounterReset));
        assert_eq!(gap((0.0, 5.0), (0.01, 7.0)), Some(Gap::TooShort));
        assert_eq!(gap((5.0, 5.0), (1.0, 7.0)), Some(Gap::TooShort));
        assert_eq!(gap((0.0, 5.0), (61.0, 7.0)), Some(Gap::TooLong));
        assert_eq!(gap((0.0, 5.0), (1.0, f64::NAN)), Some(Gap::CounterReset));
    }

    #[test]
    fn intervals_add_up() {
        let readings = [totals(0.0, 1.0), totals(1.0, 5.0), totals(3.0, 6.0)];
        let grew = |from: usize, to: usize| {
            Interval::between(&readings[from], &readings[to], Seconds(60.0))
                .unwrap()
                .grew(Counter::GenerationTokens)
        };
        assert!((grew(0, 2) - grew(0, 1) - grew(1, 2)).abs() < 1e-12);
    }
}
