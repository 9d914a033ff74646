//! The verdict on a load test with client-side data only: the same findings and remedies as from vLLM's counters, as far as client data
//! allow.

use roofline::bound::{Bound, EngineState, TimeSeconds};
use roofline::diagnosis::{Effect, Finding, Observation, Remedies, diagnose};
use roofline::predict::{BottleneckKind, Phase, Scenario};
use roofline::units::{Seconds, ratio};

use super::run::{MeasuredRun, Run};

/// The latencies that users saw in a run: the mean, or the median where there is no mean.
#[must_use]
pub fn felt(measured: &MeasuredRun) -> Effect {
    let latency = &measured.latency;
    let of = |distribution: Option<&crate::results::Distribution>| {
        distribution.and_then(|own| own.mean_seconds.or(own.p50_seconds))
    };
    Effect {
        output_tokens_per_second: measured.rates.output_tokens_per_second,
        ttft_seconds: of(latency.ttft.as_ref()),
        tpot_seconds: of(latency.per_token()),
        dollars_per_million_tokens: None,
    }
}

/// Findings from the client's counts of `run`; empty while its bottleneck is unknown.
pub(super) fn of_client(run: &Run, scenario: Option<&Scenario>) -> Vec<Finding> {
    let decode = run.obstacle_of(Some(Phase::Decode));
    let found = decode.or_else(|| run.obstacle_of(Some(Phase::Prefill)));
    let (Some(BottleneckKind::Step(bound)), Some(modelled)) = (found, &run.modelled) else {
        return Vec::new();
    };
    let seen = Observation {
        state: EngineState::Running,
        bound,
        busy_shares: modelled.time_seconds.as_ref().map_or_else(Vec::new, shares),
        running: run.load.concurrency,
        decode_batch: modelled.decode_batch,
        input_tokens: run.load.input_tokens,
        cached_tokens: run.load.cached_tokens.unwrap_or(0.0),
        output_tokens: run.load.output_tokens,
        users: felt(&run.measured),
        hbm_share: modelled.mbu.map(|share| (share, false)),
        flops_share: modelled.mfu,
        ..Observation::default()
    };
    diagnose(&seen, &Remedies::of(&seen, scenario))
}

/// Shares of the run's time, largest first.
fn shares(time: &TimeSeconds) -> Vec<(Bound, f64)> {
    let parts = [
        (Bound::MemoryBandwidth, time.memory),
        (Bound::Compute, time.compute),
        (Bound::Interconnect, time.communication),
        (Bound::Overhead, time.overhead),
    ];
    let whole: Seconds = parts.iter().map(|(_, seconds)| *seconds).sum();
    let mut shares: Vec<(Bound, f64)> = parts
        .into_iter()
        .filter_map(|(bound, seconds)| Some((bound, ratio(seconds.0, whole.0)?)))
        .collect();
    shares.sort_by(|one, other| other.1.total_cmp(&one.1));
    shares
}
