//! `DeploymentFlags`: vLLM's own flags for how a model is served, from our command line or from vLLM's.

use clap::{ArgAction, Args, Command, FromArgMatches};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::command_line::{Line, Takes, spelled_out};

/// How the model is served, in vLLM's words. What is not given takes vLLM's default.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Deployment (vLLM's own flags)")]
pub struct DeploymentFlags {
    /// Hugging Face id, directory, or path to config.json.
    #[arg(long)]
    pub model: Option<String>,
    /// dtype of weights and activations: auto, half, float16, bfloat16, float32.
    #[arg(long)]
    pub dtype: Option<String>,
    /// Quantisation method (-q); read from config.json when not given.
    #[arg(long)]
    pub quantization: Option<String>,
    /// dtype of the KV cache: auto, fp8, bfloat16, …
    #[arg(long)]
    pub kv_cache_dtype: Option<String>,
    /// GPUs that share each layer (-tp).
    #[arg(long, value_parser = parse_count)]
    pub tensor_parallel_size: Option<u64>,
    /// Stages that the layers are divided into (-pp).
    #[arg(long, value_parser = parse_count)]
    pub pipeline_parallel_size: Option<u64>,
    /// Replicas of the engine (-dp).
    #[arg(long, value_parser = parse_count)]
    pub data_parallel_size: Option<u64>,
    /// Distribute whole experts over the GPUs instead of slices of each (-ep).
    #[arg(long)]
    pub enable_expert_parallel: bool,
    /// Longest sequence; 8k is 8,000 and 8K is 8,192.
    #[arg(long, value_parser = parse_count)]
    pub max_model_len: Option<u64>,
    /// Most sequences in one step.
    #[arg(long, value_parser = parse_count)]
    pub max_num_seqs: Option<u64>,
    /// Most tokens in one step.
    #[arg(long, value_parser = parse_count)]
    pub max_num_batched_tokens: Option<u64>,
    /// Share of GPU memory that vLLM may take.
    #[arg(long)]
    pub gpu_memory_utilization: Option<f64>,
    /// No CUDA graphs.
    #[arg(long)]
    pub enforce_eager: bool,
    /// Speculative decoding (-sc), as JSON or by members: --speculative-config.num_speculative_tokens 3.
    #[arg(long, value_name = "JSON")]
    pub speculative_config: Option<String>,
}

/// A vLLM command line that does not say what it seems to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("vLLM's command line: {0}")]
pub struct CommandLineError(String);

impl DeploymentFlags {
    /// Reads the arguments of a running or recorded vLLM: `serve MODEL --flag value --flag=value`. Flags of no concern are skipped.
    ///
    /// # Errors
    /// When a flag of concern has a value that vLLM would refuse.
    pub fn from_vllm_command_line<S: AsRef<str>>(
        arguments: &[S],
    ) -> Result<Self, CommandLineError> {
        let command = Self::augment_args(
            Command::new("vllm")
                .no_binary_name(true)
                .args_override_self(true),
        );
        let words = arguments.iter().map(|word| word.as_ref().to_owned());
        let spelled = spelled_out(Line::Vllm, words, |name| takes(&command, name));
        let matches = command
            .try_get_matches_from(spelled.arguments)
            .map_err(|error| CommandLineError(first_line(&error.to_string())))?;
        Self::from_arg_matches(&matches)
            .map_err(|error| CommandLineError(first_line(&error.to_string())))
    }

    /// These flags where `over` says nothing, `over`'s elsewhere.
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
        }
    }
}

/// What the flag `--name` of `command` takes, if it has it.
#[must_use]
pub fn takes(command: &Command, name: &str) -> Option<Takes> {
    let argument = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(name))?;
    let several = argument
        .get_num_args()
        .is_some_and(|range| range.max_values() > 1);
    Some(match argument.get_action() {
        ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count => Takes::Nothing,
        _ if several => Takes::Values,
        _ => Takes::Value,
    })
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// A whole number as vLLM reads it: `k`, `m`, `g` are decimal multiples, `K`, `M`, `G` binary ones.
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
        return Err("must be at least 1".to_owned());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, positive and below 2^53"
    )]
    Ok(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> DeploymentFlags {
        let words: Vec<&str> = line.split(' ').collect();
        DeploymentFlags::from_vllm_command_line(&words).expect("readable")
    }

    #[test]
    fn a_recorded_command_line_is_read() {
        let flags = parsed(
            "serve /models/llama-2-7b-awq --load-format dummy --enable-mfu-metrics --host 127.0.0.1 --port 8000 --dtype half \
             --max-model-len 2048 --max-num-seqs 8 --gpu-memory-utilization 0.90 --quantization awq_marlin --enforce-eager",
        );
        assert_eq!(flags.model.as_deref(), Some("/models/llama-2-7b-awq"));
        assert_eq!(flags.dtype.as_deref(), Some("half"));
        assert_eq!(flags.max_num_seqs, Some(8));
        assert_eq!(flags.gpu_memory_utilization, Some(0.9));
        assert!(flags.enforce_eager);
        assert!(!flags.enable_expert_parallel);
    }

    #[test]
    fn all_of_vllms_spellings_are_read() {
        let flags = parsed(
            "python3 -m vllm.entrypoints.openai.api_server --model=m -tp 8 --max_model_len 32k --kv-cache-dtype=fp8 -ep",
        );
        assert_eq!(flags.model.as_deref(), Some("m"));
        assert_eq!(flags.tensor_parallel_size, Some(8));
        assert_eq!(flags.max_model_len, Some(32_000));
        assert_eq!(flags.kv_cache_dtype.as_deref(), Some("fp8"));
        assert!(flags.enable_expert_parallel);
        assert_eq!(
            parsed("serve m --max-model-len 2K").max_model_len,
            Some(2048)
        );
    }

    #[test]
    fn nonsense_is_named() {
        let error =
            DeploymentFlags::from_vllm_command_line(&["serve", "m", "--max-num-seqs", "many"]);
        let message = error.expect_err("no number").to_string();
        assert!(message.contains("--max-num-seqs"), "{message}");
    }

    #[test]
    fn explicit_flags_win() {
        let flags = parsed("serve m --max-num-seqs 8")
            .overridden_by(parsed("--max-num-seqs 16 --dtype half"));
        assert_eq!(
            (flags.max_num_seqs, flags.model.as_deref()),
            (Some(16), Some("m"))
        );
    }
}
