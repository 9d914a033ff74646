//! The computed prompt tokens of a vLLM that does not count them (before 0.16), from its lookups in the prefix cache.
//!
//! A request is looked up when it is admitted, its prompt is counted at its first token. So lookups wait in a ledger until prompts take
//! them off: over time none counts twice and none is lost, whatever the mix of requests.
//!
//! While the KV cache is full, a request that waits for blocks is looked up anew at every step, and before 0.11.2 so is one that was
//! preempted, which finds what it computed itself. Then the ledger holds more than the running requests can have asked for. What is
//! too much is thrown away, and the share found is that of the requests that finished, where vLLM counts it (0.13 on), else that of
//! calmer times, if there were any.

use crate::sample::engine::{Counter, Distribution, EngineTotals, Gauge, PromptCount};
use crate::sample::metrics::MetricQuantity;
use roofline::units::{Seconds, ratio};

/// After this time half of what was seen is forgotten.
const HALF_LIFE: Seconds = Seconds(60.0);
/// From this used share of the KV cache on, a chunk of a prompt may want more blocks than there are.
const SHORT_OF_BLOCKS: f64 = 0.5;
/// Fewer requests than these may have met an empty cache, and say nothing of others.
const ENOUGH_REQUESTS: f64 = 8.0;

/// A sum, and what part of it is special: tokens looked up and found, requests and their tokens.
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

    /// No more than `most` of it, in the same proportion.
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

    /// What remains where nothing is open any more: what was found too much or too little for the prompts so far.
    fn owed(self) -> Self {
        let part = if self.whole > 0.0 {
            self.part.min(0.0)
        } else {
            self.part
        };
        Self { whole: 0.0, part }
    }

    /// `per_whole` of what is found of what was looked up.
    fn share(self) -> Option<f64> {
        self.per_whole().map(|share| share.clamp(0.0, 1.0))
    }
}

/// What one reading shows.
#[derive(Clone, Copy, Debug)]
struct LedgerReading {
    time: Seconds,
    /// Tokens looked up and found, where the page tells of lookups.
    lookups: Option<Sums>,
    /// Requests with a first token, and the tokens of their prompts.
    prompts: Sums,
    /// Prompt tokens of finished requests, and the computed ones of them.
    finished: Sums,
    /// Requests that were preempted, where those are in `lookups` too.
    preempted: f64,
    running: f64,
    /// Whether a request may wait for blocks.
    is_short: bool,
    is_idle: bool,
}

/// Lookups whose prompts are not counted yet, and what is known of the share that is found.
#[derive(Debug, Default)]
pub(super) struct PromptLedger {
    before: Option<LedgerReading>,
    /// Computed prompt tokens since the first reading of this life of vLLM.
    computed: f64,
    /// Looked up and found, and not taken off yet.
    open: Sums,
    /// Lookups of times in which none was repeated.
    calm: Sums,
    prompts: Sums,
    finished: Sums,
    /// Requests that were preempted, and looked up again with what they had computed.
    preempted: f64,
    /// The newest share found.
    share: f64,
}

impl PromptLedger {
    /// Adds to `totals` the computed prompt tokens, if vLLM did not count them.
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

    /// Nothing known so far says anything of what comes.
    pub(super) fn forget(&mut self) {
        *self = Self {
            before: self.before,
            ..Self::default()
        };
    }

    /// The same, where `totals`, which are completed, are what later ones are compared with.
    pub(super) fn start_over(&mut self, totals: &mut EngineTotals) {
        self.forget();
        if totals.prompt_count != PromptCount::Counted {
            totals
                .counters
                .set(Counter::PromptTokensComputed, self.computed);
        }
    }

    /// The first reading of a life of vLLM: what is known is the mean of that life.
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

    /// Takes what happened between two readings.
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

        // What the running requests, and those of the prompts, can have looked up once.
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
            // Clients that leave before their first token never take their lookups off.
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

    /// Whether lookups of preempted requests are among the newest.
    fn has_preempted(&self) -> bool {
        self.preempted >= 0.5
    }

    /// Throws away lookups that were repeated, which say nothing of what others find.
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

    /// Counts `tokens` of prompts, and takes their lookups off.
    fn take_off(&mut self, tokens: f64, kept: f64) {
        match self.open.share() {
            Some(share) => self.share = share,
            // Nothing was looked up for these prompts, or it was long ago.
            None if tokens > 0.0 => self.share *= kept,
            None => {}
        }
        let found = tokens * self.share;
        self.computed += tokens - found;
        // 0.8 counts whole blocks only, so that prompts may take off more than there is; what they found too much is left to the next.
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
            // Since 0.11.2 they are counted apart, and so are a KV connector's.
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

    /// Whether it is of the same life of vLLM.
    fn follows(&self, before: &Self) -> bool {
        let grew = |now: Sums, before: Sums| now.whole >= before.whole;
        let lookups = self.lookups.zip(before.lookups);
        grew(self.prompts, before.prompts)
            && self.prompts.part >= before.prompts.part
            && lookups.is_none_or(|(now, before)| grew(now, before))
    }
}

/// Tokens looked up and found since the start of vLLM: in the prefix cache, and of what that did not have, through a KV connector. The
/// engine before V1 has no counters of them, but a share.
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
