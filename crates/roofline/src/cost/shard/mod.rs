//! `Shard`: what one GPU of a deployment holds and computes per token, as coefficients of a step.
//!
//! One tensor-parallel rank; with pipeline stages, the average over all stages, so that the sum over an engine's GPUs is the engine's
//! total.

mod build;

use super::activation::{Cache, Elementwise, ExpertKernel, Gemm};
use super::communication::Peers;
use super::draft::DraftModel;
use crate::spec::model::AttentionSpan;
use crate::spec::precision::{ByPrecision, Precision};
use crate::units::{Bytes, Flops};

/// Per-GPU coefficients of a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    /// FLOPs per token of all matrices except routed experts and MLA's up-projection, by compute precision.
    pub(super) linear_flops: ByPrecision<Flops>,
    /// FLOPs per up-projected token of MLA, all layers.
    pub(super) up_projection_flops: ByPrecision<Flops>,
    /// FLOPs per token of the routers.
    pub(super) router_flops: Flops,
    /// FLOPs per token of recurrences and convolutions.
    pub(super) recurrence_flops: Flops,
    /// FLOPs per row of logits.
    pub(super) head_flops: Flops,
    /// Bytes of all weights that every step reads, without routed experts and head.
    pub(super) dense_weights: Bytes,
    /// Bytes of the LM head.
    pub(super) head_weights: Bytes,
    /// Bytes of one embedding row.
    pub(super) embedding_row: Bytes,
    /// Recurrent state of one sequence, convolution included.
    pub(super) state_per_sequence: Bytes,
    /// Weights held, embedding included.
    pub(super) resident_weights: Bytes,
    /// Layers with routed experts, equal layers merged.
    pub(super) experts: Vec<ExpertLayers>,
    /// Layers with attention, equal layers merged.
    pub(super) attention: Vec<AttentionLayers>,
    /// Matrix multiplications, equal ones merged.
    pub(super) gemms: Vec<Gemm>,
    /// The operations between them, equal layers merged.
    pub(super) elementwise: Vec<Elementwise>,
    /// The SMs and the L2.
    pub(super) cache: Cache,
    /// All-reduces per step.
    pub(super) all_reduces: f64,
    /// Layers with a norm over all heads, which needs an all-reduce if ranks share the heads.
    pub(super) norm_reduces: f64,
    /// Rank at which the tokens of a step pass through LoRA adapters; 0 without.
    pub(super) adapter_rank: f64,
    /// The draft of speculative decoding.
    pub(super) draft: Option<Box<DraftModel>>,
    /// GPUs that this one exchanges data with.
    pub(super) peers: Peers,
    /// Compute precision of attention, head and routers.
    pub(super) base_precision: Precision,
    /// Bytes of an activation.
    pub(super) activation_width: f64,
    /// Width of the residual stream.
    pub(super) hidden: f64,
    /// Rows of the vocabulary that this GPU holds.
    pub(super) vocabulary: f64,
}

/// Layers with the same routed experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ExpertLayers {
    pub(super) layers: f64,
    pub(super) experts: f64,
    /// Experts that tokens are spread over: all of them for uniform routing.
    pub(super) reached: f64,
    pub(super) top_k: f64,
    /// Replicas whose tokens share the experts.
    pub(super) replicas: f64,
    /// FLOPs per token and layer on this GPU.
    pub(super) flops_per_token: Flops,
    /// Bytes of one expert divided by the GPUs that experts are spread over.
    pub(super) bytes_per_expert: Bytes,
    pub(super) precision: Precision,
    /// Input and output width of an expert.
    pub(super) inputs: f64,
    /// Intermediate width that this GPU computes of an expert.
    pub(super) width: f64,
    pub(super) gated: bool,
    /// Share of a token's experts that this GPU runs.
    pub(super) share: f64,
    pub(super) kernel: ExpertKernel,
}

impl ExpertLayers {
    /// Expected distinct experts that `tokens` tokens reach in one layer: `E·(1 − (1 − k/E)^T)`, with E the experts that they are spread
    /// over. Uniform routing spreads them over all, which is an upper bound.
    #[must_use]
    pub(crate) fn distinct(&self, tokens: f64) -> f64 {
        let missed = (1.0 - self.top_k / self.reached).powf(tokens * self.replicas);
        self.reached * (1.0 - missed)
    }
}

/// Layers with the same attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AttentionLayers {
    pub(super) layers: f64,
    pub(super) span: AttentionSpan,
    /// FLOPs per query-key pair and layer in prefill.
    pub(super) prefill_flops_per_pair: Flops,
    /// The same in decode; it differs for MLA.
    pub(super) decode_flops_per_pair: Flops,
    /// Cache of one token in one layer.
    pub(super) kv_per_token: Bytes,
    /// Whether it writes that cache; otherwise it reads an earlier layer's.
    pub(super) owns_cache: bool,
}

