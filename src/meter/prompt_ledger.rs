//! Estimates the computed prompt tokens of a vLLM that does not count them (before 0.16), from its lookups in the prefix cache.
//!
//! vLLM looks a request up at its admission, and counts its prompt at its first token. So lookups are held in a ledger until prompts
//! balance them: over time none counts twice and none is lost, whatever the mix of requests.
//!
//! While the KV cache is full, vLLM repeats the lookup of a request that waits for blocks at every step, and before 0.11.2 also that of a
//! preempted request, which then finds its own tokens. The ledger then holds more than the running requests can have looked up. The excess
//! is discarded, and the share found is that of the finished requests, if vLLM counts it (0.13 on), otherwise that of times without
//! repeated lookups, if there were any.

use crate::sample::engine::{Counter, Distribution, EngineTotals, Gauge, PromptCount};
use crate::sample::metrics::MetricQuantity;
use roofline::units::{Seconds, ratio};

/// Half-life of the sums.
const HALF_LIFE: Seconds = Seconds(60.0);
/// From this used share of the KV cache, a chunk of a prompt may need more blocks than are free.
const SHORT_OF_BLOCKS: f64 = 0.5;
/// Fewer requests than this may have met an empty cache, and are not representative.
const ENOUGH_REQUESTS: f64 = 8.0;

/// A sum, and a part of it: tokens looked up and found, requests and their tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    whole: f64,
    part: f64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.whole += other.whole;
        self.part += other.part;
    }

    fn scaled(self, factor: f64) -> Self {
        Self {
            whole: self.whole * factor,
            part: self.part * factor,
        }
    }

    /// Limits the sum to `most`, in the same proportion.
    fn at_most(self, most: f64) -> Self {
        self.scaled(ratio(most, self.whole).map_or(1.0, |factor| factor.min(1.0)))
    }

    fn since(self, before: Self) -> Self {
        Self {
            whole: self.whole - before.whole,
            part: self.part - before.part,
        }
    }

    fn per_whole(self) -> Option<f64> {
        ratio(self.part, self.whole)
    }

    /// What remains when nothing is open: the tokens found in excess of, or missing from, the prompts so far.
    fn owed(self) -> Self {
        let part = if self.whole > 0.0 {
            self.part.min(0.0)
        } else {
            self.part
        };
        Self { whole: 0.0, part }
    }

    /// The share of the tokens looked up that was found, limited to 0..=1.
    fn share(self) -> Option<f64> {
        self.per_whole().map(|share| share.clamp(0.0, 1.0))
    }
}

/// The relevant values of one reading.
#[derive(Clone, Copy, Debug)]
struct LedgerReading {
    time: Seconds,
    /// Tokens looked up and found, if the page has these metrics.
    lookups: Option<Sums>,
    /// Requests with a first token, and the tokens of their prompts.
    prompts: Sums,
    /// Prompt tokens of finished requests, and how many of them were computed.
    finished: Sums,
    /// Preempted requests, if `lookups` includes them.
    preempted: f64,
    running: f64,
    /// Whether requests may wait for blocks.
    is_short: bool,
    is_idle: bool,
}

/// Lookups whose prompts are not yet counted, and the estimated share found.
#[derive(Debug, Default)]
pub(super) struct PromptLedger {
    before: Option<LedgerReading>,
    /// Computed prompt tokens since the first reading of this run of vLLM.
    computed: f64,
    /// Tokens looked up and found that are not yet balanced.
    open: Sums,
    /// Lookups of times without repetitions.
    calm: Sums,
    prompts: Sums,
    finished: Sums,
    /// Preempted requests that were looked up again with the tokens that they had computed.
    preempted: f64,
    /// The newest share found.
    share: f64,
}

