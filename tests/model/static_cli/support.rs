//! Runs commands from flags to output, with their files.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};
use tempfile::TempDir;
use vllm_roofline_exporter::command::usage::UsageError;
use vllm_roofline_exporter::command::{gpus, static_roofline};
use vllm_roofline_exporter::config::ConfigError;

/// The two commands as in the program.
#[derive(Parser)]
enum Cli {
    Static(Box<static_roofline::StaticArgs>),
    Gpus(gpus::GpusArgs),
}

/// The output of a command, and its exit code.
pub(crate) struct Answer {
    pub(crate) out: String,
    pub(crate) end: anyhow::Result<()>,
}

impl Answer {
    pub(crate) fn of(arguments: &[&str]) -> Self {
        let cli = Cli::try_parse_from(["test"].iter().chain(arguments)).expect("flags are known");
        let mut out = Vec::new();
        let end = match cli {
            Cli::Static(args) => static_roofline::run(&args, &mut out),
            Cli::Gpus(args) => gpus::run(&args, &mut out),
        };
        Self {
            out: String::from_utf8(out).expect("UTF-8"),
            end,
        }
    }

    pub(crate) fn json(self) -> Value {
        self.end.expect("succeeds");
        serde_json::from_str(&self.out).expect("JSON")
    }

    /// The message of a usage or configuration error.
    pub(crate) fn refusal(self) -> String {
        let error = self.end.expect_err("fails");
        let refused = error.is::<UsageError>() || error.is::<ConfigError>();
        assert!(refused, "{error:?}");
        assert_eq!(self.out, "");
        error.to_string()
    }
}

/// A directory with `config.json` and other files of a command line.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn with(config: &Value) -> Self {
        let files = Self(tempfile::tempdir().expect("writable"));
        files.write("config.json", &config.to_string());
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("writable");
        text_of(&self.path(name))
    }

    pub(crate) fn config(&self) -> String {
        text_of(&self.path("config.json"))
    }

    /// `static` on the configuration with the flags of `line`.
    pub(crate) fn predict(&self, line: &str) -> Answer {
        let config = self.config();
        let mut arguments = vec!["static", "--model", &config];
        arguments.extend(line.split_whitespace());
        Answer::of(&arguments)
    }

    pub(crate) fn predict_json(&self, line: &str) -> Value {
        self.predict(&format!("{line} --format json")).json()
    }
}

pub(crate) fn text_of(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

pub(crate) fn llama_3_8b() -> Value {
    json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
           "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256,
           "max_position_embeddings": 8192, "torch_dtype": "bfloat16"})
}

pub(crate) fn llama_2_7b() -> Value {
    json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
           "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096,
           "torch_dtype": "float16"})
}

pub(crate) fn qwen_half_b() -> Value {
    json!({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
           "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936,
           "tie_word_embeddings": true, "max_position_embeddings": 32768, "torch_dtype": "bfloat16"})
}

pub(crate) fn awq(mut config: Value) -> Value {
    config["quantization_config"] =
        json!({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": true});
    config
}

pub(crate) fn cases() -> Vec<Value> {
    let file: Value =
        serde_json::from_str(include_str!("../../fixtures/static-cases.json")).expect("valid JSON");
    file["cases"].as_array().expect("a list").clone()
}

pub(crate) fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).expect(path)
}
