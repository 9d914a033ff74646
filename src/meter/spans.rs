//! Accounted spans of one engine: those of the trailing window, and the sums of all settled ones.

use std::collections::VecDeque;

use roofline::units::Seconds;

use super::account::{Account, PerPhase, TimeSpent};
use super::backfill;
use super::engine::MeterSettings;
use super::spend::Spend;
use super::verdict;
use roofline::bound::{Bound, TimeSeconds};
use roofline::engine::EngineFacts;

/// Half a tick of tolerance keeps the number of spans in a window constant when scrapes jitter.
const GRACE: Seconds = Seconds(0.5);

/// An accounted time span.
#[derive(Clone, Debug)]
pub struct AccountedSpan {
    /// Unix time of its start.
    pub start: Seconds,
    /// Unix time of its end.
    pub end: Seconds,
    /// The account.
    pub account: Account,
    /// The part in which vLLM could not be read; it has no bound.
    pub unread: Seconds,
}

/// The newest spans, enough for one window, and the settled sums.
///
/// A span is settled when its successor has moved deferred work back into it, or when no running request can do so any more.
#[derive(Debug, Default)]
pub struct Spans {
    /// Sums of all settled spans, with every prompt's work where it ran.
    pub settled: Account,
    /// Settled busy seconds by phase.
    pub phase_seconds: PerPhase<Seconds>,
    /// Settled idle seconds, summed span by span: a difference of sums sometimes decreases by a rounding error, and Prometheus takes a
    /// decrease for a counter reset.
    idle_seconds: Seconds,
    /// Settled seconds by bound, each span attributed to its own.
    pub bound_seconds: [Seconds; Bound::ALL.len()],
    newest: VecDeque<AccountedSpan>,
    /// Dollars and joules of settled spans.
    pub spend: Spend,
    /// What spans are judged and priced by when they settle.
    settings: MeterSettings,
    /// Whether the newest span is not yet in the sums.
    unsettled: bool,
}

impl Spans {
    /// Adds the next span.
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

    /// Adds the span at `place`, which no later span can change, to the sums.
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

    /// The settled seconds by component, or `None` while the model or the GPU is unknown.
    #[must_use]
    pub fn time_seconds(&self) -> Option<TimeSeconds> {
        self.settled.time_seconds().map(|time| TimeSeconds {
            idle: self.idle_seconds,
            ..time
        })
    }

    /// Settles the newest span, into which no work can be moved any more.
    pub(super) fn settle_newest(&mut self, facts: &EngineFacts) {
        if self.unsettled {
            self.settle(self.newest.len().saturating_sub(1), facts);
            self.unsettled = false;
        }
    }

    /// Clears the window; the sums stay.
    pub(super) fn clear(&mut self, facts: &EngineFacts) {
        self.settle_newest(facts);
        self.newest.clear();
    }

    /// The newest span.
    #[must_use]
    pub fn newest(&self) -> Option<&AccountedSpan> {
        self.newest.back()
    }

    /// The seconds by component of the last `length` before the end of the newest span; of the whole newest span if that is longer.
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

    /// The spans of the last `length` up to `now`, merged, or `None` without spans.
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
        // A single span may be longer than the window.
        if self.newest().is_some_and(|span| now - span.end > longest) {
            self.clear(facts);
        }
        sum(&self.newest)
    }
}

/// Merges adjacent spans.
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
