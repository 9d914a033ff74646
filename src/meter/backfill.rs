//! vLLM counts a prompt at its first token; work that does not fit into that span ran in earlier ones.
//!
//! The deferred work moves back to spans with unexplained busy time, newest span first, no further than the prompts were in the engine
//! (their mean time to first token). Token counts stay where vLLM counted them.

use roofline::units::{Seconds, ratio};

use super::account::{Account, BusyTime, Work};
use super::spans::AccountedSpan;

/// Demand may exceed the available time by this share: the ceilings are not known better.
const TOLERANCE: f64 = 0.1;

/// Work that was counted in a span but must have run before it, with its roofline time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DeferredWork {
    /// Roofline time.
    pub time: BusyTime,
    /// Work.
    pub work: Work,
}

impl DeferredWork {
    /// The deferred part of `work`'s prompts, which need the time `wanted`, when the share `fitted` of it fits.
    pub(super) fn of(work: &Work, wanted: &BusyTime, fitted: f64) -> Option<Self> {
        let left = 1.0 - fitted;
        (fitted * (1.0 + TOLERANCE) < 1.0).then(|| Self {
            time: wanted.scaled(left),
            work: work.of_prefill(left),
        })
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.time.add(&other.time);
        self.work.add(&other.work);
    }

    fn scaled(&self, part: f64) -> Self {
        Self {
            time: self.time.scaled(part),
            work: self.work.of_prefill(part),
        }
    }
}

/// Moves deferred work from the newest of `spans` to earlier ones.
pub(super) fn reassign(spans: &mut [AccountedSpan]) {
    if let Some((newest, before)) = spans.split_last_mut() {
        hand_to(newest, before);
    }
}

/// The same for each of `spans`, in order of time.
pub fn settle(spans: &mut [AccountedSpan]) {
    for place in 1..spans.len() {
        let (before, rest) = spans.split_at_mut(place);
        hand_to(&mut rest[0], before);
    }
}

fn hand_to(newest: &mut AccountedSpan, before: &mut [AccountedSpan]) {
    let waited = newest.account.time_to_first_token.mean().unwrap_or(0.0);
    let arrived = newest.end - Seconds(waited);
    let mut next = newest.start;
    for span in before.iter_mut().rev() {
        let neighbours = (next - span.end).0.abs() < 1e-6;
        if newest.account.early.is_none() || !neighbours || span.end <= arrived {
            return;
        }
        next = span.start;
        newest.account.reassign(&mut span.account);
    }
}

impl Account {
    /// Moves as much deferred work to `earlier` as that has unexplained busy time for.
    fn reassign(&mut self, earlier: &mut Self) {
        let (Some(early), Some(room)) = (self.early, earlier.busy_time.as_ref()) else {
            return;
        };
        let Some(part) = ratio(room.unexplained_kernels().0, early.time.roofline().0) else {
            return;
        };
        let part = part.min(1.0);
        let moved = early.scaled(part);
        earlier.take_in(&moved);
        self.work = self.work.map(|work| work.less(&moved.work));
        self.early = (part < 1.0).then(|| early.scaled(1.0 - part));
    }

    fn take_in(&mut self, moved: &DeferredWork) {
        let seconds = moved.time.roofline();
        if let Some(time) = &mut self.busy_time {
            let before = time.unexplained();
            time.explain(seconds);
            let left = ratio(time.unexplained().0, before.0).unwrap_or(0.0);
            time.add(&moved.time);
            self.phase_overhead.prefill = self.phase_overhead.prefill * left;
            self.phase_overhead.decode = self.phase_overhead.decode * left;
        }
        self.phase_roofline.prefill += seconds;
        self.work.get_or_insert_default().add(&moved.work);
    }
}
