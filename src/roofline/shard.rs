//! `Shard`: what one GPU of a deployment holds and does per token, as coefficients that a step multiplies.
//!
//! One tensor-parallel rank; with pipeline stages, the average of all stages, so that the sum over an engine's GPUs is the engine's.

use super::activation::{Cache, Elementwise, Gemm};
use super::communication::Peers;
use crate::spec::deployment::Deployment;
use crate::spec::model::{
    FeedForward, GroupedAttention, LatentAttention, Layer, Mixer, Moe, Projection, Span, Split,
};
use crate::spec::precision::{ByPrecision, Precision};
use crate::spec::quantization::Scheme;
use crate::units::{Bytes, Flops};

/// Per-GPU coefficients of a deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shard {
    /// FLOPs per token of all matrices but routed experts and MLA's up-projection, by what they compute in.
    pub(super) linear_flops: ByPrecision<Flops>,
    /// FLOPs per up-projected token of MLA, all layers.
    pub(super) up_projection_flops: ByPrecision<Flops>,
    /// FLOPs per token of the routers.
    pub(super) router_flops: Flops,
    /// FLOPs per token of recurrences and convolutions.
    pub(super) recurrence_flops: Flops,
    /// FLOPs per row of logits.
    pub(super) head_flops: Flops,
    /// Bytes of all weights that every step reads, routed experts and head excluded.
    pub(super) dense_weights: Bytes,
    /// Bytes of the LM head.
    pub(super) head_weights: Bytes,
    /// Bytes of one embedding row.
    pub(super) embedding_row: Bytes,
    /// Recurrent state of one sequence, convolution included.
    pub(super) state_per_sequence: Bytes,
    /// Layers with routed experts, alike ones together.
    pub(super) experts: Vec<ExpertLayers>,
    /// Layers with attention, alike ones together.
    pub(super) attention: Vec<AttentionLayers>,
    /// Matrix multiplications, alike ones together.
    pub(super) gemms: Vec<Gemm>,
    /// Traffic of the operations between them.
    pub(super) elementwise: Elementwise,
    /// All-reduces per step.
    pub(super) all_reduces: f64,
    /// Those that it exchanges data with.
    pub(super) peers: Peers,
    /// Caches that tiles are kept in.
    pub(super) cache: Cache,
    /// Weights held, embedding included.
    pub(super) resident_weights: Bytes,
    /// What attention, head and routers compute in.
    pub(super) base_precision: Precision,
    /// Bytes of an activation.
    pub(super) activation_width: f64,
    /// Width of the residual stream.
    pub(super) hidden: f64,
    /// Rows of the vocabulary.
    pub(super) vocabulary: f64,
}

/// Layers with the same routed experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpertLayers {
    pub(super) layers: f64,
    pub(super) experts: f64,
    pub(super) top_k: f64,
    /// Replicas whose tokens meet in the same experts.
    pub(super) replicas: f64,
    /// FLOPs per token and layer on this GPU.
    pub(super) flops_per_token: Flops,
    /// Bytes of one expert divided by the GPUs that experts are spread over.
    pub(super) bytes_per_expert: Bytes,
    pub(super) precision: Precision,
    /// Widths of the experts' two multiplications.
    pub(super) inputs: f64,
    pub(super) width: f64,
    pub(super) gated: bool,
    /// GPUs that each expert's width is divided among.
    pub(super) slices: f64,
}

impl ExpertLayers {
    /// Distinct experts that `tokens` tokens reach in one layer: `E·(1 − (1 − k/E)^T)`, uniform routing, an upper bound.
    #[must_use]
    pub fn distinct(&self, tokens: f64) -> f64 {
        let missed = (1.0 - self.top_k / self.experts).powf(tokens * self.replicas);
        self.experts * (1.0 - missed)
    }
}

/// Layers with the same attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionLayers {
    pub(super) layers: f64,
    pub(super) span: Span,
    /// FLOPs per query-key pair and layer, in prefill and in decode (they differ for MLA).
    pub(super) prefill_flops_per_pair: Flops,
    pub(super) decode_flops_per_pair: Flops,
    /// Cache of one token in one layer.
    pub(super) kv_per_token: Bytes,
}

impl Default for Precision {
    fn default() -> Self {
        Self::Bf16
    }
}

