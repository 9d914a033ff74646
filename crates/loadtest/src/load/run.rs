//! `LoadRun`: the outcome of a load test, request by request; the file that `dynamic --save-result` writes and `--results` reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the JSON form of [`LoadRun`].
pub const SCHEMA: u32 = 1;
/// Name of the tool that wrote the file.
pub(crate) const TOOL: &str = "vllm-roofline-exporter";

/// A load test: its settings, its requests, and the client's own overhead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadRun {
    /// Version of this form.
    pub schema: u32,
    /// [`TOOL`].
    pub tool: String,
    /// Version of the tool.
    pub version: String,
    /// Unix time of the start of the measurement, in seconds.
    pub started_at: f64,
    /// Base URL of the server.
    pub url: String,
    /// Model name used in the requests.
    pub model: String,
    /// Which of the server's interfaces was used.
    pub api: Api,
    /// The load on the server.
    pub load: RequestedLoad,
    /// Requests sent before the measurement, which no other figure includes.
    pub warmup_requests: u32,
    /// From the first send to the end of the last measured request.
    pub duration_seconds: f64,
    /// Whether the run ended early: by the user, or because the server was gone.
    pub interrupted: bool,
    /// Requests that were answered in full.
    pub completed: u32,
    /// Requests that failed.
    pub failed: u32,
    /// How often each kind of failure occurred.
    pub errors: BTreeMap<String, u32>,
    /// The client's own overhead.
    pub client: ClientCost,
    /// Every measured request, in the order they were sent.
    pub requests: Vec<RequestRecord>,
}

/// Which of the server's interfaces is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `/v1/completions`, with prompts as token ids.
    #[default]
    Completions,
    /// `/v1/chat/completions`, with prompts as text.
    Chat,
}

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The next one is sent when one ends.
    Closed,
    /// They are sent at a rate, whatever the server does.
    Open,
}

/// The load on the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestedLoad {
    /// How requests followed each other.
    pub mode: Mode,
    /// Concurrent requests; of an open loop the limit, if any.
    pub concurrency: Option<u32>,
    /// Requests per second of an open loop.
    pub request_rate: Option<f64>,
    /// Shape of the gamma distribution of the gaps of an open loop: 1 is Poisson, less is burstier.
    pub burstiness: Option<f64>,
    /// Prompt tokens of the answered requests, the shared prefix included.
    pub input_len: Option<Lengths>,
    /// Output tokens of the answered requests.
    pub output_len: Option<Lengths>,
    /// Tokens that prompts start with in common.
    pub shared_prefix_len: u32,
}

/// Lengths in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// Their mean.
    pub mean: f64,
    /// The shortest.
    pub min: u32,
    /// The longest.
    pub max: u32,
}

impl Lengths {
    /// The range of `lengths`; `None` without any.
    pub fn of(lengths: impl Iterator<Item = u32> + Clone) -> Option<Self> {
        let count = lengths.clone().fold(0.0, |count, _| count + 1.0);
        let sum: f64 = lengths.clone().map(f64::from).sum();
        Some(Self {
            min: lengths.clone().min()?,
            max: lengths.max()?,
            mean: sum / count,
        })
    }
}

/// The client's own overhead, measured during the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientCost {
    /// CPU time of this process.
    pub cpu_seconds: f64,
    /// 99th percentile of the delay between the arrival of bytes at a socket and their processing, over all probes.
    pub event_lag_p99_seconds: f64,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// When it was sent, in seconds since [`LoadRun::started_at`].
    pub start_seconds: f64,
    /// Prompt tokens as the server counts them, or as sent where it does not.
    pub input_tokens: u32,
    /// Output tokens as the server counts them; for a failed request, those that arrived.
    pub output_tokens: u32,
    /// From sending to the first output token; `None` if there was none.
    pub ttft_seconds: Option<f64>,
    /// Gaps between the chunks that carried output tokens.
    pub itl_seconds: Vec<f64>,
    /// From sending to the last output token; for a failed request, to its failure.
    pub e2e_seconds: f64,
    /// The kind of failure; `None` for a request answered in full.
    pub error: Option<String>,
}

impl RequestRecord {
    /// Time per output token after the first, `(e2e − ttft) / (output tokens − 1)`; `None` with fewer than two tokens or a failure.
    #[must_use]
    pub fn tpot_seconds(&self) -> Option<f64> {
        let ttft = self.ttft_seconds.filter(|_| self.error.is_none())?;
        (self.output_tokens > 1)
            .then(|| (self.e2e_seconds - ttft) / f64::from(self.output_tokens - 1))
    }
}

impl LoadRun {
    /// The requests answered in full.
    pub fn answered(&self) -> impl Iterator<Item = &RequestRecord> {
        self.requests
            .iter()
            .filter(|request| request.error.is_none())
    }

    /// Output tokens of the answered requests per second of the whole run; `vllm bench serve` uses the same definition.
    #[must_use]
    pub fn output_tokens_per_second(&self) -> f64 {
        let tokens: f64 = self
            .answered()
            .map(|request| f64::from(request.output_tokens))
            .sum();
        per_second(tokens, self.duration_seconds)
    }

    /// Answered requests per second of the whole run.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        per_second(f64::from(self.completed), self.duration_seconds)
    }
}

fn per_second(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}
