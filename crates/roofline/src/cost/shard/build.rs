//! Sums the layers of a deployment into the coefficients of a `Shard`.

use super::{AlikeLayers, AttentionLayers, ExpertLayers, Shard};
use crate::cost::activation::{Cache, Elementwise, ExpertKernel, Gemm, Kernel};
use crate::cost::communication::Peers;
use crate::cost::draft::DraftModel;
use crate::spec::deployment::Deployment;
use crate::spec::gpu::ComputeCapability;
use crate::spec::model::{
    AttentionSpan, FeedForward, GroupedAttention, Indexer, KvSource, LatentAttention, Layer, Mixer,
    Moe, Projection, Recurrent, Split,
};
use crate::spec::precision::ByPrecision;
use crate::spec::quantization::Scheme;
use crate::spec::{to_f64, to_u64};
use crate::units::{Bytes, Flops};

impl Shard {
    /// The coefficients of one GPU of `deployment`.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        let tensor = to_f64(deployment.parallelism.tensor);
        let stage = 1.0 / to_f64(deployment.parallelism.pipeline);
        let mut shard = Self::empty(deployment, tensor, stage);
        let builder = ShardBuilder {
            deployment,
            stage,
            tensor,
        };
        for layer in &deployment.model.layers {
            builder.add_layer(&mut shard, layer);
        }
        builder.add_outer(&mut shard);
        builder.add_adapter_slots(&mut shard);
        builder.add_draft(&mut shard);
        shard
    }

    fn empty(deployment: &Deployment, tensor: f64, stage: f64) -> Self {
        Self {
            linear_flops: ByPrecision::default(),
            up_projection_flops: ByPrecision::default(),
            router_flops: Flops::ZERO,
            recurrence_flops: Flops::ZERO,
            head_flops: Flops::ZERO,
            dense_weights: Bytes::ZERO,
            head_weights: Bytes::ZERO,
            embedding_row: Bytes::ZERO,
            state_per_sequence: Bytes::ZERO,
            resident_weights: Bytes::ZERO,
            experts: Vec::new(),
            attention: Vec::new(),
            gemms: Vec::new(),
            elementwise: Vec::new(),
            cache: Cache::of(deployment.gpu.as_ref()),
            all_reduces: 0.0,
            norm_reduces: 0.0,
            adapter_rank: 0.0,
            draft: None,
            peers: peers(deployment),
            base_precision: deployment.dtype,
            activation_width: deployment.dtype.bytes(),
            hidden: to_f64(deployment.model.hidden_size),
            vocabulary: to_f64(deployment.model.vocab_size) / tensor * stage,
        }
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

struct ShardBuilder<'a> {
    deployment: &'a Deployment,
    /// Share of the layers that one GPU runs.
    stage: f64,
    tensor: f64,
}

