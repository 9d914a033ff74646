//! Results of load tests of any tool, in one form.
//!
//! One module per tool. Percentiles that a tool printed are kept as printed; missing ones are computed from its requests, by linear
//! interpolation as numpy does (and with it vLLM's and AIPerf's own tools). A client measured everything here, unless its origin says
//! otherwise.

mod aiperf;
mod aiperf_requests;
mod aiperf_server;
mod distribution;
mod document;
mod error;
mod format;
mod guidellm;
mod own;
mod requests;
mod vllm_bench;

pub use distribution::{ConfidenceInterval, Distribution, PercentileOrigin};
pub use document::{of_text, read, read_all};
pub use error::ResultsError;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use roofline::units::{Seconds, ratio};

/// One load test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadResult {
    /// The tool that wrote it, and the file.
    pub source: ResultSource,
    /// The name the model was served under.
    pub model: Option<String>,
    /// Unix time at which the first request was sent.
    pub started_at: Option<f64>,
    /// From sending the first request to the end of the last answer.
    pub duration: Seconds,
    /// The load on the server.
    pub load: ResultLoad,
    /// Requests answered in full.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Failed requests by cause.
    pub errors: BTreeMap<String, u64>,
    /// Tokens of the completed requests.
    pub tokens: Tokens,
    /// Throughput.
    pub rates: ResultRates,
    /// Latencies.
    pub latency: Latencies,
    /// Each completed request, where the source lists them.
    pub requests: Vec<CompletedRequest>,
    /// Caveats: what makes these figures less than exact.
    pub caveats: Vec<String>,
    /// The id that the files of one AIPerf run share.
    pub benchmark_id: Option<String>,
}

/// The tool that wrote a result, and the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultSource {
    /// Name of the tool.
    pub tool: String,
    /// Its version, where known.
    pub version: Option<String>,
    /// The file or directory.
    pub file: Option<String>,
    /// The user's label of the run.
    pub label: Option<String>,
}

/// The load on the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultLoad {
    /// Most requests in flight; `null` if not limited.
    pub max_concurrency: Option<f64>,
    /// Requests sent per second; `null` for as fast as possible.
    pub request_rate: Option<f64>,
    /// Shape of the gaps between requests; 1 is Poisson, less is burstier.
    pub burstiness: Option<f64>,
}

/// Tokens of the completed requests, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    /// Tokens of the prompts, cached ones included.
    pub input: f64,
    /// Of these, tokens that the server found in its prefix cache, where known.
    pub cached: Option<f64>,
    /// Tokens of the answers.
    pub output: f64,
}

/// Throughput.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResultRates {
    /// Requests completed per second.
    pub requests_per_second: Option<f64>,
    /// Tokens of answers per second.
    pub output_tokens_per_second: Option<f64>,
    /// 95 % confidence interval of the output tokens per second, from slices of the run.
    pub output_tokens_per_second_interval: Option<ConfidenceInterval>,
    /// Tokens of prompts and answers per second.
    pub total_tokens_per_second: Option<f64>,
    /// Requests within the targets per second, where the tool counted them.
    pub goodput_requests_per_second: Option<f64>,
}

/// Latencies of the requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// Time to first token.
    pub ttft: Option<Distribution>,
    /// Time per output token after the first: one value per request.
    pub tpot: Option<Distribution>,
    /// Time between two outputs of a request: one value per gap.
    pub itl: Option<Distribution>,
    /// From sending a request to the end of its answer.
    pub e2e: Option<Distribution>,
}

impl Latencies {
    /// The distributions with their names.
    #[must_use]
    pub fn all(&self) -> [(&'static str, Option<&Distribution>); 4] {
        [
            ("ttft", self.ttft.as_ref()),
            ("tpot", self.tpot.as_ref()),
            ("itl", self.itl.as_ref()),
            ("e2e", self.e2e.as_ref()),
        ]
    }

    /// Time per output token; where there are no single requests, time between tokens.
    #[must_use]
    pub fn per_token(&self) -> Option<&Distribution> {
        self.tpot.as_ref().or(self.itl.as_ref())
    }
}

/// One completed request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompletedRequest {
    /// Seconds from the first request of the run to this one.
    pub start: f64,
    /// Tokens of its prompt.
    pub input_tokens: f64,
    /// Tokens of its answer.
    pub output_tokens: f64,
    /// Seconds to its first token.
    pub ttft: Option<f64>,
    /// Seconds between its outputs.
    pub itl: Vec<f64>,
    /// Seconds to its end.
    pub e2e: f64,
}

impl CompletedRequest {
    /// Seconds per output token after the first: `(e2e − ttft) / (output − 1)`.
    #[must_use]
    pub fn tpot(&self) -> Option<f64> {
        ratio(self.e2e - self.ttft?, (self.output_tokens - 1.0).max(0.0))
    }
}

impl LoadResult {
    /// Mean requests in flight (Little's law), or the limit where latencies are unknown.
    #[must_use]
    pub fn concurrency(&self) -> Option<f64> {
        let latency = self.latency.e2e.as_ref().and_then(|e2e| e2e.mean_seconds);
        let in_flight = |latency: f64| ratio(latency * self.completed as f64, self.duration.0);
        latency.and_then(in_flight).or(self.load.max_concurrency)
    }

    /// Mean tokens of a prompt, cached tokens of it, and tokens of an answer.
    #[must_use]
    pub fn mean_tokens(&self) -> Option<Tokens> {
        let requests = self.completed as f64;
        Some(Tokens {
            input: ratio(self.tokens.input, requests)?,
            cached: self
                .tokens
                .cached
                .and_then(|cached| ratio(cached, requests)),
            output: ratio(self.tokens.output, requests)?,
        })
    }
}
