//! `DeploymentFlags` from the command line of a running or recorded vLLM.

use clap::{ArgAction, Args as _, Command, FromArgMatches as _};
use thiserror::Error;

use super::DeploymentFlags;
pub use super::spelling::{LineOrigin, Spelled, Takes, normalize};

/// An invalid vLLM command line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("vLLM's command line: {0}")]
pub struct CommandLineError(String);

impl DeploymentFlags {
    /// Parses the arguments of a running or recorded vLLM: `serve MODEL --flag value --flag=value`. Irrelevant flags are skipped.
    ///
    /// # Errors
    /// When a relevant flag has a value that vLLM would refuse.
    pub fn from_vllm_command_line<S: AsRef<str>>(
        arguments: &[S],
    ) -> Result<Self, CommandLineError> {
        let command = Self::augment_args(
            Command::new("vllm")
                .no_binary_name(true)
                .args_override_self(true),
        );
        let words = arguments.iter().map(|word| word.as_ref().to_owned());
        let spelled = normalize(LineOrigin::Vllm, words, |name| takes(&command, name));
        let matches = command
            .try_get_matches_from(spelled.arguments)
            .map_err(|error| CommandLineError(first_line(&error.to_string())))?;
        Self::from_arg_matches(&matches)
            .map_err(|error| CommandLineError(first_line(&error.to_string())))
    }

    /// These flags as the arguments of a `vllm serve` line, which [`Self::from_vllm_command_line`] parses again. It contains nothing else
    /// of the original line, such as its `--api-key`.
    #[must_use]
    pub fn to_vllm_command_line(&self) -> Vec<String> {
        let Ok(serde_json::Value::Object(flags)) = serde_json::to_value(self) else {
            return Vec::new();
        };
        let given = flags.into_iter().filter_map(|(name, value)| {
            let flag = format!("--{name}");
            match value {
                serde_json::Value::Bool(true) => Some(vec![flag]),
                serde_json::Value::Null | serde_json::Value::Bool(false) => None,
                serde_json::Value::String(text) => Some(vec![flag, text]),
                other => Some(vec![flag, other.to_string()]),
            }
        });
        std::iter::once("serve".to_owned())
            .chain(given.flatten())
            .collect()
    }
}

/// Whether the flag `--name` of `command` takes a value, if the command has the flag.
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
