//! `MemoryPlan`: what a GPU's memory holds besides the weights, and how many tokens of KV cache fit.
//!
//! vLLM takes `utilisation × memory`, profiles one step of `max_num_batched_tokens` tokens, and gives the rest to the cache:
//! `cache = utilisation × visible − weights − activations − runtime`. The coefficients below were fitted to the values that vLLM 0.25
//! logged on an H100 for three models (8B bf16 twice, 0.5B bf16, 7B AWQ) and reproduce each within 1 %; an 8B in fp8 and a 4B with sliding
//! windows, recorded later, agree within 1.5 %.

use super::shard::Shard;
use crate::spec::deployment::Deployment;
use crate::spec::model::{FeedForward, Layer};
use crate::spec::to_f64;
use crate::units::Bytes;

const MIB: f64 = 1024.0 * 1024.0;

/// Driver reserve of the reported memory: CUDA sees 79.19 GiB of an H100's 81,559 MiB.
const DRIVER_RESERVE: Bytes = Bytes(470.0 * MIB);

/// CUDA context, cuBLAS and CUDA graphs on one GPU.
const RUNTIME: Bytes = Bytes(0.27 * 1024.0 * MIB);

/// The same with NCCL's buffers (llm-d-planner's figure for two or more H100s; not measured here).
const RUNTIME_TENSOR_PARALLEL: Bytes = Bytes(2.1 * 1024.0 * MIB);

/// Tensors as wide as the residual stream that are alive at the peak of a forward pass.
const STREAMS_ALIVE: f64 = 7.0;

/// Bytes per logit at the peak of sampling: 16-bit logits, their fp32 copy and the probabilities.
const BYTES_PER_LOGIT: f64 = 10.0;

/// The memory of one GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryPlan {
    /// What vLLM may use: utilisation times the memory that CUDA sees.
    pub budget: Bytes,
    /// Weights.
    pub weights: Bytes,
    /// Peak of activations, forward pass or sampling.
    pub activations: Bytes,
    /// Runtime, communication buffers, CUDA graphs.
    pub runtime: Bytes,
    /// The rest, for KV cache and recurrent states; zero if nothing is left.
    pub cache: Bytes,
    /// Longest sequence, if there is a limit.
    max_model_len: Option<f64>,
    layers: Vec<CacheLayers>,
    state_per_sequence: Bytes,
}

/// Cache of layers that keep the same tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
struct CacheLayers {
    bytes_per_token: Bytes,
    /// Tokens kept of one sequence, if limited.
    limit: Option<f64>,
}

impl MemoryPlan {
    /// The plan of one GPU of `deployment`; `None` without a GPU.
    #[must_use]
    pub fn of(deployment: &Deployment, shard: &Shard) -> Option<Self> {
        let gpu = deployment.gpu.as_ref()?;
        let limits = &deployment.limits;
        let budget = (gpu.memory - DRIVER_RESERVE) * limits.gpu_memory_utilization;
        let weights = shard.resident_weights();
        let activations = activation_peak(deployment);
        let runtime = if deployment.parallelism.tensor > 1 {
            RUNTIME_TENSOR_PARALLEL
        } else {
            RUNTIME
        };
        let step = to_f64(limits.max_num_batched_tokens);
        let kinds: Vec<f64> = shard.caching_layers().map(|kind| kind.layers).collect();
        let group = group_size(&kinds);
        let layers = shard.caching_layers().map(|kind| CacheLayers {
            bytes_per_token: kind.kv_per_token * ((kind.layers / group).ceil() * group),
            limit: kind.span.limit().map(|tokens| tokens - 1.0 + step),
        });
        Some(Self {
            budget,
            weights,
            activations,
            runtime,
            cache: (budget - weights - activations - runtime).max(Bytes::ZERO),
            max_model_len: limits.max_model_len.map(to_f64),
            layers: layers.collect(),
            state_per_sequence: shard.state_per_sequence(),
        })
    }

    /// Whether the weights leave space for a cache.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.cache > Bytes::ZERO
    }

    /// Cache and state of one sequence of `tokens` tokens. Windowed layers keep their window plus one step.
    #[must_use]
    pub(crate) fn sequence_bytes(&self, tokens: f64) -> Bytes {
        let cached: Bytes = self
            .layers
            .iter()
            .map(|layers| {
                layers.bytes_per_token * layers.limit.map_or(tokens, |limit| limit.min(tokens))
            })
            .sum();
        cached + self.state_per_sequence
    }

    /// How many sequences of `tokens` tokens fit; infinite for a model without cache or state.
    #[must_use]
    pub fn sequences(&self, tokens: f64) -> f64 {
        self.cache / self.sequence_bytes(tokens)
    }

    /// Tokens of KV cache as vLLM logs them: sequences of the longest length that fit, times that length.
    #[must_use]
    pub fn capacity_tokens(&self) -> f64 {
        let length = self.max_model_len.unwrap_or(1.0);
        self.sequences(length) * length
    }

    /// The longest `--max-model-len` with which vLLM starts, where the present one does not fit; `None` where it fits, or nothing does.
    #[must_use]
    pub(crate) fn shorter_model_len(&self) -> Option<f64> {
        let too_long = self.sequences(self.max_model_len?) < 1.0;
        (too_long && self.fits()).then(|| self.capacity_tokens().floor())
    }
}

/// Layers that share a block table. vLLM's groups contain one kind of layer each (full attention, one window) and have the same number of
/// layers, that of the rarest kind; it pads the last group of each kind. If the kinds have similar counts, it pads the rarer ones. Source:
/// `_get_kv_cache_groups_uniform_page_size` of vLLM 0.25.
fn group_size(kinds: &[f64]) -> f64 {
    let least = kinds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = kinds.iter().copied().fold(1.0, f64::max);
    if most < least * 1.5 { most } else { least }
}

