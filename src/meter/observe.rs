//! The observation that a diagnosis uses, from an account.

use roofline::bound::{Bound, EngineState};
use roofline::diagnosis::{Effect, Finding, Observation, Remedies, diagnose};
use roofline::engine::EngineFacts;
use roofline::predict::{Scenario, Serving, Targets, Workload};
use roofline::units::{Seconds, ratio};

use super::account::{Account, TimeSpent};
use super::figures::Figures;
use super::verdict::{component, is_split};

/// The status of an engine, where it differs from that of the span.
#[derive(Clone, Copy, Debug)]
pub struct EngineStatus {
    /// Its state.
    pub state: EngineState,
    /// Its bound.
    pub bound: Bound,
    /// The time by component that the bound refers to.
    pub spent: TimeSpent,
}

/// The observation from `account` and its `figures`, for an engine with `status`.
#[must_use]
pub fn observation(
    account: &Account,
    figures: &Figures,
    facts: &EngineFacts,
    status: &EngineStatus,
    gpu_hour_price: Option<f64>,
) -> Observation {
    let queue = &account.queue;
    let measured = figures.mbu_measured.map(|share| (share, true));
    Observation {
        state: status.state,
        bound: status.bound,
        admission: figures.admission,
        dominant: figures.dominant,
        busy_shares: shares(&status.spent),
        idle_share: ratio(account.idle_seconds().0, account.seconds.0).unwrap_or(0.0),
        running: figures.queue.running,
        waiting: figures.queue.waiting,
        kv_usage: figures.queue.kv_cache_usage,
        kv_usage_most: queue.kv_usage_most,
        kv_capacity_tokens: queue.full_capacity_tokens.or(queue.kv_capacity_tokens),
        kv_blocks_overridden: facts.kv_blocks_overridden,
        preemptions_per_second: ratio(account.preemptions, account.seconds.0).unwrap_or(0.0),
        decode_batch: figures.decode_batch,
        input_tokens: known(account.prompts.tokens).or(figures.context_tokens),
        cached_tokens: account.prompts.cached,
        output_tokens: known(account.prompts.output).or_else(|| known(account.prompts.tokens)),
        users: figures.felt(facts.dollars_per_second(gpu_hour_price)),
        outside_share: account.requests.outside_share(),
        request_seconds: account.requests.mean(),
        hbm_share: measured.or(figures.mbu.map(|share| (share, false))),
        flops_share: figures.mfu,
        power_limited_ratio: figures.power_limited_ratio,
    }
}

fn known(tokens: f64) -> Option<f64> {
    (tokens > 0.0).then_some(tokens)
}

impl Figures {
    /// The user-visible figures, and their cost where known.
    #[must_use]
    pub fn felt(&self, dollars_per_second: Option<f64>) -> Effect {
        let rate = self.output_tokens_per_second;
        Effect {
            output_tokens_per_second: rate,
            ttft_seconds: self.ttft_mean_seconds,
            tpot_seconds: self.tpot_felt_seconds.or(self.tpot_mean_seconds),
            dollars_per_million_tokens: dollars_per_second
                .zip(rate)
                .and_then(|(dollars, rate)| ratio(dollars * 1e6, rate)),
        }
    }
}

/// Shares of busy time, largest first.
fn shares(spent: &TimeSpent) -> Vec<(Bound, f64)> {
    let Some(time) = &spent.busy_time else {
        return Vec::new();
    };
    let rest: &[Bound] = if is_split(time) {
        &[Bound::Host, Bound::KernelLatency]
    } else {
        &[Bound::Overhead]
    };
    let roofline = [Bound::MemoryBandwidth, Bound::Compute, Bound::Interconnect];
    let seconds = |bound: Bound| match bound {
        Bound::Overhead => time.unexplained(),
        bound => component(time, bound),
    };
    let mut shares: Vec<(Bound, f64)> = roofline
        .iter()
        .chain(rest)
        .filter_map(|bound| Some((*bound, ratio(seconds(*bound).0, spent.busy.0)?)))
        .collect();
    shares.sort_by(|one, other| other.1.total_cmp(&one.1));
    shares
}

/// The deployment of an engine for predictions, without its workload. `None` while the model or the GPU is unknown.
#[must_use]
pub fn scenario(facts: &EngineFacts) -> Option<Scenario> {
    let served = facts.served.as_ref()?;
    Some(Scenario {
        name: served.deployment.model.architecture.clone(),
        model: served.deployment.model.clone(),
        gpu: Some(facts.gpu.clone()?),
        flags: facts.flags.clone(),
        coefficients: facts.coefficients,
        workload: Workload::Serving(Serving {
            input_tokens: 1.0,
            cached_tokens: 0.0,
            output_tokens: 1.0,
            batch: 1.0,
            ..Serving::default()
        }),
        targets: Targets {
            ttft: Seconds(0.5),
            tpot: Seconds(0.1),
        },
    })
}

/// The verdict on a single span, as in a replay, and the time that users wait for a token.
#[must_use]
pub fn verdict(
    account: &Account,
    figures: &Figures,
    facts: &EngineFacts,
    gpu_hour_price: Option<f64>,
) -> (Vec<Finding>, Option<f64>) {
    let status = EngineStatus {
        state: figures.engine_state,
        bound: figures.bound,
        spent: account.time_spent(),
    };
    let seen = observation(account, figures, facts, &status, gpu_hour_price);
    let verdict = diagnose(&seen, &Remedies::of(&seen, scenario(facts).as_ref()));
    (verdict, seen.felt().tpot_seconds)
}
