//! The clock of the program: Unix time, which can be set, and monotonic time.

use roofline::units::Seconds;

#[cfg(test)]
pub use paused::now;
#[cfg(test)]
pub(super) use paused::steady;
#[cfg(not(test))]
pub use system::now;
#[cfg(not(test))]
pub(super) use system::steady;

/// Maximum difference between the two times before the clock counts as set: more than a busy machine needs between the two readings, less
/// than a tick.
const SLACK: Seconds = Seconds(0.5);

/// The system's clocks.
#[cfg(not(test))]
mod system {
    use std::sync::LazyLock;
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    use roofline::units::Seconds;

    /// Current Unix time.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    #[must_use]
    pub fn now() -> Seconds {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Seconds(since.map_or(0.0, |since| since.as_secs_f64()))
    }

    /// Monotonic seconds since the start of the program, for durations.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub(in crate::sampler) fn steady() -> Seconds {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Seconds(START.elapsed().as_secs_f64())
    }
}

/// The clock of unit tests: tokio's, which a test pauses and advances. Each test has a thread, and time, of its own.
#[cfg(test)]
mod paused {
    use roofline::units::Seconds;
    use tokio::time::Instant;

    /// Unix time at which every test begins.
    const START: Seconds = Seconds(1_790_000_000.0);

    thread_local! {
        static STARTED: Instant = Instant::now();
    }

    /// Current Unix time.
    #[must_use]
    pub fn now() -> Seconds {
        START + steady()
    }

    /// Seconds since the test began.
    pub(in crate::sampler) fn steady() -> Seconds {
        Seconds(STARTED.with(Instant::elapsed).as_secs_f64())
    }
}

/// Detects that the clock was set, manually or by a time daemon. A machine that slept looks the same.
#[derive(Debug)]
pub(super) struct Clock {
    /// Unix time minus monotonic time, at the last check.
    offset: Seconds,
}

impl Clock {
    pub(super) fn started() -> Self {
        Self {
            offset: now() - steady(),
        }
    }

    /// Whether the clock was set since the last check.
    pub(super) fn was_set(&mut self) -> bool {
        let step = self.look(now() - steady());
        if let Some(step) = step {
            tracing::warn!(
                seconds = step.0,
                "the clock was set, or the machine slept: this tick is thrown away"
            );
        }
        step.is_some()
    }

    fn look(&mut self, offset: Seconds) -> Option<Seconds> {
        let step = offset - self.offset;
        self.offset = offset;
        (step.0.abs() > SLACK.0).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_noticed_once_and_drift_never() {
        let mut clock = Clock {
            offset: Seconds(1e9),
        };
        assert_eq!(clock.look(Seconds(1e9 + 0.2)), None);
        assert_eq!(clock.look(Seconds(1e9 + 0.4)), None);
        assert_eq!(clock.look(Seconds(1e9 + 0.6)), None);
        assert_eq!(clock.look(Seconds(1e9 - 3599.4)), Some(Seconds(-3600.0)));
        assert_eq!(clock.look(Seconds(1e9 - 3599.4)), None);
        assert_eq!(clock.look(Seconds(1e9 + 0.6)), Some(Seconds(3600.0)));
    }
}
