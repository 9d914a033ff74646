//! How far a router spreads its tokens, where the hardware tells.
//!
//! Uniform routing reaches the most distinct experts: a router that prefers some reads fewer weights. Where GPM measured clearly less
//! traffic than that, the tokens are taken as spread evenly over as many experts as explain it. Prompts are counted when they are done,
//! and what they move depends on more than experts: the more of the traffic is theirs, the clearer it has to be.

use roofline::cost::shard::Shard;
use roofline::cost::step::StepWork;
use roofline::engine::Served;
use roofline::units::{Bytes, ratio};

use super::work::{PricedStep, price};
use crate::meter::steps::IntervalSteps;

/// The model of steps that decode is right to within so much of what GPM measures, and that of prompts in one span; only what is
/// beyond that says something of routing.
const MODEL_ERROR: f64 = 0.15;
const PROMPT_ERROR: f64 = 0.5;
/// A step has to reach so many times the experts of one token under uniform routing: fewer are hardly skewed.
const TELLING: f64 = 1.5;
/// Up to this share of the prompts in the traffic, agreement with uniform routing says something too.
const FEW_PROMPTS: f64 = 0.2;
/// A span alone that tells of less than this share of the experts is believed.
const DECISIVE: f64 = 0.5;
/// Halvings of the range in which the number of experts is looked for: to a two-hundredth of it.
const HALVINGS: u32 = 8;

/// Spans that the median is taken of: one alone may hold steps that its counters tell late.
const SPANS: usize = 5;

/// Experts that the tokens of an engine are spread over, as shares of all, as the newest spans that told found them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Routing {
    newest: [Option<f64>; SPANS],
}

/// Distinct experts of a layer, summed over steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DistinctExperts {
    /// As priced.
    pub priced: f64,
    /// Of uniform routing.
    pub uniform: f64,
    /// Steps for which the hardware told.
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
    /// Learns from `steps`, in which all GPUs together moved `measured`, and gives the shard that they are priced with where that is
    /// not the uniform one.
    pub(super) fn learn(
        &mut self,
        steps: &IntervalSteps,
        served: &Served,
        measured: Option<Bytes>,
        gpus: f64,
    ) -> Option<Shard> {
        let shard = &served.shard;
        let told = measured
            .filter(|_| is_telling(steps, shard))
            .and_then(|measured| share(steps, shard, measured * (1.0 / gpus)));
        if let Some(found) = told {
            self.newest.rotate_left(1);
            self.newest[SPANS - 1] = Some(found);
        }
        self.share()
            .filter(|share| *share < 1.0)
            .map(|share| shard.routed_over(share))
    }

    /// The median of the newest spans, the larger of two in the middle; a first one counts if it is far from uniform. `None` while none
    /// has told.
    fn share(&self) -> Option<f64> {
        let mut told: Vec<f64> = self.newest.into_iter().flatten().collect();
        told.sort_by(f64::total_cmp);
        match told.as_slice() {
            [first] if *first > DECISIVE => Some(1.0),
            _ => told.get(told.len() / 2).copied(),
        }
    }

    /// Distinct experts in `steps` as they are priced with `shard`, where there are any.
    pub(super) fn distinct(
        &self,
        steps: &IntervalSteps,
        served: &Served,
        shard: &Shard,
    ) -> Option<DistinctExperts> {
        let mut sums = DistinctExperts::default();
        for kind in &steps.kinds {
            let tokens = kind.prefill.tokens() + kind.decode.tokens();
            sums.priced += kind.count * shard.distinct_experts(tokens)?;
            sums.uniform += kind.count * served.shard.distinct_experts(tokens)?;
        }
        if self.share().is_some() {
            sums.told_steps = steps.count();
        }
        Some(sums)
    }
}

/// Whether the traffic of `steps` tells of the routing.
fn is_telling(steps: &IntervalSteps, shard: &Shard) -> bool {
    let tokens = ratio(steps.prefill_tokens + steps.decode_tokens, steps.count());
    let reached = shard.distinct_experts(tokens.unwrap_or(0.0));
    let of_one = shard.distinct_experts(1.0);
    reached
        .zip(of_one)
        .is_some_and(|(reached, one)| reached >= TELLING * one)
}

/// Share of the experts for which the model comes to `measured`, the traffic of one GPU; 1 where uniform routing does, and `None` where
/// that may as well be the prompts'.
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
