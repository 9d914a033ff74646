//! `work_of_step`: FLOPs and bytes of one engine step, exact for its requests.
//!
//! T tokens in R requests; 2 FLOPs per multiply-add. Weights are read once per step whatever T; of the routed experts, the expected number
//! of distinct ones; keys and values of the attended tokens once per request; the LM head is applied to one row per request (to every row
//! in speculative verification). FLOPs exclude softmax, norms, RoPE and activation functions; their traffic is `activation_bytes`, which is
//! kept apart from the lower bound.

use serde::{Deserialize, Serialize};

use super::ceiling::Ceiling;
use super::communication::Communication;
use super::shard::Shard;
use crate::spec::precision::ByPrecision;
use crate::units::{Bytes, Flops, Intensity, Seconds};

/// Requests of a step with the same lengths. Counts may be averages over many steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestGroup {
    /// Number of requests.
    pub count: f64,
    /// Tokens that each request computes in the step.
    pub new_tokens: f64,
    /// Tokens that each request has in the cache before the step.
    pub cached_tokens_before: f64,
    /// Whether it is a prefill: one row of logits per request, MLA not absorbed.
    pub is_prefill: bool,
}

impl RequestGroup {
    /// `count` requests that each decode one token after `context` cached tokens.
    #[must_use]
    pub const fn decode(count: f64, context: f64) -> Self {
        Self {
            count,
            new_tokens: 1.0,
            cached_tokens_before: context,
            is_prefill: false,
        }
    }

    /// `count` requests that each prefill `new_tokens` tokens after `cached` tokens.
    #[must_use]
    pub const fn prefill(count: f64, new_tokens: f64, cached: f64) -> Self {
        Self {
            count,
            new_tokens,
            cached_tokens_before: cached,
            is_prefill: true,
        }
    }

    /// Tokens of all requests.
    #[must_use]
    pub fn tokens(&self) -> f64 {
        self.count * self.new_tokens
    }

    fn logits_rows(&self) -> f64 {
        if self.is_prefill {
            self.count
        } else {
            self.tokens()
        }
    }
}

/// FLOPs of a step on one GPU, by the role of the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlopsByRole {
    /// Projections, MLPs, shared experts.
    pub linear: Flops,
    /// Queries × keys and scores × values.
    pub attention: Flops,
    /// Routed experts.
    pub routed_experts: Flops,
    /// Routers.
    pub router: Flops,
    /// Recurrences and their convolutions, approximate.
    pub recurrence: Flops,
    /// LM head.
    pub lm_head: Flops,
}

impl FlopsByRole {
    /// Adds `count` times `other`.
    pub(super) fn add(&mut self, other: &Self, count: f64) {
        let Self {
            linear,
            attention,
            routed_experts,
            router,
            recurrence,
            lm_head,
        } = *other;
        self.linear += linear * count;
        self.attention += attention * count;
        self.routed_experts += routed_experts * count;
        self.router += router * count;
        self.recurrence += recurrence * count;
        self.lm_head += lm_head * count;
    }

    /// Total FLOPs.
    #[must_use]
    pub fn total(&self) -> Flops {
        self.linear
            + self.attention
            + self.routed_experts
            + self.router
            + self.recurrence
            + self.lm_head
    }
}

/// HBM bytes of a step on one GPU, each operand once, by role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BytesByRole {
    /// All weights except routed experts and LM head.
    pub weights: Bytes,
    /// The expected distinct routed experts.
    pub routed_experts: Bytes,
    /// LM head.
    pub lm_head: Bytes,
    /// Embedding rows gathered.
    pub embedding: Bytes,
    /// Keys and values read.
    pub kv_read: Bytes,
    /// Keys and values written.
    pub kv_write: Bytes,
    /// Recurrent states, read and written.
    pub state: Bytes,
}

impl BytesByRole {
    /// Adds `count` times `other`.
    pub(super) fn add(&mut self, other: &Self, count: f64) {
        let Self {
            weights,
            routed_experts,
            lm_head,
            embedding,
            kv_read,
            kv_write,
            state,
        } = *other;
        self.weights += weights * count;
        self.routed_experts += routed_experts * count;
        self.lm_head += lm_head * count;
        self.embedding += embedding * count;
        self.kv_read += kv_read * count;
        self.kv_write += kv_write * count;
        self.state += state * count;
    }

    /// Total bytes.
    #[must_use]
    pub fn total(&self) -> Bytes {
        self.all_weights() + self.embedding + self.kv_read + self.kv_write + self.state
    }

    /// Weights of every kind.
    #[must_use]
    pub fn all_weights(&self) -> Bytes {
        self.weights + self.routed_experts + self.lm_head
    }
}

/// Attention of a group of a step's requests. Prompts and decoding requests use separate kernels, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AttentionWork {
    /// Number of requests.
    pub requests: f64,
    /// Queries × keys and scores × values.
    pub flops: Flops,
    /// Keys and values read.
    pub kv_read: Bytes,
}

/// What one step costs on one GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepWork {
    /// Tokens computed.
    pub tokens: f64,
    /// Requests.
    pub requests: f64,
    /// Prompt tokens among those computed.
    pub prompt_tokens: f64,
    /// Rows of logits.
    pub logits_rows: f64,
    /// FLOPs by role.
    pub flops: FlopsByRole,
    /// FLOPs by compute precision.
    pub flops_at: ByPrecision<Flops>,
    /// Bytes by role, the lower bound.
    pub bytes: BytesByRole,
    /// Attention of the prompts.
    pub prefill_attention: AttentionWork,
    /// Attention of the decoding requests.
    pub decode_attention: AttentionWork,
    /// Traffic beyond the lower bound: activations, and weights read again from HBM.
    pub activation_bytes: Bytes,
    /// Traffic between GPUs.
    pub communication: Communication,
}

