//! The time to first token in a closed loop, for requests that arrive one by one and for a burst.
//!
//! With D a decode step, M the mixed steps that process one prompt of n tokens, P the time that these take longer than decode steps, and
//! `λ = running / (M + (o − 1)·TPOT)` the arrival rate of requests:
//!
//! * **steady**: `S = M + wait + outside`. Before its first step a request waits for the steps that are already scheduled,
//!   `R = w_d·(1 − λM)·D + w_m·λM·M/steps`, and for the prompts that arrived just before it, `½·λ·(R + M/2)·P`; never longer than all the
//!   others' prompts take. *outside* is HTTP, tokenising and transfer.
//! * **burst**: c requests start together. Steps fill the token budget with prompts; the average request is answered after half of them:
//!   `B = full step · (c/together + 1)/2`.
//! * Requests beyond those that fit wait for one cycle each (Little's law).
//!
//! A load of w waves has one burst: `TTFT = (1 − 1/w)·(S + queue) + B/w`. Published figures correspond to w = 10.

use crate::units::Seconds;

/// Requests that arrive one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steady {
    pub(super) running: f64,
    pub(super) output_tokens: f64,
    /// A step that only decodes.
    pub(super) decode: Seconds,
    pub(super) tpot: Seconds,
    pub(super) prefill: Prefill,
    /// Time to first token spent outside of steps.
    pub(super) outside: Seconds,
}

/// The steps that process one prompt, or `together` prompts, while other requests decode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefill {
    pub(super) seconds: Seconds,
    pub(super) steps: f64,
    /// Additional time compared with decode steps.
    pub(super) delay: Seconds,
    pub(super) together: f64,
}

impl Steady {
    /// Time to first token for a request that waits for `waits` steps: decode steps, and steps that process prompts.
    pub(super) fn ttft(&self, waits: (f64, f64)) -> Seconds {
        self.prefill.seconds + self.wait(waits) + self.outside
    }

    fn wait(&self, (decode_steps, mixed_steps): (f64, f64)) -> Seconds {
        if self.running <= 1.0 {
            return Seconds::ZERO;
        }
        let Prefill {
            seconds,
            steps,
            delay,
            together,
        } = self.prefill;
        let cycle = seconds + self.tpot * (self.output_tokens - 1.0);
        let arrivals = self.running / cycle.0;
        let reading = (arrivals * seconds.0).min(MOST_READING);
        let composed = seconds * (mixed_steps * reading / steps)
            + self.decode * (decode_steps * (1.0 - reading));
        let ahead = delay * (0.5 * arrivals * (composed + seconds * 0.5).0);
        let decodes = if self.output_tokens > 1.0 {
            decode_steps
        } else {
            0.0
        };
        let all_others = (self.running - together).max(0.0) / together;
        (composed + ahead).min(delay * all_others + self.decode * decodes)
    }
}

/// Maximum share of time for steps that process prompts: a stable queue needs the rest.
const MOST_READING: f64 = 0.95;

/// Requests that start at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    pub(super) prompts: f64,
    /// Prompts that fit in a step; 1 if a prompt fills one or more steps.
    pub(super) together: f64,
    /// Time of these steps.
    pub(super) seconds: Seconds,
}

impl Burst {
    /// Mean time to first token.
    pub(super) fn ttft(&self) -> Seconds {
        self.seconds * (0.5 * (self.prompts / self.together + 1.0))
    }
}

/// A load whose first requests start at once, followed by requests one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waves {
    pub(super) steady: Seconds,
    pub(super) burst: Seconds,
}

impl Waves {
    /// Mean time to first token of `waves` successive requests.
    pub(super) fn mean(&self, waves: f64) -> Seconds {
        let first = 1.0 / waves.max(1.0);
        self.steady * (1.0 - first) + self.burst * first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: (f64, f64) = (2.0, 1.5);

    fn steady(running: f64, output_tokens: f64) -> Steady {
        Steady {
            running,
            output_tokens,
            decode: Seconds(0.01),
            tpot: Seconds(0.011),
            prefill: Prefill {
                seconds: Seconds(0.05),
                steps: 1.0,
                delay: Seconds(0.04),
                together: 1.0,
            },
            outside: Seconds(0.004),
        }
    }

    #[test]
    fn a_request_alone_waits_for_nobody_and_more_requests_wait_longer() {
        let alone = steady(1.0, 100.0).ttft(WAITS);
        assert!((alone.0 - 0.054).abs() < 1e-12);
        let times: Vec<f64> = [2.0, 8.0, 32.0, 128.0]
            .map(|running| steady(running, 100.0).ttft(WAITS).0)
            .to_vec();
        assert!(times.is_sorted() && times[0] > alone.0, "{times:?}");
    }

    #[test]
    fn nobody_waits_for_more_than_all_the_others() {
        let prompts_only = steady(8.0, 1.0).ttft(WAITS);
        assert!(prompts_only.0 <= 0.054 + 7.0 * 0.04 + 1e-12);
    }

    #[test]
    fn a_burst_is_answered_after_half_of_its_steps() {
        let burst = |prompts: f64, together: f64| {
            Burst {
                prompts,
                together,
                seconds: Seconds(0.1),
            }
            .ttft()
            .0
        };
        assert!((burst(4.0, 4.0) - 0.1).abs() < 1e-12);
        assert!((burst(16.0, 4.0) - 0.25).abs() < 1e-12);
        let waves = Waves {
            steady: Seconds(1.0),
            burst: Seconds(3.0),
        };
        assert!((waves.mean(1.0).0 - 3.0).abs() < 1e-12);
        assert!((waves.mean(10.0).0 - 1.2).abs() < 1e-12);
    }
}
