//! The verdict: what holds an engine back, the evidence, and the remedies.
//!
//! One ranked list from plain figures of any source: the live exporter, a replay, or a load test. Requests that wait because of the KV
//! cache or `--max-num-seqs` rank before the hardware, and remedies that need no hardware rank first. The effect of a remedy is predicted
//! for the measured load, and bounded by the measurement ([`effect`]).

mod effect;
mod evidence;
mod finding;
mod outlook;
mod remedy;
mod replica;
mod shift;
#[cfg(test)]
mod tests;
mod text;

pub use effect::{Effect, ObservedLoad};
pub use finding::{Finding, FindingKind, Severity, diagnose};
pub use outlook::{Outlook, VerdictLevel};
pub use remedy::{Remedies, Remedy, RemedyKind};
pub use replica::Replica;
pub use shift::{Shift, best_remedies};

use crate::bound::{Admission, Bound, Dominant, EngineState};

/// An engine with a smaller idle share than this counts as busy.
const MOSTLY_BUSY: f64 = 0.05;

/// From this share of a request's time, the API server is behind.
const LAGGING: f64 = 0.2;

/// The measurements of an engine over a time span; `None` where unknown. Means, unless stated otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The state of the engine.
    pub state: EngineState,
    /// What bound it.
    pub bound: Bound,
    /// Why requests waited.
    pub admission: Admission,
    /// The dominant kind of bytes.
    pub dominant: Option<Dominant>,
    /// Shares of busy time by component, largest first.
    pub busy_shares: Vec<(Bound, f64)>,
    /// Share of time without a request.
    pub idle_share: f64,
    /// Requests running.
    pub running: Option<f64>,
    /// Requests waiting.
    pub waiting: Option<f64>,
    /// Used share of the KV cache.
    pub kv_usage: Option<f64>,
    /// Its maximum.
    pub kv_usage_most: Option<f64>,
    /// Tokens that the KV cache holds.
    pub kv_capacity_tokens: Option<f64>,
    /// Whether `--num-gpu-blocks-override` limits it.
    pub kv_blocks_overridden: bool,
    /// Preemptions per second.
    pub preemptions_per_second: f64,
    /// Requests of a decode step.
    pub decode_batch: Option<f64>,
    /// Tokens of a prompt.
    pub input_tokens: Option<f64>,
    /// Of these, tokens found in the prefix cache.
    pub cached_tokens: f64,
    /// Tokens of an output.
    pub output_tokens: Option<f64>,
    /// User-visible latency and throughput.
    pub users: Effect,
    /// Share of a request's time that passes outside the engine, in the API server.
    pub outside_share: Option<f64>,
    /// Seconds from the arrival of a request to its end.
    pub request_seconds: Option<f64>,
    /// HBM traffic over the datasheet peak, and whether it was measured.
    pub hbm_share: Option<(f64, bool)>,
    /// Modelled FLOPs over the datasheet peak.
    pub flops_share: Option<f64>,
    /// Share of readings with the clock held down by a power limit.
    pub power_limited_ratio: Option<f64>,
}

/// What decides which remedies are candidates for an [`Observation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemedySituation {
    bound: Bound,
    admission: Admission,
    dominant: Option<Dominant>,
    /// Whether the API server is behind.
    lags: bool,
    /// Whether the load is known.
    has_load: bool,
}

impl Observation {
    /// Share of busy time of `bound`.
    #[must_use]
    pub(crate) fn share_of(&self, bound: Bound) -> Option<f64> {
        let found = self.busy_shares.iter().find(|(other, _)| *other == bound);
        found.map(|(_, share)| *share)
    }

    /// The share of a request's time in the API server, where it exceeds the threshold.
    pub(crate) fn lag(&self) -> Option<f64> {
        self.outside_share.filter(|share| *share >= LAGGING)
    }

    /// User-visible figures. The engine's time per token excludes what the API server adds.
    #[must_use]
    pub fn felt(&self) -> Effect {
        let whole = self.lag().and(self.request_seconds);
        let tokens = self.output_tokens.filter(|tokens| *tokens > 1.5);
        let per_token = whole
            .zip(tokens)
            .map(|(whole, tokens)| {
                (whole - self.users.ttft_seconds.unwrap_or(0.0)) / (tokens - 1.0)
            })
            .filter(|seconds| {
                self.users
                    .tpot_seconds
                    .is_some_and(|engine| *seconds > engine)
            });
        Effect {
            tpot_seconds: per_token.or(self.users.tpot_seconds),
            ..self.users
        }
    }

    /// Whether the engine was partly idle without a queue: then the traffic limits its throughput.
    #[must_use]
    pub(crate) fn waits_for_requests(&self) -> bool {
        self.idle_share > MOSTLY_BUSY && self.admission == Admission::Open
    }

    /// What decides which remedies are candidates: those prepared for another situation may lack the right ones.
    #[must_use]
    pub fn remedy_situation(&self) -> RemedySituation {
        RemedySituation {
            bound: self.bound,
            admission: self.admission,
            dominant: self.dominant,
            lags: self.lag().is_some(),
            has_load: self.load().is_some(),
        }
    }

    /// The measured load, for predictions; `None` where its lengths are unknown.
    #[must_use]
    pub fn load(&self) -> Option<ObservedLoad> {
        let running = self.running.filter(|running| *running > 0.0)?.max(1.0);
        let input = self.input_tokens?.max(1.0);
        Some(ObservedLoad {
            input_tokens: input,
            cached_tokens: self.cached_tokens.clamp(0.0, input - 1.0),
            output_tokens: self.output_tokens?.max(1.0),
            running,
            offered: running + self.waiting.unwrap_or(0.0),
        })
    }
}

impl Default for Observation {
    /// An engine without any measurement.
    fn default() -> Self {
        Self {
            state: EngineState::Idle,
            bound: Bound::Unknown,
            admission: Admission::Open,
            dominant: None,
            busy_shares: Vec::new(),
            idle_share: 0.0,
            running: None,
            waiting: None,
            kv_usage: None,
            kv_usage_most: None,
            kv_capacity_tokens: None,
            kv_blocks_overridden: false,
            preemptions_per_second: 0.0,
            decode_batch: None,
            input_tokens: None,
            cached_tokens: 0.0,
            output_tokens: None,
            users: Effect::default(),
            outside_share: None,
            request_seconds: None,
            hbm_share: None,
            flops_share: None,
            power_limited_ratio: None,
        }
    }
}

/// The highest severity of a verdict; `None` without findings.
#[must_use]
pub fn worst(verdict: &[Finding]) -> Option<Severity> {
    verdict.iter().map(|finding| finding.severity).max()
}
