//! The effect of a remedy: the measured load, predicted without and with it.
//!
//! The predictor gives the ratio, the measurement gives the level. Two limits apply. A remedy against one component of busy time saves at
//! most that component's share (Amdahl's law). And no figure may exceed the roofline bound of the changed deployment.

use serde::{Deserialize, Serialize};

use crate::predict::{Latency, Scenario, Serving};
use crate::spec::to_f64;
use crate::units::{Seconds, ratio};

/// The measured load: token lengths, and the number of requests in the engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObservedLoad {
    /// Tokens of each prompt.
    pub input_tokens: f64,
    /// Prompt tokens found in the prefix cache.
    pub cached_tokens: f64,
    /// Tokens generated for each.
    pub output_tokens: f64,
    /// Requests running.
    pub(super) running: f64,
    /// Requests running and waiting: an upper bound for any remedy.
    pub offered: f64,
}

impl ObservedLoad {
    fn serving(&self) -> Serving {
        Serving {
            input_tokens: self.input_tokens,
            cached_tokens: self.cached_tokens,
            output_tokens: self.output_tokens,
            batch: self.offered,
            ..Serving::default()
        }
    }
}

/// User-visible latency and throughput, and their cost; `None` where unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Output tokens per second.
    pub output_tokens_per_second: Option<f64>,
    /// Mean time to first token.
    pub ttft_seconds: Option<f64>,
    /// Mean time per output token.
    pub tpot_seconds: Option<f64>,
    /// Dollars per million output tokens, the time of prompts included.
    pub dollars_per_million_tokens: Option<f64>,
}

/// The factors by which a remedy changes the measured figures, and their upper bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gain {
    throughput: f64,
    ttft: f64,
    tpot: f64,
    /// GPUs after the change divided by GPUs now.
    gpus: f64,
    limit: Option<Latency>,
}

/// A change whose effect is to be predicted.
#[derive(Clone, Debug)]
pub(super) struct LoadChange {
    /// The deployment with the change.
    pub(super) scenario: Scenario,
    /// Concurrent requests after the change, as far as there are as many.
    pub(super) running: f64,
    /// Share of busy time that the change affects: the time per token cannot shrink by more.
    pub(super) acts_on: f64,
    /// GPUs after the change divided by GPUs now.
    pub(super) gpus: f64,
    /// Engines after the change divided by engines now, each with its share of the load.
    pub(super) replicas: f64,
}

impl Gain {
    /// The effect of `change` on `load`, which `now` serves; `None` where either cannot be predicted.
    #[must_use]
    pub(super) fn of(now: &Scenario, load: &ObservedLoad, change: &LoadChange) -> Option<Self> {
        let before = predicted(now, load, load.running, 1.0)?;
        let running = change.running.min(load.offered / change.replicas).max(1.0);
        let after = predicted(&change.scenario, load, running, change.replicas)?;
        let left = 1.0 - change.acts_on;
        let grown = running * change.replicas / load.running;
        let of = |after: Seconds, before: Seconds| ratio(after.0, before.0);
        let throughput = after.output_tokens_per_second_expected * change.replicas
            / before.output_tokens_per_second_expected;
        // Each request adds at most its own throughput, and a change saves at most its component's share of time.
        let most = (grown / left.max(1e-3)).max(1.0);
        Some(Self {
            throughput: throughput.min(most),
            ttft: of(after.ttft_steady_seconds, before.ttft_steady_seconds)?,
            tpot: of(after.tpot_expected_seconds, before.tpot_expected_seconds)?.max(left),
            gpus: change.gpus,
            limit: Some(after),
        })
    }

    /// What is left where a share of busy time goes away.
    #[must_use]
    pub(super) fn without(share: f64) -> Self {
        let left = (1.0 - share).max(0.05);
        Self {
            throughput: 1.0 / left,
            ttft: left,
            tpot: left,
            gpus: 1.0,
            limit: None,
        }
    }

    /// The benefit for users on a logarithmic scale: the sum over the user-visible figures, so that a gain in one at the cost of another
    /// counts less. The time to first token has half the weight, and throughput counts only where the traffic does not limit it.
    #[must_use]
    pub(super) fn benefit(&self, felt: &Effect, traffic_limits: bool) -> f64 {
        let gained = |felt: Option<f64>, factor: f64| felt.map_or(0.0, |_| factor.max(1e-9).ln());
        let throughput = felt.output_tokens_per_second.filter(|_| !traffic_limits);
        gained(throughput, self.throughput)
            - 0.5 * gained(felt.ttft_seconds, self.ttft)
            - gained(felt.tpot_seconds, self.tpot)
    }

    /// `measured` after the remedy; where the traffic limits the throughput, it stays.
    #[must_use]
    pub(super) fn applied(&self, measured: &Effect, replicas: f64, traffic_limits: bool) -> Effect {
        let limit = self.limit.as_ref();
        let most = limit.map_or(f64::INFINITY, |limit| {
            limit.output_tokens_per_second_bound * replicas
        });
        let least = |pick: fn(&Latency) -> Seconds| limit.map_or(0.0, |limit| pick(limit).0);
        let throughput = measured.output_tokens_per_second.map(|rate| {
            if traffic_limits {
                rate
            } else {
                (rate * self.throughput).min(most.max(rate))
            }
        });
        let factor = throughput
            .zip(measured.output_tokens_per_second)
            .and_then(|(then, now)| ratio(then, now));
        Effect {
            output_tokens_per_second: throughput,
            ttft_seconds: measured.ttft_seconds.map(|seconds| {
                (seconds * self.ttft).max(least(|limit| limit.ttft_bound_seconds).min(seconds))
            }),
            tpot_seconds: measured.tpot_seconds.map(|seconds| {
                (seconds * self.tpot).max(least(|limit| limit.tpot_bound_seconds).min(seconds))
            }),
            dollars_per_million_tokens: measured
                .dollars_per_million_tokens
                .zip(factor)
                .and_then(|(dollars, factor)| ratio(dollars * self.gpus, factor)),
        }
    }
}

/// The prediction for one of `replicas` engines with its share of `load`, with `running` concurrent requests.
pub(super) fn predicted(
    scenario: &Scenario,
    load: &ObservedLoad,
    running: f64,
    replicas: f64,
) -> Option<Latency> {
    let predictor = scenario.predictor().ok()?;
    let serving = Serving {
        batch: (load.offered / replicas).max(running),
        ..load.serving()
    };
    let latency = predictor.latency_at(&serving, running)?;
    // A prediction covers all data-parallel replicas, a load one engine.
    let engines = to_f64(predictor.deployment.parallelism.data);
    Some(Latency {
        output_tokens_per_second_bound: latency.output_tokens_per_second_bound / engines,
        output_tokens_per_second_expected: latency.output_tokens_per_second_expected / engines,
        ..latency
    })
}