/// Peak of a profiling step: the widest feed-forward block and the streams around it, or the sampling of all sequences.
fn activation_peak(deployment: &Deployment) -> Bytes {
    let tensor = to_f64(deployment.parallelism.tensor);
    let hidden = to_f64(deployment.model.hidden_size);
    let widest = deployment
        .model
        .layers
        .iter()
        .map(|layer| feed_forward_width(layer, tensor))
        .fold(0.0, f64::max);
    let tokens = to_f64(deployment.limits.max_num_batched_tokens);
    let forward = tokens * (STREAMS_ALIVE * hidden + widest) * deployment.dtype.bytes();
    let rows = to_f64(deployment.limits.max_num_seqs).min(tokens);
    let sampling = rows * to_f64(deployment.model.vocab_size) * BYTES_PER_LOGIT;
    Bytes(forward.max(sampling))
}

/// Elements per token of a block's intermediate tensors: the up projection with its gate, and the activated product. The first buffer of
/// routed experts also holds their output.
fn feed_forward_width(layer: &Layer, tensor: f64) -> f64 {
    match &layer.feed_forward {
        FeedForward::None => 0.0,
        FeedForward::Dense(mlp) => {
            to_f64(if mlp.gated {
                3 * mlp.width
            } else {
                2 * mlp.width
            }) / tensor
        }
        FeedForward::Experts(moe) => {
            let inner = to_f64(moe.expert_width) / tensor;
            let up = if moe.gated { 2.0 * inner } else { inner };
            to_f64(moe.top_k) * (up.max(to_f64(moe.expert_inputs)) + inner)
        }
    }
}

#[cfg(test)]
#[cfg(feature = "clap")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::deployment::DeploymentFlags;
    use crate::spec::gpu::GpuTable;
    use crate::spec::model::ModelSpec;

    fn plan(config: &Value, line: &str) -> MemoryPlan {
        let table = GpuTable::embedded().expect("parses");
        let words: Vec<&str> = line.split(' ').collect();
        let flags = DeploymentFlags::from_vllm_command_line(&words).expect("readable");
        let model = ModelSpec::from_config(config).expect("complete");
        let gpu = table.find("H100").expect("known").clone();
        let deployment = Deployment::new(model, Some(gpu), &flags).expect("runs");
        MemoryPlan::of(&deployment, &Shard::of(&deployment)).expect("has a GPU")
    }

    fn llama_3_8b() -> Value {
        json!({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
               "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256, "torch_dtype": "bfloat16"})
    }

    fn llama_2_7b_awq() -> Value {
        json!({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
               "num_attention_heads": 32, "vocab_size": 32000, "torch_dtype": "float16",
               "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": true}})
    }

    fn qwen_half_b() -> Value {
        json!({"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
               "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": true,
               "torch_dtype": "bfloat16"})
    }

    #[test]
    fn capacity_agrees_with_what_vllm_logged() {
        for (config, line, logged) in [
            (
                llama_3_8b(),
                "--max-model-len 8192 --max-num-seqs 256",
                462_944.0,
            ),
            (
                llama_3_8b(),
                "--max-model-len 8192 --max-num-seqs 256 --gpu-memory-utilization 0.30",
                60_784.0,
            ),
            (
                qwen_half_b(),
                "--max-model-len 4096 --max-num-seqs 256",
                6_234_416.0,
            ),
            (
                llama_2_7b_awq(),
                "--dtype half --max-model-len 2048 --max-num-seqs 8 --gpu-memory-utilization 0.90 --quantization awq_marlin --enforce-eager",
                136_384.0,
            ),
        ] {
            let predicted = plan(&config, line).capacity_tokens();
            assert!(
                (predicted / logged - 1.0).abs() < 0.01,
                "{line}: {predicted} for {logged}"
            );
        }
    }

    /// 29 windowed layers beside 5 full ones make 6 groups of 5 and a padded layer.
    #[test]
    fn layers_of_two_kinds_are_grouped_as_vllm_groups_them() {
        assert!((group_size(&[5.0, 29.0]) - 5.0).abs() < 1e-9);
        assert!((group_size(&[12.0, 13.0]) - 13.0).abs() < 1e-9);
        let gemma = json!({"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
            "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 1024,
            "sliding_window_pattern": 6, "vocab_size": 262_144, "torch_dtype": "bfloat16"});
        let plan = plan(&gemma, "--max-model-len 16384 --max-num-seqs 256");
        let logged = 766_045.0;
        let predicted = plan.capacity_tokens();
        assert!((predicted / logged - 1.0).abs() < 0.015, "{predicted}");
    }

    #[test]
    fn a_window_caps_what_a_sequence_keeps() {
        let mut config = llama_3_8b();
        config["model_type"] = json!("mistral");
        config["sliding_window"] = json!(4096);
        let plan = plan(
            &config,
            "--max-model-len 32768 --max-num-batched-tokens 2048 --max-num-seqs 64",
        );
        let (short, long) = (plan.sequence_bytes(6143.0), plan.sequence_bytes(32768.0));
        assert!((long / short - 1.0).abs() < 1e-12);
        assert!(plan.sequence_bytes(1000.0) < short);
    }

    #[test]
    fn weights_that_do_not_fit_leave_nothing() {
        let plan = plan(&llama_3_8b(), "--gpu-memory-utilization 0.1");
        assert!(!plan.fits());
        assert!(plan.capacity_tokens().abs() < 1e-9);
    }
}