impl Shard {
    /// Cache of one token, all layers.
    #[must_use]
    pub fn kv_per_token(&self) -> Bytes {
        let draft = self.draft.as_ref();
        self.own_kv_per_token() + draft.map_or(Bytes::ZERO, |draft| draft.shard.own_kv_per_token())
    }

    /// The same without that of a draft.
    pub(super) fn own_kv_per_token(&self) -> Bytes {
        self.own_caching_layers()
            .map(|layers| layers.kv_per_token * layers.layers)
            .sum()
    }

    /// Layers with a cache of their own.
    pub(super) fn caching_layers(&self) -> impl Iterator<Item = &AttentionLayers> {
        let draft = self.draft.iter();
        self.own_caching_layers()
            .chain(draft.flat_map(|draft| draft.shard.own_caching_layers()))
    }

    fn own_caching_layers(&self) -> impl Iterator<Item = &AttentionLayers> {
        self.attention.iter().filter(|layers| layers.owns_cache)
    }

    /// The same with tokens spread over only a `share` of the experts.
    #[must_use]
    pub fn routed_over(&self, share: f64) -> Self {
        let mut routed = self.clone();
        for layers in &mut routed.experts {
            layers.reached = (layers.experts * share).max(layers.top_k);
        }
        routed
    }

    /// Distinct experts of a layer that `tokens` tokens reach, the mean over layers; `None` for a dense model.
    #[must_use]
    pub fn distinct_experts(&self, tokens: f64) -> Option<f64> {
        let layers: f64 = self.experts.iter().map(|layers| layers.layers).sum();
        let reached = self
            .experts
            .iter()
            .map(|alike| alike.layers * alike.distinct(tokens));
        crate::units::ratio(reached.sum(), layers)
    }

    /// Whether the cache of a sequence grows by the same bytes with every token.
    #[must_use]
    pub(crate) fn caches_evenly(&self) -> bool {
        let unlimited = |layers: &AttentionLayers| layers.span.limit().is_none();
        self.state_per_sequence <= Bytes::ZERO && self.caching_layers().all(unlimited)
    }

    /// Cache and state of a sequence of `tokens` tokens; windowed layers keep their window and the `ahead` tokens of one step.
    #[must_use]
    pub(crate) fn cache_bytes(&self, tokens: f64, ahead: f64) -> Bytes {
        let kept = |layers: &AttentionLayers| {
            let limit = layers.span.limit().map(|window| window - 1.0 + ahead);
            limit.map_or(tokens, |limit| tokens.min(limit))
        };
        let cached: Bytes = self
            .caching_layers()
            .map(|layers| layers.kv_per_token * (layers.layers * kept(layers)))
            .sum();
        cached + self.state_per_sequence
    }

    /// Tokens of a decoding sequence whose cache takes `bytes`, up to `longest`.
    #[must_use]
    pub(crate) fn tokens_cached(&self, bytes: Bytes, longest: f64) -> f64 {
        let (mut low, mut high) = (0.0, longest);
        // The cache grows with the sequence: bisection finds its length to within a token.
        while high - low > 0.5 {
            let middle = f64::midpoint(low, high);
            if self.cache_bytes(middle, 1.0) < bytes {
                low = middle;
            } else {
                high = middle;
            }
        }
        f64::midpoint(low, high)
    }

    /// Recurrent state of one sequence, all layers.
    #[must_use]
    pub const fn state_per_sequence(&self) -> Bytes {
        self.state_per_sequence
    }

    /// Weights that this GPU holds.
    #[must_use]
    pub const fn resident_weights(&self) -> Bytes {
        self.resident_weights
    }

    /// Compute precision of attention, head and routers.
    #[must_use]
    pub(crate) const fn base_precision(&self) -> Precision {
        self.base_precision
    }
}

/// Layers that are merged because they are equal except for their number.
pub(super) trait AlikeLayers: Copy + PartialEq {
    /// Number of layers.
    fn layers(&mut self) -> &mut f64;

    /// Adds to the equal entry of `list`, or appends one.
    fn join(mut self, list: &mut Vec<Self>) {
        let count = *self.layers();
        for known in list.iter_mut() {
            let mut candidate = *known;
            *candidate.layers() = count;
            if candidate == self {
                *known.layers() += count;
                return;
            }
        }
        list.push(self);
    }
}

macro_rules! alike_layers {
    ($($name:ident),+) => {
        $(impl AlikeLayers for $name {
            fn layers(&mut self) -> &mut f64 {
                &mut self.layers
            }
        })+
    };
}

alike_layers!(ExpertLayers, AttentionLayers, Gemm, Elementwise);