impl ShardBuilder<'_> {
    /// Final norm, head and embedding, and the all-reduce of the divided embedding.
    fn add_outer(&self, shard: &mut Shard) {
        let model = &self.deployment.model;
        let width = self.deployment.dtype.bytes();
        let table = to_f64(model.embedding_params()) / self.tensor * self.stage;
        let head_scheme = self.deployment.quantization.head_scheme();
        let head_width = self
            .deployment
            .bytes_per_weight(head_scheme, model.embedding_width);
        shard.head_flops = Flops(2.0 * table);
        shard.head_weights = Bytes(table * head_width);
        let layer_inputs: u64 = model.layers.iter().map(|layer| layer.layer_input).sum();
        let row = to_f64(model.embedding_width + layer_inputs);
        shard.embedding_row = Bytes(row * width * self.stage);
        shard.all_reduces += self.stage;
        let outer = Bytes(to_f64(model.outer_params) * width * self.stage);
        let embedding = if model.tied_head {
            Bytes::ZERO
        } else {
            Bytes(table * width)
        };
        let layer_table = to_f64(model.layer_embedding_params) / self.tensor * self.stage;
        shard.resident_weights += Bytes(layer_table * width);
        shard.resident_weights += shard.dense_weights + outer + shard.head_weights + embedding;
        shard.dense_weights += Bytes(shard.hidden * width * self.stage);
    }

    fn add_draft(&self, shard: &mut Shard) {
        shard.draft = DraftModel::of(self.deployment);
        if let Some(draft) = &shard.draft {
            shard.resident_weights += draft.shard.resident_weights;
        }
    }

    /// Slots of LoRA adapters, which vLLM reserves when it starts.
    fn add_adapter_slots(&self, shard: &mut Shard) {
        if let Some(adapters) = self.deployment.adapters {
            let slot = shard.adapter_weights(to_f64(adapters.rank));
            shard.resident_weights += slot * to_f64(adapters.slots);
        }
    }

    fn add_layer(&self, shard: &mut Shard, layer: &Layer) {
        let index = layer.index;
        let hidden = self.deployment.model.hidden_size;
        let width = self.deployment.dtype.bytes();
        let projections = layer.projections(hidden);
        for projection in &projections {
            self.add_projection(shard, index, projection);
        }
        self.add_gemms(shard, index, &projections);
        let state_width = self.deployment.state_bytes_per_element();
        Elementwise::of(
            layer,
            to_f64(hidden),
            self.tensor,
            (width, state_width),
            self.stage,
        )
        .join(&mut shard.elementwise);
        shard.dense_weights += Bytes(to_f64(layer.small_params(hidden)) * width * self.stage);
        shard.all_reduces += f64::from(layer.blocks()) * self.stage;
        match &layer.mixer {
            Mixer::None => {}
            Mixer::Grouped(attention) => {
                self.grouped(attention).join(&mut shard.attention);
                if attention.norms_whole_projections() {
                    shard.norm_reduces += self.stage;
                }
            }
            Mixer::Latent(attention) => {
                self.latent(attention).join(&mut shard.attention);
                if let Some(indexer) = attention.scoring() {
                    self.indexer(indexer).join(&mut shard.attention);
                }
            }
            Mixer::Recurrent(recurrent) => self.add_recurrence(shard, recurrent),
        }
        if let FeedForward::Experts(moe) = &layer.feed_forward {
            self.add_experts(shard, index, moe);
        }
    }

    fn add_projection(&self, shard: &mut Shard, index: u64, projection: &Projection) {
        let deployment = self.deployment;
        let scheme = deployment.quantization.scheme_of(index, projection.module);
        let share = self.stage / to_f64(projection.split.ways(deployment.parallelism.tensor));
        let weights = to_f64(projection.weights()) * share;
        let flops = match projection.module {
            LatentAttention::UP_PROJECTION => &mut shard.up_projection_flops,
            _ => &mut shard.linear_flops,
        };
        flops.add(deployment.compute_precision(scheme), Flops(2.0 * weights));
        let biases = to_f64(projection.biases()) * share * deployment.dtype.bytes();
        shard.dense_weights +=
            Bytes(weights * deployment.bytes_per_weight(scheme, projection.inputs) + biases);
    }

    /// Projections that read the same input run as one multiplication, as vLLM fuses them (qkv, gate and up).
    fn add_gemms(&self, shard: &mut Shard, index: u64, projections: &[Projection]) {
        let fusible = |left: &Projection, right: &Projection| {
            left.inputs == right.inputs && left.split != Split::Row && right.split != Split::Row
        };
        for fused in projections.chunk_by(fusible) {
            self.gemm(index, fused).join(&mut shard.gemms);
        }
    }

    fn gemm(&self, index: u64, fused: &[Projection]) -> Gemm {
        let deployment = self.deployment;
        let first = &fused[0];
        let divided = |count: u64, split: Split| {
            to_f64(count) / to_f64(split.ways(deployment.parallelism.tensor))
        };
        let (inputs, outputs) = match first.split {
            Split::Row => (divided(first.inputs, first.split), to_f64(first.outputs)),
            _ => (
                to_f64(first.inputs),
                fused
                    .iter()
                    .map(|projection| divided(projection.outputs, projection.split))
                    .sum(),
            ),
        };
        let scheme = deployment.quantization.scheme_of(index, first.module);
        let activation_width = deployment.dtype.bytes();
        let operand_width = deployment
            .compute_precision(scheme)
            .bytes()
            .min(activation_width);
        Gemm {
            layers: self.stage,
            inputs,
            outputs,
            projections: to_f64(to_u64(fused.len())),
            weight_width: deployment.bytes_per_weight(scheme, first.inputs),
            kernel: self.kernel(scheme, operand_width),
            operand_width,
            activation_width,
            fused_input: self.compiled_before(first, scheme),
        }
    }

    /// The kernel that vLLM uses for weights of `scheme`.
    fn kernel(&self, scheme: Option<Scheme>, operand_width: f64) -> Kernel {
        let capability = self
            .deployment
            .gpu
            .as_ref()
            .and_then(|gpu| gpu.compute_capability);
        if operand_width < self.deployment.dtype.bytes() {
            Kernel::Strips
        } else if scheme.is_none() {
            Kernel::Squares
        } else if capability == Some(ComputeCapability::HOPPER) {
            Kernel::Strips
        } else {
            Kernel::Stripes
        }
    }

    /// Whether the compiler fuses the quantisation of `projection`'s input into the operation before it, a norm or an activation function.
    /// Attention and recurrences are separate kernels. Where vLLM quantises with its own kernel (8-bit integers, fp8 in blocks, fp4), only
    /// static scales are fused.
    fn compiled_before(&self, projection: &Projection, scheme: Option<Scheme>) -> bool {
        let after_mixer = projection.split == Split::Row && !projection.module.starts_with("mlp");
        let is_left_to_the_compiler = scheme == Some(Scheme::Fp8 { block: None });
        !self.deployment.limits.enforce_eager
            && !after_mixer
            && (is_left_to_the_compiler || self.deployment.quantization.has_static_activations())
    }

    fn grouped(&self, attention: &GroupedAttention) -> AttentionLayers {
        let deployment = self.deployment;
        let heads = to_f64(attention.query_heads) / self.tensor;
        let kv_ways = Split::KvHeads(attention.kv_heads).ways(deployment.parallelism.tensor);
        let kv_heads = to_f64(attention.kv_heads) / to_f64(kv_ways);
        let flops_per_pair = Flops(2.0 * heads * to_f64(attention.head_dim + attention.value_dim));
        let width = deployment.kv_cache.bytes_per_element;
        AttentionLayers {
            layers: self.stage,
            span: attention.span,
            prefill_flops_per_pair: flops_per_pair,
            decode_flops_per_pair: flops_per_pair,
            kv_per_token: Bytes(attention.cached_elements(kv_heads) * width),
            owns_cache: attention.kv_source != KvSource::EarlierLayer,
        }
    }

    /// MLA: prefill multiplies full heads, decode multiplies the compressed vectors (the up-projection is absorbed into queries and
    /// output).
    fn latent(&self, attention: &LatentAttention) -> AttentionLayers {
        let heads = to_f64(attention.heads) / self.tensor;
        let full = to_f64(attention.nope_dim + attention.rope_dim + attention.value_dim);
        let absorbed = to_f64(2 * attention.kv_rank + attention.rope_dim);
        let cached = to_f64(attention.latent_width());
        AttentionLayers {
            layers: self.stage,
            span: attention.span(),
            prefill_flops_per_pair: Flops(2.0 * heads * full),
            decode_flops_per_pair: Flops(2.0 * heads * absorbed),
            kv_per_token: Bytes(cached * self.deployment.kv_cache.bytes_per_element),
            owns_cache: true,
        }
    }

    /// The scores of an indexer: each of its heads against one key per cached token, identical on every rank.
    fn indexer(&self, indexer: &Indexer) -> AttentionLayers {
        let flops_per_pair = Flops(2.0 * to_f64(indexer.heads * indexer.dim));
        AttentionLayers {
            layers: self.stage,
            span: AttentionSpan::Full,
            prefill_flops_per_pair: flops_per_pair,
            decode_flops_per_pair: flops_per_pair,
            kv_per_token: Bytes(indexer.cached_bytes()),
            owns_cache: true,
        }
    }

    fn add_recurrence(&self, shard: &mut Shard, recurrent: &Recurrent) {
        let share = self.stage / self.tensor;
        let state = to_f64(recurrent.state_elements()) * self.deployment.state_bytes_per_element();
        let conv = to_f64(recurrent.conv_elements()) * self.deployment.dtype.bytes();
        shard.recurrence_flops += Flops(to_f64(recurrent.flops_per_token()) * share);
        shard.state_per_sequence += Bytes((state + conv) * share);
    }

    fn add_experts(&self, shard: &mut Shard, index: u64, moe: &Moe) {
        let deployment = self.deployment;
        let width = deployment.dtype.bytes();
        let scheme = deployment.quantization.scheme_of(index, Moe::EXPERT_MODULE);
        let router = to_f64(moe.router_weights(deployment.model.hidden_size)) * self.stage;
        shard.router_flops += Flops(2.0 * router);
        shard.dense_weights += Bytes(router * width);
        let matrices = to_f64(moe.weights_per_expert())
            * deployment.bytes_per_weight(scheme, moe.expert_inputs);
        let biases = to_f64(moe.biases_per_expert()) * width;
        let ranks = to_f64(deployment.parallelism.expert_ranks());
        let whole = deployment.parallelism.expert;
        let layers = ExpertLayers {
            layers: self.stage,
            experts: to_f64(moe.experts),
            reached: to_f64(moe.experts),
            top_k: to_f64(moe.top_k),
            replicas: to_f64(deployment.parallelism.data),
            flops_per_token: Flops(
                2.0 * to_f64(moe.top_k * moe.weights_per_expert()) / self.tensor,
            ),
            bytes_per_expert: Bytes((matrices + biases) / ranks),
            precision: deployment.compute_precision(scheme),
            inputs: to_f64(moe.expert_inputs),
            width: to_f64(moe.expert_width) / if whole { 1.0 } else { ranks },
            gated: moe.gated,
            share: if whole {
                1.0 / self.tensor
            } else {
                to_f64(deployment.parallelism.data)
            },
            kernel: self.expert_kernel(scheme, moe),
        };
        shard.resident_weights += layers.bytes_per_expert * (layers.experts * self.stage);
        layers.join(&mut shard.experts);
    }
    /// The kernel that vLLM uses for routed experts whose weights are stored in `scheme`.
    fn expert_kernel(&self, scheme: Option<Scheme>, moe: &Moe) -> ExpertKernel {
        let parallelism = self.deployment.parallelism;
        let ways = if parallelism.expert {
            1
        } else {
            parallelism.expert_ranks()
        };
        match scheme {
            Some(Scheme::Mxfp4) => ExpertKernel::MatmulOgs,
            None => ExpertKernel::of_16_bit(
                self.deployment.gpu.as_ref(),
                moe.experts,
                moe.expert_width / ways,
            ),
            Some(_) => ExpertKernel::Triton,
        }
    }
}