impl Shard {
    /// The coefficients of one GPU of `deployment`.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        let model = &deployment.model;
        let hidden = to_f64(model.hidden_size);
        let tensor = to_f64(deployment.parallelism.tensor);
        let stage = 1.0 / to_f64(deployment.parallelism.pipeline);
        let width = deployment.dtype.bytes();
        let mut shard = Self {
            base_precision: deployment.dtype,
            activation_width: width,
            hidden,
            vocabulary: to_f64(model.vocab_size),
            all_reduces: stage,
            peers: peers(deployment),
            cache: Cache::of(deployment.gpu.as_ref()),
            ..Self::default()
        };
        let builder = Builder {
            deployment,
            stage,
            tensor,
        };
        for (index, layer) in model.layers.iter().enumerate() {
            builder.add_layer(&mut shard, index, layer);
        }
        let table = to_f64(model.embedding_params()) / tensor;
        let head = deployment
            .bytes_per_weight(deployment.quantization.head_scheme(), model.embedding_width);
        shard.head_flops = Flops(2.0 * table * stage);
        shard.head_weights = Bytes(table * head * stage);
        shard.embedding_row = Bytes(to_f64(model.embedding_width) * width * stage);
        let outer = Bytes(to_f64(model.outer_params) * width * stage);
        let embedding = if model.tied_head {
            Bytes::ZERO
        } else {
            Bytes(table * width * stage)
        };
        shard.resident_weights += shard.dense_weights + outer + shard.head_weights + embedding;
        shard.dense_weights += Bytes(hidden * width * stage);
        shard
    }

    /// Cache of one token, all layers.
    #[must_use]
    pub fn kv_per_token(&self) -> Bytes {
        self.attention
            .iter()
            .map(|layers| layers.kv_per_token * layers.layers)
            .sum()
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
}

fn peers(deployment: &Deployment) -> Peers {
    let parallelism = deployment.parallelism;
    let spread = parallelism.expert && parallelism.data > 1;
    Peers {
        tensor: to_f64(parallelism.tensor),
        pipeline: to_f64(parallelism.pipeline),
        expert: if spread {
            to_f64(parallelism.expert_ranks())
        } else {
            1.0
        },
    }
}

struct Builder<'a> {
    deployment: &'a Deployment,
    /// Share of the layers that one GPU runs.
    stage: f64,
    tensor: f64,
}

