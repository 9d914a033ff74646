//! Accounted spans of one engine: those of the trailing window, and the sums of all that are settled.

use std::collections::VecDeque;

use roofline::units::Seconds;

use super::account::{Account, PerPhase, TimeSpent};
use super::backfill;
use super::engine::MeterSettings;
use super::spend::Spend;
use super::verdict;
use roofline::bound::{Bound, TimeSeconds};
use roofline::engine::EngineFacts;

/// Half a tick of grace keeps the number of spans in a window even when scrapes jitter.
const GRACE: Seconds = Seconds(0.5);

/// An accounted stretch of time.
#[derive(Clone, Debug)]
pub struct AccountedSpan {
    /// Unix time of its start.
    pub start: Seconds,
    /// Unix time of its end.
    pub end: Seconds,
    /// What happened in it.
    pub account: Account,
    /// How much of it vLLM could not be read; nothing bounds that.
    pub unread: Seconds,
}

/// The newest spans, enough for one window, and the settled sums.
///
/// A span is settled when its successor has handed back to it what ran early, or when nothing runs any more that could be.
#[derive(Debug, Default)]
pub struct Spans {
    /// Sums of all settled spans, every prompt's work where it ran.
    pub settled: Account,
    /// Settled busy seconds by phase.
    pub phase_seconds: PerPhase<Seconds>,
    /// Settled seconds in which nothing ran, summed span by span: the difference of sums falls by a rounding error now and then, and
    /// Prometheus takes a counter that falls for one that began again.
    idle_seconds: Seconds,
    /// Settled seconds by bound, every span under its own.
    pub bound_seconds: [Seconds; Bound::ALL.len()],
    newest: VecDeque<AccountedSpan>,
    /// Dollars and joules of settled spans.
    pub spend: Spend,
    /// What spans are judged and priced by when they settle.
    settings: MeterSettings,
    /// Whether the newest of them is still missing in the sums.
    unsettled: bool,
}

impl Spans {
    /// Takes the next span.
    pub(super) fn push(
        &mut self,
        span: AccountedSpan,
        facts: &EngineFacts,
        settings: &MeterSettings,
    ) {
        self.settings = *settings;
        self.newest.push_back(span);
        backfill::reassign(self.newest.make_contiguous());
        if self.unsettled {
            self.settle(self.newest.len() - 2, facts);
        }
        self.unsettled = true;
    }

    /// Adds the span at `place`, which no later one is to change any more, to the sums.
    fn settle(&mut self, place: usize, facts: &EngineFacts) {
        if let Some(span) = self.newest.get(place) {
            let (judged, price) = (self.settings.overhead_below, self.settings.gpu_hour_price);
            let bound = verdict::bound(&span.account.time_spent(), judged);
            self.bound_seconds[bound as usize] +=
                (span.account.seconds - span.unread).max(Seconds::ZERO);
            self.phase_seconds.add(span.account.phase_seconds(facts));
            self.idle_seconds += span.account.idle_seconds();
            self.spend.add(&span.account, facts, price);
            self.settled.add(&span.account);
        }
    }

    /// Where the settled seconds went, or `None` while the model or the GPU is unknown.
    #[must_use]
    pub fn time_seconds(&self) -> Option<TimeSeconds> {
        self.settled.time_seconds().map(|time| TimeSeconds {
            idle: self.idle_seconds,
            ..time
        })
    }

    /// Settles the newest span, to which nothing will be handed back any more.
    pub(super) fn settle_newest(&mut self, facts: &EngineFacts) {
        if self.unsettled {
            self.settle(self.newest.len().saturating_sub(1), facts);
            self.unsettled = false;
        }
    }

    /// Forgets the window; the sums stay.
    pub(super) fn clear(&mut self, facts: &EngineFacts) {
        self.settle_newest(facts);
        self.newest.clear();
    }

    /// The newest span.
    #[must_use]
    pub fn newest(&self) -> Option<&AccountedSpan> {
        self.newest.back()
    }

    /// Where the seconds of the `length` up to the end of the newest span went; of the whole newest span, where that is longer.
    #[must_use]
    pub(super) fn recently(&self, length: Seconds) -> Option<TimeSpent> {
        let newest = self.newest()?;
        let since = newest.end - length - GRACE;
        let mut spent = newest.account.time_spent();
        let before = self.newest.iter().rev().skip(1);
        for span in before.take_while(|span| span.start >= since) {
            spent.add(&span.account.time_spent());
        }
        Some(spent)
    }

    /// The spans of the `length` up to `now` as one, or `None` if there are none.
    pub(super) fn window(
        &mut self,
        now: Seconds,
        length: Seconds,
        facts: &EngineFacts,
    ) -> Option<AccountedSpan> {
        let longest = length + GRACE;
        while self.newest.len() > 1 && now - self.newest[0].start > longest {
            self.newest.pop_front();
        }
        // A span alone may be longer than the window.
        if self.newest().is_some_and(|span| now - span.end > longest) {
            self.clear(facts);
        }
        sum(&self.newest)
    }
}

/// Neighbouring spans as one.
#[must_use]
pub fn sum<'a>(spans: impl IntoIterator<Item = &'a AccountedSpan>) -> Option<AccountedSpan> {
    let mut spans = spans.into_iter();
    let mut whole = spans.next()?.clone();
    for span in spans {
        whole.end = span.end;
        whole.unread += span.unread;
        whole.account.add(&span.account);
    }
    Some(whole)
}
