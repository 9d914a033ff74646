//! The files of a capture, and their lines as they stand there.

use serde::{Deserialize, Serialize};

use roofline::units::Seconds;

pub use super::gpu::{GpmLine, GpuLine, GpuLineFacts};

/// The format written here, and the only one read.
pub const FORMAT: u32 = 1;

/// `capture.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the capture.
    pub format: u32,
    /// What it is called.
    pub name: String,
    /// vLLM's version, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vllm_version: Option<String>,
    /// The `vllm serve` line, where known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vllm_args: Vec<String>,
    /// What `/v1/models` answered.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub v1_models: serde_json::Value,
    /// KV capacity that vLLM logged, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_tokens_logged: Option<f64>,
    /// The GPUs, all alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuLineFacts>,
    /// Loads, one after the other; empty in a live recording.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<CapturePhase>,
}

/// A stretch of one kind of load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CapturePhase {
    /// What it is called.
    pub name: String,
    /// Unix time at which the load started.
    pub t_start: f64,
    /// Unix time at which no new request was sent any more.
    pub t_load_end: f64,
    /// Everything else that was written of it: the client's truth.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

/// A line of `vllm.jsonl.gz`: a page, or why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VllmLine {
    /// Unix time at which the scrape started.
    pub t_start: f64,
    /// Unix time at which the page had arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_end: Option<f64>,
    /// The page; the first one whole, later ones perhaps only vLLM's sample lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl VllmLine {
    /// When the page was made, as well as can be told: when it had arrived.
    #[must_use]
    pub fn time(&self) -> Seconds {
        Seconds(self.t_end.unwrap_or(self.t_start))
    }
}