impl Builder<'_> {
    fn add_layer(&self, shard: &mut Shard, index: usize, layer: &Layer) {
        let hidden = self.deployment.model.hidden_size;
        let width = self.deployment.dtype.bytes();
        for projection in layer.projections(hidden) {
            self.add_projection(shard, index, &projection);
        }
        shard.dense_weights += Bytes(to_f64(layer.small_params(hidden)) * width * self.stage);
        shard.all_reduces += f64::from(layer.blocks()) * self.stage;
        self.add_gemms(shard, index, &layer.projections(hidden));
        shard
            .elementwise
            .add(&Elementwise::of(layer, to_f64(hidden), self.tensor).scaled(width * self.stage));
        match &layer.mixer {
            Mixer::None => {}
            Mixer::Grouped(attention) => self.add_attention(shard, self.grouped(attention)),
            Mixer::Latent(attention) => self.add_attention(shard, self.latent(attention)),
            Mixer::Recurrent(recurrent) => {
                let share = self.stage / self.tensor;
                let state =
                    to_f64(recurrent.state_elements()) * self.deployment.state_bytes_per_element();
                let conv = to_f64(recurrent.conv_elements()) * width;
                shard.recurrence_flops += Flops(to_f64(recurrent.flops_per_token()) * share);
                shard.state_per_sequence += Bytes((state + conv) * share);
            }
        }
        if let FeedForward::Experts(moe) = &layer.feed_forward {
            self.add_experts(shard, index, moe);
        }
    }

    fn add_projection(&self, shard: &mut Shard, index: usize, projection: &Projection) {
        let scheme = self
            .deployment
            .quantization
            .scheme_of(index, projection.module);
        let share = self.stage / to_f64(projection.split.ways(self.deployment.parallelism.tensor));
        let flops = Flops(2.0 * to_f64(projection.weights()) * share);
        let precision = self.deployment.compute_precision(scheme);
        if projection.module == LatentAttention::UP_PROJECTION {
            shard.up_projection_flops.add(precision, flops);
        } else {
            shard.linear_flops.add(precision, flops);
        }
        let weights = to_f64(projection.weights())
            * self.deployment.bytes_per_weight(scheme, projection.inputs);
        let biases = to_f64(projection.biases()) * self.deployment.dtype.bytes();
        shard.dense_weights += Bytes((weights + biases) * share);
    }

    /// Projections that read the same input run as one multiplication, as vLLM fuses them (qkv, gate and up).
    fn add_gemms(&self, shard: &mut Shard, index: usize, projections: &[Projection]) {
        let tensor = self.deployment.parallelism.tensor;
        let alike = |left: &Projection, right: &Projection| {
            left.inputs == right.inputs && left.split != Split::Row && right.split != Split::Row
        };
        for fused in projections.chunk_by(alike) {
            let first = &fused[0];
            let scheme = self.deployment.quantization.scheme_of(index, first.module);
            let rows = if first.split == Split::Row { tensor } else { 1 };
            let outputs = fused.iter().map(|projection| match projection.split {
                Split::Row => to_f64(projection.outputs),
                split => to_f64(projection.outputs) / to_f64(split.ways(tensor)),
            });
            let gemm = Gemm {
                layers: self.stage,
                inputs: to_f64(first.inputs) / to_f64(rows),
                outputs: outputs.sum(),
                weight_width: self.deployment.bytes_per_weight(scheme, first.inputs),
                input_width: self.operand_width(scheme),
                output_width: self.deployment.dtype.bytes(),
            };
            match shard.gemms.iter_mut().find(|known| known.same_shape(&gemm)) {
                Some(known) => known.layers += gemm.layers,
                None => shard.gemms.push(gemm),
            }
        }
    }

    /// Bytes of an activation as the multiplication reads it.
    fn operand_width(&self, scheme: Option<Scheme>) -> f64 {
        self.deployment
            .compute_precision(scheme)
            .bytes()
            .min(self.deployment.dtype.bytes())
    }

    fn grouped(&self, attention: &GroupedAttention) -> AttentionLayers {
        let heads = to_f64(attention.query_heads) / self.tensor;
        let head_dim = to_f64(attention.head_dim);
        let kv_heads = to_f64(attention.kv_heads)
            / to_f64(Split::KvHeads(attention.kv_heads).ways(self.deployment.parallelism.tensor));
        let flops_per_pair = Flops(4.0 * heads * head_dim);
        AttentionLayers {
            layers: self.stage,
            span: attention.span,
            prefill_flops_per_pair: flops_per_pair,
            decode_flops_per_pair: flops_per_pair,
            kv_per_token: Bytes(
                2.0 * kv_heads * head_dim * self.deployment.kv_cache.bytes_per_element,
            ),
        }
    }

    /// MLA: prefill multiplies full heads, decode the compressed vectors (the up-projection absorbed into queries and output).
    fn latent(&self, attention: &LatentAttention) -> AttentionLayers {
        let heads = to_f64(attention.heads) / self.tensor;
        let full = to_f64(attention.nope_dim + attention.rope_dim + attention.value_dim);
        let absorbed = to_f64(2 * attention.kv_rank + attention.rope_dim);
        AttentionLayers {
            layers: self.stage,
            span: Span::Full,
            prefill_flops_per_pair: Flops(2.0 * heads * full),
            decode_flops_per_pair: Flops(2.0 * heads * absorbed),
            kv_per_token: Bytes(
                to_f64(attention.latent_width()) * self.deployment.kv_cache.bytes_per_element,
            ),
        }
    }

    fn add_attention(&self, shard: &mut Shard, attention: AttentionLayers) {
        let alike = |known: &&mut AttentionLayers| {
            AttentionLayers {
                layers: attention.layers,
                ..**known
            } == attention
        };
        match shard.attention.iter_mut().find(alike) {
            Some(known) => known.layers += attention.layers,
            None => shard.attention.push(attention),
        }
    }

    fn add_experts(&self, shard: &mut Shard, index: usize, moe: &Moe) {
        let deployment = self.deployment;
        let hidden = deployment.model.hidden_size;
        let width = deployment.dtype.bytes();
        let scheme = deployment.quantization.scheme_of(index, Moe::EXPERT_MODULE);
        let ranks = to_f64(deployment.parallelism.expert_ranks());
        let weights = to_f64(moe.weights_per_expert())
            * deployment.bytes_per_weight(scheme, moe.expert_inputs);
        let router = to_f64(moe.router_weights(hidden));
        shard.router_flops += Flops(2.0 * router * self.stage);
        shard.dense_weights += Bytes(router * width * self.stage);
        let layers = ExpertLayers {
            layers: self.stage,
            experts: to_f64(moe.experts),
            top_k: to_f64(moe.top_k),
            replicas: to_f64(deployment.parallelism.data),
            flops_per_token: Flops(
                2.0 * to_f64(moe.top_k * moe.weights_per_expert()) / self.tensor,
            ),
            bytes_per_expert: Bytes((weights + to_f64(moe.biases_per_expert()) * width) / ranks),
            precision: deployment.compute_precision(scheme),
            inputs: to_f64(moe.expert_inputs),
            width: to_f64(moe.expert_width),
            gated: moe.gated,
            slices: if deployment.parallelism.expert {
                1.0
            } else {
                ranks
            },
        };
        shard.resident_weights += layers.bytes_per_expert * (layers.experts * self.stage);
        let alike = |known: &&mut ExpertLayers| {
            ExpertLayers {
                layers: layers.layers,
                ..**known
            } == layers
        };
        match shard.experts.iter_mut().find(alike) {
            Some(known) => known.layers += layers.layers,
            None => shard.experts.push(layers),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "parameter counts stay below 2^53"
)]
pub(super) const fn to_f64(count: u64) -> f64 {
    count as f64
}