impl AttentionWork {
    /// Adds `count` passes of the same requests.
    pub(super) fn add(&mut self, pass: &Self, count: f64) {
        self.flops += pass.flops * count;
        self.kv_read += pass.kv_read * count;
    }
}

impl StepWork {
    /// FLOPs per byte of the lower bound.
    #[must_use]
    pub fn intensity(&self) -> Intensity {
        self.flops.total() / self.bytes.total()
    }

    /// Time of the FLOPs at the peak of their compute precision.
    #[must_use]
    pub fn compute_seconds(&self, ceiling: &Ceiling) -> Seconds {
        self.flops_at
            .iter()
            .map(|(precision, flops)| flops / ceiling.peak(precision))
            .sum()
    }

    /// Time of the bytes at peak bandwidth.
    #[must_use]
    pub fn memory_seconds(&self, ceiling: &Ceiling) -> Seconds {
        self.bytes.total() / ceiling.hbm
    }
}

impl Shard {
    /// The work of one step with the requests in `groups`.
    #[must_use]
    pub fn work_of_step(&self, groups: &[RequestGroup]) -> StepWork {
        let rows = groups.iter().map(RequestGroup::logits_rows).sum();
        let mut work = self.pass(groups, rows);
        if let Some(draft) = self.draft.as_ref().filter(|_| work.tokens > 0.0) {
            draft.add_to(&mut work, groups);
        }
        work
    }

    /// The work of this model alone, with `logits_rows` rows of logits.
    pub(super) fn pass(&self, groups: &[RequestGroup], logits_rows: f64) -> StepWork {
        let tokens: f64 = groups.iter().map(RequestGroup::tokens).sum();
        let mut work = StepWork {
            tokens,
            requests: groups.iter().map(|group| group.count).sum(),
            prompt_tokens: groups
                .iter()
                .filter(|group| group.is_prefill)
                .map(RequestGroup::tokens)
                .sum(),
            logits_rows,
            ..StepWork::default()
        };
        if tokens <= 0.0 {
            return work;
        }
        self.add_matrices(&mut work, groups);
        self.add_experts(&mut work);
        for group in groups {
            let (flops, kv_read) = (self.attention_flops(group), self.kv_read(group));
            work.flops.attention += flops;
            work.bytes.kv_read += kv_read;
            let attention = if group.is_prefill {
                &mut work.prefill_attention
            } else {
                &mut work.decode_attention
            };
            attention.requests += group.count;
            attention.flops += flops;
            attention.kv_read += kv_read;
            work.bytes.state += self.state_traffic(group);
        }
        work.bytes.kv_write = self.own_kv_per_token() * tokens;
        for flops in [
            work.flops.attention,
            work.flops.router,
            work.flops.recurrence,
            work.flops.lm_head,
        ] {
            work.flops_at.add(self.base_precision, flops);
        }
        work.activation_bytes = self.activation_bytes(&work);
        work.communication = self.communication(&work);
        work
    }

    /// Keys and values that the requests of `group` read in one step.
    #[must_use]
    pub fn kv_read(&self, group: &RequestGroup) -> Bytes {
        self.attention
            .iter()
            .map(|layers| {
                let tokens = layers
                    .span
                    .tokens_read(group.new_tokens, group.cached_tokens_before);
                layers.kv_per_token * (layers.layers * group.count * tokens)
            })
            .sum()
    }

    fn attention_flops(&self, group: &RequestGroup) -> Flops {
        self.attention
            .iter()
            .map(|layers| {
                let pairs = layers
                    .span
                    .pairs(group.new_tokens, group.cached_tokens_before);
                let per_pair = if group.is_prefill {
                    layers.prefill_flops_per_pair
                } else {
                    layers.decode_flops_per_pair
                };
                per_pair * (layers.layers * group.count * pairs)
            })
            .sum()
    }

    /// States are read and written once per step; a first prefill reads none.
    fn state_traffic(&self, group: &RequestGroup) -> Bytes {
        let starts = group.is_prefill && group.cached_tokens_before <= 0.0;
        self.state_per_sequence * (group.count * if starts { 1.0 } else { 2.0 })
    }

    fn add_matrices(&self, work: &mut StepWork, groups: &[RequestGroup]) {
        let up_projected: f64 = groups
            .iter()
            .map(|group| {
                group.tokens()
                    + if group.is_prefill {
                        group.count * group.cached_tokens_before
                    } else {
                        0.0
                    }
            })
            .sum();
        for (table, tokens) in [
            (&self.linear_flops, work.tokens),
            (&self.up_projection_flops, up_projected),
        ] {
            for (precision, per_token) in table.iter() {
                work.flops.linear += per_token * tokens;
                work.flops_at.add(precision, per_token * tokens);
            }
        }
        work.flops.router = self.router_flops * work.tokens;
        work.flops.recurrence = self.recurrence_flops * work.tokens;
        work.flops.lm_head = self.head_flops * work.logits_rows;
        work.bytes.weights = self.dense_weights;
        work.bytes.embedding = self.embedding_row * work.tokens;
        if work.logits_rows > 0.0 {
            work.bytes.lm_head = self.head_weights;
        }
    }

    fn add_experts(&self, work: &mut StepWork) {
        for layers in &self.experts {
            let flops = layers.flops_per_token * (layers.layers * work.tokens);
            work.flops.routed_experts += flops;
            work.flops_at.add(layers.precision, flops);
            work.bytes.routed_experts +=
                layers.bytes_per_expert * (layers.layers * layers.distinct(work.tokens));
        }
    }
}
