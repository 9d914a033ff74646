//! `DeploymentFlags`: vLLM's own flags for how a model is served, from our command line or from vLLM's.

use serde::{Deserialize, Serialize};

/// How the model is served, in vLLM's words. What is not given takes vLLM's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[cfg_attr(
    feature = "clap",
    command(next_help_heading = "Deployment (vLLM's own flags)")
)]
pub struct DeploymentFlags {
    /// Hugging Face id, directory, or path to config.json.
    #[cfg_attr(feature = "clap", arg(long))]
    pub model: Option<String>,
    /// dtype of weights and activations: auto, half, float16, bfloat16, float32.
    #[cfg_attr(feature = "clap", arg(long))]
    pub dtype: Option<String>,
    /// Quantisation method (-q); read from config.json when not given.
    #[cfg_attr(feature = "clap", arg(long))]
    pub quantization: Option<String>,
    /// dtype of the KV cache: auto, fp8, bfloat16, …
    #[cfg_attr(feature = "clap", arg(long))]
    pub kv_cache_dtype: Option<String>,
    /// GPUs that share each layer (-tp).
    #[cfg_attr(feature = "clap", arg(long, value_parser = parse_count))]
    pub tensor_parallel_size: Option<u64>,
    /// Stages that the layers are divided into (-pp).
    #[cfg_attr(feature = "clap", arg(long, value_parser = parse_count))]
    pub pipeline_parallel_size: Option<u64>,
    /// Replicas of the engine (-dp).
    #[cfg_attr(feature = "clap", arg(long, value_parser = parse_count))]
    pub data_parallel_size: Option<u64>,
    /// Distribute whole experts over the GPUs instead of slices of each (-ep).
    #[cfg_attr(feature = "clap", arg(long))]
    pub enable_expert_parallel: bool,
    /// Longest sequence; 8k is 8,000 and 8K is 8,192.
    #[cfg_attr(feature = "clap", arg(long, value_parser = parse_count))]
    pub max_model_len: Option<u64>,
    /// Most sequences in one step.
    #[cfg_attr(feature = "clap", arg(long, value_parser = parse_count))]
    pub max_num_seqs: Option<u64>,
    /// Most tokens in one step.
    #[cfg_attr(feature = "clap", arg(long, value_parser = parse_count))]
    pub max_num_batched_tokens: Option<u64>,
    /// Share of GPU memory that vLLM may take.
    #[cfg_attr(feature = "clap", arg(long))]
    pub gpu_memory_utilization: Option<f64>,
    /// No CUDA graphs.
    #[cfg_attr(feature = "clap", arg(long))]
    pub enforce_eager: bool,
    /// Speculative decoding (-sc), as JSON or by members: --speculative-config.num_speculative_tokens 3.
    #[cfg_attr(feature = "clap", arg(long, value_name = "JSON"))]
    pub speculative_config: Option<String>,
    /// The `config.json` of the draft model that `speculative_config` names, where it was found.
    #[serde(skip)]
    #[cfg_attr(feature = "clap", arg(skip))]
    pub draft_config: Option<String>,
    /// Largest step that runs as a CUDA graph, in tokens.
    #[cfg_attr(feature = "clap", arg(long, value_parser = parse_count))]
    pub max_cudagraph_capture_size: Option<u64>,
    /// Compilation (-cc), as JSON or by members; read for its CUDA graphs.
    #[cfg_attr(feature = "clap", arg(long, value_name = "JSON"))]
    pub compilation_config: Option<String>,
    /// Serve LoRA adapters.
    #[cfg_attr(feature = "clap", arg(long))]
    pub enable_lora: bool,
    /// Most LoRA adapters in one step.
    #[cfg_attr(feature = "clap", arg(long, value_parser = parse_count))]
    pub max_loras: Option<u64>,
    /// Largest rank of a LoRA adapter.
    #[cfg_attr(feature = "clap", arg(long, value_parser = parse_count))]
    pub max_lora_rank: Option<u64>,
    /// Tokens that the API server collects before it sends them on.
    #[cfg_attr(feature = "clap", arg(long, value_parser = parse_count))]
    pub stream_interval: Option<u64>,
    /// Version of vLLM, whose defaults hold: 0.27 [default: 0.32].
    #[cfg_attr(feature = "clap", arg(long, value_name = "VERSION"))]
    pub vllm_version: Option<String>,
}

impl DeploymentFlags {
    /// Merges the flags: those of `over` take precedence.
    #[must_use]
    pub fn overridden_by(self, over: Self) -> Self {
        Self {
            model: over.model.or(self.model),
            dtype: over.dtype.or(self.dtype),
            quantization: over.quantization.or(self.quantization),
            kv_cache_dtype: over.kv_cache_dtype.or(self.kv_cache_dtype),
            tensor_parallel_size: over.tensor_parallel_size.or(self.tensor_parallel_size),
            pipeline_parallel_size: over.pipeline_parallel_size.or(self.pipeline_parallel_size),
            data_parallel_size: over.data_parallel_size.or(self.data_parallel_size),
            enable_expert_parallel: over.enable_expert_parallel || self.enable_expert_parallel,
            max_model_len: over.max_model_len.or(self.max_model_len),
            max_num_seqs: over.max_num_seqs.or(self.max_num_seqs),
            max_num_batched_tokens: over.max_num_batched_tokens.or(self.max_num_batched_tokens),
            gpu_memory_utilization: over.gpu_memory_utilization.or(self.gpu_memory_utilization),
            enforce_eager: over.enforce_eager || self.enforce_eager,
            speculative_config: over.speculative_config.or(self.speculative_config),
            draft_config: over.draft_config.or(self.draft_config),
            max_cudagraph_capture_size: over
                .max_cudagraph_capture_size
                .or(self.max_cudagraph_capture_size),
            compilation_config: over.compilation_config.or(self.compilation_config),
            enable_lora: over.enable_lora || self.enable_lora,
            max_loras: over.max_loras.or(self.max_loras),
            max_lora_rank: over.max_lora_rank.or(self.max_lora_rank),
            stream_interval: over.stream_interval.or(self.stream_interval),
            vllm_version: over.vllm_version.or(self.vllm_version),
        }
    }
}

impl DeploymentFlags {
    /// The flags that are set, with their values as text.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let Ok(serde_json::Value::Object(flags)) = serde_json::to_value(self) else {
            return Vec::new();
        };
        let given = flags.into_iter().filter_map(|(name, value)| match value {
            serde_json::Value::Null | serde_json::Value::Bool(false) => None,
            serde_json::Value::String(text) => Some((name, text)),
            other => Some((name, other.to_string())),
        });
        given.collect()
    }
}

/// A whole number as vLLM reads it: `k`, `m`, `g` are decimal multiples, `K`, `M`, `G` binary ones.
#[cfg(feature = "clap")]
fn parse_count(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    if digits.is_empty() {
        return Err("not a number".to_owned());
    }
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "K" => 1024.0,
        "M" => 1024.0 * 1024.0,
        "G" => 1024.0 * 1024.0 * 1024.0,
        suffix => return Err(format!("unknown suffix {suffix:?}")),
    };
    let number: f64 = digits.parse().map_err(|_| "not a number".to_owned())?;
    let count = (number * factor).round();
    if !(1.0..=1e15).contains(&count) {
        return Err("must be from 1 to 10^15".to_owned());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, positive and below 2^53"
    )]
    Ok(count as u64)
}