impl PromptLedger {
    /// Adds the computed prompt tokens to `totals`, if vLLM did not count them.
    pub(super) fn complete(&mut self, totals: &mut EngineTotals) {
        if totals.counters.get(Counter::PromptTokensComputed).is_some()
            || totals.counters.get(Counter::PromptTokens).is_none()
        {
            return;
        }
        let now = LedgerReading::of(totals);
        let before = self.before.replace(now);
        totals.prompt_count = match before.filter(|before| now.follows(before)) {
            Some(before) => self.take(&before, &now),
            None => self.open_at(&now),
        };
        totals
            .counters
            .set(Counter::PromptTokensComputed, self.computed);
    }

    /// Forgets everything: earlier values do not apply to what follows.
    pub(super) fn forget(&mut self) {
        *self = Self {
            before: self.before,
            ..Self::default()
        };
    }

    /// The same, where `totals`, already completed, are the base of later comparisons.
    pub(super) fn start_over(&mut self, totals: &mut EngineTotals) {
        self.forget();
        if totals.prompt_count != PromptCount::Counted {
            totals
                .counters
                .set(Counter::PromptTokensComputed, self.computed);
        }
    }

    /// The first reading of a run of vLLM: only its mean since the start is known.
    fn open_at(&mut self, now: &LedgerReading) -> PromptCount {
        self.forget();
        let Some(lookups) = now.lookups else {
            return PromptCount::Unknown;
        };
        let mean_prompt = now.prompts.per_whole().unwrap_or(0.0);
        let running = (now.running + 1.0) * mean_prompt;
        let waiting = (lookups.whole - now.prompts.part).clamp(0.0, running);
        self.share = lookups.share().unwrap_or(0.0);
        self.open = lookups.at_most(waiting);
        if lookups.whole <= now.prompts.part + running {
            self.calm = lookups.at_most(running);
        }
        PromptCount::Estimated
    }

    /// Processes the difference between two readings.
    fn take(&mut self, before: &LedgerReading, now: &LedgerReading) -> PromptCount {
        let prompts = now.prompts.since(before.prompts);
        let Some((lookups, earlier)) = now.lookups.zip(before.lookups) else {
            self.computed += prompts.part;
            return PromptCount::Unknown;
        };
        let looked_up = lookups.since(earlier);
        let kept = 0.5_f64.powf((now.time - before.time).max(Seconds::ZERO).0 / HALF_LIFE.0);
        self.open.add(looked_up);
        self.prompts = self.prompts.scaled(kept);
        self.prompts.add(prompts);
        self.finished = self.finished.scaled(kept);
        self.finished.add(now.finished.since(before.finished));
        self.preempted = self.preempted * kept + now.preempted - before.preempted;

        // Upper bound of what the running requests, and those of the prompts, can have looked up once.
        let once = self
            .prompts
            .per_whole()
            .map(|mean| mean * (before.running.max(now.running) + 1.0) + prompts.part);
        let excess = once.map_or(0.0, |once| (self.open.whole - once).max(0.0));
        let is_short = before.is_short || now.is_short;
        let mut count = PromptCount::Estimated;
        if is_short && (excess > 0.0 || self.has_preempted()) {
            count = self.discard(excess);
        } else {
            // Clients that disconnect before their first token never balance their lookups.
            self.open = self.open.at_most(self.open.whole - excess * (1.0 - kept));
            if !is_short {
                self.calm = self.calm.scaled(kept);
                self.calm.add(looked_up);
            }
        }
        self.take_off(prompts.part, kept);
        if now.is_idle {
            self.open = self.open.owed();
        }
        count
    }

    /// Whether the newest lookups include those of preempted requests.
    fn has_preempted(&self) -> bool {
        self.preempted >= 0.5
    }

    /// Discards repeated lookups, which do not represent other requests.
    fn discard(&mut self, excess: f64) -> PromptCount {
        let counted = self.finished.share().map(|computed| 1.0 - computed);
        let enough = self.prompts.per_whole().unwrap_or(0.0) * ENOUGH_REQUESTS;
        let calm = (self.calm.whole >= enough).then(|| self.calm.share());
        let share = counted.or(calm.flatten()).or_else(|| self.open.share());
        let share = share.unwrap_or(0.0);
        let whole = self.open.whole - excess;
        self.open = Sums {
            whole,
            part: whole * share,
        };
        if counted.is_some() {
            PromptCount::Estimated
        } else {
            PromptCount::Roughly
        }
    }

