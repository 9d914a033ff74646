//! The files of a capture, and the form of their lines.

use serde::{Deserialize, Serialize};

use roofline::units::Seconds;

pub use super::gpu::{GpmLine, GpuLine, GpuLineFacts};

/// The format that is written, and the only one that can be read.
pub const FORMAT: u32 = 1;

/// `capture.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the capture.
    pub format: u32,
    /// Name of the capture.
    pub name: String,
    /// vLLM's version, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vllm_version: Option<String>,
    /// The `vllm serve` line, where known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vllm_args: Vec<String>,
    /// The answer of `/v1/models`.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub v1_models: serde_json::Value,
    /// KV capacity that vLLM logged, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_tokens_logged: Option<f64>,
    /// The GPUs, all alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuLineFacts>,
    /// Phases of load, in order; empty in a live recording.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<CapturePhase>,
}

/// A phase with one kind of load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CapturePhase {
    /// Name of the phase.
    pub name: String,
    /// Unix time at which the load started.
    pub t_start: f64,
    /// Unix time at which the last new request was sent.
    pub t_load_end: f64,
    /// All other members: the client's own figures.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

/// A line of `vllm.jsonl.gz`: a page, or the reason why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VllmLine {
    /// Unix time at which the scrape started.
    pub t_start: f64,
    /// Unix time at which the page had arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_end: Option<f64>,
    /// The page; the first one in full, later ones may contain only vLLM's samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl VllmLine {
    /// The best known time of the page: its arrival.
    #[must_use]
    pub fn time(&self) -> Seconds {
        Seconds(self.t_end.unwrap_or(self.t_start))
    }
}
