//! The modelled work of a time span: FLOPs, HBM bytes by kind, and bytes between GPUs, by phase.

use serde::Serialize;

use crate::meter::steps::{IntervalSteps, StepKind};
use roofline::cost::shard::Shard;
use roofline::cost::step::{RequestGroup, StepWork};
use roofline::units::{Bytes, Flops};

/// One value for each phase of inference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PerPhase<T> {
    /// Computing prompts.
    pub prefill: T,
    /// Producing output tokens one step at a time.
    pub decode: T,
}

impl<T: Copy + std::ops::Add<Output = T>> PerPhase<T> {
    /// Both phases together.
    #[must_use]
    pub fn total(&self) -> T {
        self.prefill + self.decode
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.prefill = self.prefill + other.prefill;
        self.decode = self.decode + other.decode;
    }
}

/// HBM bytes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ByKind {
    /// Weights, the LM head and embedding rows among them.
    pub weights: Bytes,
    /// KV cache reads and writes.
    pub kv: Bytes,
    /// Recurrent state, read and written.
    pub state: Bytes,
    /// Activations, and weight or activation tiles read more than once.
    pub activations: Bytes,
}

impl ByKind {
    /// Total bytes.
    #[must_use]
    pub fn total(&self) -> Bytes {
        self.weights + self.kv + self.state + self.activations
    }

    fn of(step: &StepWork) -> Self {
        Self {
            weights: step.bytes.all_weights() + step.bytes.embedding,
            kv: step.bytes.kv_read + step.bytes.kv_write,
            state: step.bytes.state,
            activations: step.activation_bytes,
        }
    }

    fn zip(self, other: Self, combine: impl Fn(Bytes, Bytes) -> Bytes) -> Self {
        Self {
            weights: combine(self.weights, other.weights),
            kv: combine(self.kv, other.kv),
            state: combine(self.state, other.state),
            activations: combine(self.activations, other.activations),
        }
    }

    pub(crate) fn scaled(self, factor: f64) -> Self {
        self.zip(self, |bytes, _| bytes * factor)
    }

    pub(crate) fn less(self, other: Self) -> Self {
        self.zip(other, |all, part| (all - part).max(Bytes::ZERO))
    }
}

impl std::ops::Add for ByKind {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.zip(other, |one, other| one + other)
    }
}

/// Modelled work, summed over the engine's GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// FLOPs of each phase.
    pub flops: PerPhase<Flops>,
    /// HBM bytes of each phase.
    pub bytes: PerPhase<ByKind>,
    /// Bytes that the GPUs send to each other.
    pub interconnect: PerPhase<Bytes>,
}

impl Work {
    /// Adds the steps of `priced`. The cost of the prompts alone is prefill's, the additional cost of the decodes is decode's; a step
    /// without prompts is entirely decode's.
    pub(super) fn add_steps(&mut self, priced: &PricedStep, gpus: f64) {
        let times = priced.kind.count * gpus;
        let all = ByKind::of(&priced.whole).scaled(times);
        let prompts = ByKind::of(&priced.prompts).scaled(times);
        let prompt_flops = priced.prompts.flops.total() * times;
        let sent = priced.whole.communication.link_bytes() * times;
        let prompts_sent = priced.prompts.communication.link_bytes() * times;
        self.add(&Self {
            flops: PerPhase {
                prefill: prompt_flops,
                decode: priced.whole.flops.total() * times - prompt_flops,
            },
            bytes: PerPhase {
                prefill: prompts,
                decode: all.less(prompts),
            },
            interconnect: PerPhase {
                prefill: prompts_sent,
                decode: sent - prompts_sent,
            },
        });
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.flops.add(other.flops);
        self.bytes.add(other.bytes);
        self.interconnect.add(other.interconnect);
    }

    /// Share `part` of the prefill's work.
    pub(crate) fn of_prefill(&self, part: f64) -> Self {
        Self {
            flops: PerPhase {
                prefill: self.flops.prefill * part,
                ..PerPhase::default()
            },
            bytes: PerPhase {
                prefill: self.bytes.prefill.scaled(part),
                ..PerPhase::default()
            },
            interconnect: PerPhase {
                prefill: self.interconnect.prefill * part,
                ..PerPhase::default()
            },
        }
    }

    pub(crate) fn less(&self, other: &Self) -> Self {
        Self {
            flops: PerPhase {
                prefill: (self.flops.prefill - other.flops.prefill).max(Flops::ZERO),
                decode: (self.flops.decode - other.flops.decode).max(Flops::ZERO),
            },
            bytes: PerPhase {
                prefill: self.bytes.prefill.less(other.bytes.prefill),
                decode: self.bytes.decode.less(other.bytes.decode),
            },
            interconnect: PerPhase {
                prefill: (self.interconnect.prefill - other.interconnect.prefill).max(Bytes::ZERO),
                decode: (self.interconnect.decode - other.interconnect.decode).max(Bytes::ZERO),
            },
        }
    }
}

/// A kind of step with its cost on one GPU.
pub(super) struct PricedStep {
    pub(super) kind: StepKind,
    /// The cost of its prompts alone; zero without prompts.
    pub(super) prompts: StepWork,
    /// The cost of the whole step.
    pub(super) whole: StepWork,
}

/// The cost of each kind of step of `steps`.
pub(super) fn price(steps: &IntervalSteps, shard: &Shard) -> Vec<PricedStep> {
    let kinds = steps.kinds.iter().map(|kind| {
        let mut whole = shard.work_of_step(&[kind.prefill, kind.decode]);
        whole.bytes.kv_read = whole.bytes.kv_read - spared(shard, kind, steps.context.shared);
        PricedStep {
            kind: *kind,
            prompts: shard.work_of_step(&[kind.prefill]),
            whole,
        }
    });
    kinds.collect()
}

/// Reads of a shared prefix that hit the L2: requests of a step run concurrently, so its blocks are read from HBM once per step.
fn spared(shard: &Shard, kind: &StepKind, shared: f64) -> Bytes {
    if shared <= 0.0 || kind.decode.count <= 1.0 {
        return Bytes::ZERO;
    }
    let others = |tokens: f64| {
        let group = RequestGroup::decode(kind.decode.count - 1.0, tokens);
        shard.kv_read(&group)
    };
    let context = kind.decode.cached_tokens_before;
    // Of a windowed layer's reads, only the part within the prefix is shared.
    others(context) - others(context - shared)
}