    /// Counts `tokens` of prompts, and balances their lookups.
    fn take_off(&mut self, tokens: f64, kept: f64) {
        match self.open.share() {
            Some(share) => self.share = share,
            // Nothing was looked up for these prompts, or it was long ago.
            None if tokens > 0.0 => self.share *= kept,
            None => {}
        }
        let found = tokens * self.share;
        self.computed += tokens - found;
        // 0.8 counts whole blocks only, so prompts may balance more than there is; the excess is carried over.
        self.open = Sums {
            whole: (self.open.whole - tokens).max(0.0),
            part: self.open.part - found,
        };
    }
}

impl LedgerReading {
    fn of(totals: &EngineTotals) -> Self {
        let gauge = |which| totals.gauges.get(which);
        let histogram = |which| totals.histograms.get(which);
        let running = gauge(Gauge::Running).unwrap_or(0.0);
        let waiting = gauge(Gauge::Waiting).unwrap_or(0.0);
        let usage = gauge(Gauge::KvCacheUsage);
        let sum = |which| {
            histogram(which)
                .filter(|histogram| !histogram.sum_of_midpoints)
                .map(|histogram| histogram.sum)
        };
        let finished =
            sum(Distribution::RequestPromptTokens).zip(sum(Distribution::RequestComputedTokens));
        Self {
            time: totals.time,
            lookups: lookups(totals),
            prompts: Sums {
                whole: histogram(Distribution::TimeToFirstToken).map_or(0.0, |times| times.count),
                part: totals.counters.get(Counter::PromptTokens).unwrap_or(0.0),
            },
            finished: finished.map_or_else(Sums::default, |(whole, part)| Sums { whole, part }),
            // Since 0.11.2 they are counted separately, and so are a KV connector's.
            preempted: totals
                .counters
                .get(Counter::Preemptions)
                .filter(|_| {
                    !totals.has(MetricQuantity::Counter(Counter::ExternalPrefixCacheQueries))
                })
                .unwrap_or(0.0),
            running,
            is_short: waiting > 0.0 && usage.is_none_or(|used| used > SHORT_OF_BLOCKS),
            is_idle: running + waiting <= 0.0,
        }
    }

    /// Whether it belongs to the same run of vLLM.
    fn follows(&self, before: &Self) -> bool {
        let grew = |now: Sums, before: Sums| now.whole >= before.whole;
        let lookups = self.lookups.zip(before.lookups);
        grew(self.prompts, before.prompts)
            && self.prompts.part >= before.prompts.part
            && lookups.is_none_or(|(now, before)| grew(now, before))
    }
}

/// Tokens looked up and found since the start of vLLM: in the prefix cache, and for the rest, through a KV connector. The engine before V1
/// exports no counters for them, but a share.
fn lookups(totals: &EngineTotals) -> Option<Sums> {
    let counter = |which| totals.counters.get(which);
    let own = counter(Counter::PrefixCacheQueries).zip(counter(Counter::PrefixCacheHits));
    let external =
        counter(Counter::ExternalPrefixCacheQueries).zip(counter(Counter::ExternalPrefixCacheHits));
    if own.is_none() && external.is_none() {
        let share = totals.gauges.get(Gauge::PrefixCacheHitRate)?;
        let prompts = counter(Counter::PromptTokens)?;
        return Some(Sums {
            whole: prompts,
            part: prompts * share,
        });
    }
    let ((queries, hits), (asked, given)) = (own.unwrap_or_default(), external.unwrap_or_default());
    Some(Sums {
        whole: queries.max(hits + asked),
        part: hits + given,
    })
}
