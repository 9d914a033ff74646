//! Estimates the skew of expert routing from measured traffic.
//!
//! Uniform routing reaches the most distinct experts: a router that prefers some of them reads fewer weights. If GPM measured clearly less
//! traffic than uniform routing needs, tokens are assumed to be spread evenly over as many experts as explain it. Prompts are counted when
//! they are done, and their traffic depends on more than experts: the larger their share of the traffic, the clearer the difference must
//! be.

use roofline::cost::shard::Shard;
use roofline::cost::step::StepWork;
use roofline::units::{Bytes, ratio};

use super::work::{PricedStep, price};
use crate::meter::steps::IntervalSteps;

/// Relative error of the model against GPM, for steps that decode and for the prompts of one span; only a larger difference is evidence of
/// skewed routing.
const MODEL_ERROR: f64 = 0.15;
const PROMPT_ERROR: f64 = 0.5;
/// Minimum ratio of a step's distinct experts to those of one token, under uniform routing: smaller steps show hardly any skew.
const TELLING: f64 = 1.5;
/// Up to this share of prompts in the traffic, agreement with uniform routing is evidence too.
const FEW_PROMPTS: f64 = 0.2;
/// A single span that indicates less than this share of the experts is trusted at once.
const DECISIVE: f64 = 0.5;
/// Bisection steps of the search for the number of experts: to 1/256 of the range.
const HALVINGS: u32 = 8;

/// Spans in the median: a single one may contain steps that the counters report late.
const SPANS: usize = 5;

/// Experts that the tokens of an engine are spread over, as shares of all, from the newest conclusive spans.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Routing {
    newest: [Option<f64>; SPANS],
}

/// Distinct experts of a layer, summed over steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DistinctExperts {
    /// As used for the cost of the steps.
    pub priced: f64,
    /// Under uniform routing.
    pub uniform: f64,
    /// Steps with conclusive measurements.
    pub told_steps: f64,
}

impl DistinctExperts {
    pub(super) fn add(&mut self, other: &Self) {
        self.priced += other.priced;
        self.uniform += other.uniform;
        self.told_steps += other.told_steps;
    }
}

impl Routing {
    /// Learns from `steps` of `shard`, in which all GPUs together moved `measured`, and returns the shard for their cost if routing is not uniform.
    pub(super) fn learn(
        &mut self,
        steps: &IntervalSteps,
        shard: &Shard,
        measured: Option<Bytes>,
        gpus: f64,
    ) -> Option<Shard> {
        let inferred = measured
            .filter(|_| is_telling(steps, shard))
            .and_then(|measured| share(steps, shard, measured * (1.0 / gpus)));
        if let Some(found) = inferred {
            self.newest.rotate_left(1);
            self.newest[SPANS - 1] = Some(found);
        }
        self.share()
            .filter(|share| *share < 1.0)
            .map(|share| shard.routed_over(share))
    }

    /// The median of the newest spans, the larger of the two middle ones; a first span counts only if it is far from uniform. `None` while
    /// no span was conclusive.
    fn share(&self) -> Option<f64> {
        let mut inferred: Vec<f64> = self.newest.into_iter().flatten().collect();
        inferred.sort_by(f64::total_cmp);
        match inferred.as_slice() {
            [first] if *first > DECISIVE => Some(1.0),
            _ => inferred.get(inferred.len() / 2).copied(),
        }
    }

    /// Distinct experts in `steps` with the `uniform` shard and with the `priced` one, if the model has experts.
    pub(super) fn distinct(
        &self,
        steps: &IntervalSteps,
        uniform: &Shard,
        priced: &Shard,
    ) -> Option<DistinctExperts> {
        let mut sums = DistinctExperts::default();
        for kind in &steps.kinds {
            let tokens = kind.prefill.tokens() + kind.decode.tokens();
            sums.priced += kind.count * priced.distinct_experts(tokens)?;
            sums.uniform += kind.count * uniform.distinct_experts(tokens)?;
        }
        if self.share().is_some() {
            sums.told_steps = steps.count();
        }
        Some(sums)
    }
}

/// Whether the traffic of `steps` is conclusive about routing.
fn is_telling(steps: &IntervalSteps, shard: &Shard) -> bool {
    let tokens = ratio(steps.prefill_tokens + steps.decode_tokens, steps.count());
    let reached = shard.distinct_experts(tokens.unwrap_or(0.0));
    let of_one = shard.distinct_experts(1.0);
    reached
        .zip(of_one)
        .is_some_and(|(reached, one)| reached >= TELLING * one)
}

/// Share of the experts at which the model yields `measured`, the traffic of one GPU; 1 if uniform routing does, and `None` if prompts
/// could explain the difference.
fn share(steps: &IntervalSteps, shard: &Shard, measured: Bytes) -> Option<f64> {
    let over = |share: f64| {
        let modelled = bytes(&price(steps, &shard.routed_over(share)));
        ratio(modelled.0, measured.0).map_or(0.0, |ratio| ratio - 1.0)
    };
    let uniform = price(steps, shard);
    let of_prompts = uniform
        .iter()
        .map(|steps| traffic(&steps.prompts) * steps.kind.count);
    let prompts = ratio(of_prompts.sum::<Bytes>().0, bytes(&uniform).0).unwrap_or(0.0);
    if over(1.0) <= MODEL_ERROR + PROMPT_ERROR * prompts {
        return (prompts <= FEW_PROMPTS).then_some(1.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if over(middle) > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(f64::midpoint(low, high))
}

fn bytes(priced: &[PricedStep]) -> Bytes {
    let all = priced.iter();
    all.map(|steps| traffic(&steps.whole) * steps.kind.count)
        .sum()
}

fn traffic(step: &StepWork) -> Bytes {
    step.bytes.total() + step.activation_bytes
}
