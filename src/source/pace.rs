//! `Pace`: limits the CPU share of a source. Any answer (endless interim answers, chunks of a byte, compressed blocks without content)
//! costs CPU time, and a source that costs more than its share is read less often.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;

/// Cheaper answers need no rest: at the shortest tick, 200 ms, this is a quarter of a core. A real page costs a tenth of it.
const LITTLE: Duration = Duration::from_millis(50);
/// After a successful answer, a source rests for three times its cost: at most a quarter of a core.
const REST_AFTER_GOOD: u32 = 3;
/// After a failed one, nine times: a tenth of a core.
const REST_AFTER_FAILED: u32 = 9;

/// The time from which a source may be read again.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

/// A request in progress.
#[derive(Debug)]
pub(super) struct Asking {
    started: Instant,
    cpu: Duration,
}

impl Pace {
    /// Starts a request; `None` if it is too early.
    pub(super) fn ask(&self) -> Option<Asking> {
        let started = Instant::now();
        let rests = held(&self.0).is_some_and(|until| started < until);
        (!rests).then(|| Asking {
            started,
            cpu: cpu(),
        })
    }

    /// Records the outcome of a request.
    pub(super) fn note(&self, asking: &Asking, good: bool) {
        let cost = cpu().saturating_sub(asking.cpu);
        *held(&self.0) = asking.rests_until(cost, good);
    }
}

impl Asking {
    /// The end of the rest after an answer of this `cost`. It counts from the start of the request: waiting for the answer is rest, too.
    fn rests_until(&self, cost: Duration, good: bool) -> Option<Instant> {
        let times = if good {
            REST_AFTER_GOOD
        } else {
            REST_AFTER_FAILED
        };
        (cost > LITTLE).then(|| self.started + cost * (times + 1))
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// CPU time of the whole program, because parsing is spread over tasks. Other work may be included, but a cheap answer completes within
/// milliseconds.
fn cpu() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(tv_sec), u32::try_from(tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_source_rests_in_proportion_to_its_cost() {
        for (good, seconds) in [(true, 4), (false, 10)] {
            let pace = Pace::default();
            let asking = pace.ask().unwrap();
            let until = asking.rests_until(Duration::from_secs(1), good);
            *held(&pace.0) = until;
            tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
            assert!(pace.ask().is_none());
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(pace.ask().is_some());
            assert_eq!(asking.rests_until(LITTLE, good), None);
        }
    }
}
