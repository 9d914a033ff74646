//! Reads AIPerf's `profile_export.jsonl`: one line per request.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::aiperf::per_second;
use super::format::ResultFormat;
use super::{CompletedRequest, LoadResult, ResultRates, ResultSource, Tokens, requests};
use roofline::units::{Seconds, ratio};

/// The format.
pub(super) const FORMAT: ResultFormat = ResultFormat {
    document: "AIPerf's requests",
    files: "AIPerf (profile_export.jsonl)",
    is: |document| document.pointer("/metadata/request_start_ns").is_some(),
    read,
};

#[derive(Debug, Deserialize)]
struct RequestLine {
    metadata: AiperfMetadata,
    #[serde(default)]
    metrics: BTreeMap<String, RequestMetric>,
    #[serde(default)]
    error: Value,
}

#[derive(Debug, Deserialize)]
struct AiperfMetadata {
    request_start_ns: u64,
    request_end_ns: u64,
    #[serde(default)]
    benchmark_phase: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RequestMetric {
    value: Value,
    #[serde(default)]
    unit: String,
}

/// The requests of the measured phase as one result.
fn read(documents: Vec<Value>) -> Result<Vec<LoadResult>, String> {
    let mut lines = Vec::with_capacity(documents.len());
    for (place, document) in documents.into_iter().enumerate() {
        let line: RequestLine = serde_json::from_value(document)
            .map_err(|error| format!("request {}: {error}", place + 1))?;
        lines.push(line);
    }
    lines.retain(|line| line.metadata.benchmark_phase.as_deref() != Some("warmup"));
    Ok(vec![result(&lines)])
}

fn result(lines: &[RequestLine]) -> LoadResult {
    let start = lines
        .iter()
        .map(|line| line.metadata.request_start_ns)
        .min()
        .unwrap_or_default();
    let end = lines.iter().map(|line| line.metadata.request_end_ns).max();
    let duration = end.unwrap_or_default().saturating_sub(start) as f64 / 1e9;
    let (good, bad): (Vec<&RequestLine>, Vec<&RequestLine>) =
        lines.iter().partition(|line| line.error.is_null());
    let requests: Vec<CompletedRequest> =
        good.iter().filter_map(|line| line.request(start)).collect();
    let sum = |of: fn(&CompletedRequest) -> f64| requests.iter().map(of).sum::<f64>();
    let (input, output) = (
        sum(|request| request.input_tokens),
        sum(|request| request.output_tokens),
    );
    let mut errors = BTreeMap::new();
    for line in &bad {
        *errors.entry(line.error_kind()).or_default() += 1;
    }
    LoadResult {
        source: ResultSource {
            tool: "AIPerf".to_owned(),
            label: Some("requests".to_owned()),
            ..ResultSource::default()
        },
        started_at: Some(start as f64 / 1e9),
        duration: Seconds(duration),
        completed: requests.len() as u64,
        failed: bad.len() as u64,
        errors,
        tokens: Tokens {
            input,
            cached: None,
            output,
        },
        rates: ResultRates {
            requests_per_second: ratio(requests.len() as f64, duration),
            output_tokens_per_second: ratio(output, duration),
            output_tokens_per_second_interval: requests::throughput_interval(&requests, duration),
            total_tokens_per_second: ratio(input + output, duration),
            goodput_requests_per_second: None,
        },
        latency: requests::latencies(&requests),
        requests,
        ..LoadResult::default()
    }
}

impl RequestLine {
    fn number(&self, name: &str) -> Option<f64> {
        self.metrics.get(name)?.value.as_f64()
    }

    fn seconds(&self, name: &str) -> Option<f64> {
        let metric = self.metrics.get(name)?;
        Some(metric.value.as_f64()? / per_second(&metric.unit))
    }

    /// One request, with the lengths that the server counted, where it did.
    fn request(&self, origin: u64) -> Option<CompletedRequest> {
        let counted =
            |server: &str, client: &str| self.number(server).or_else(|| self.number(client));
        let gaps = self.metrics.get("inter_chunk_latency");
        Some(CompletedRequest {
            start: self.metadata.request_start_ns.saturating_sub(origin) as f64 / 1e9,
            input_tokens: counted("usage_prompt_tokens", "input_sequence_length")?,
            output_tokens: counted("usage_completion_tokens", "output_sequence_length")?,
            ttft: self.seconds("time_to_first_token"),
            itl: gaps.map_or_else(Vec::new, |gaps| {
                let values = gaps.value.as_array().into_iter().flatten();
                values
                    .filter_map(|gap| Some(gap.as_f64()? / per_second(&gaps.unit)))
                    .collect()
            }),
            e2e: self.seconds("request_latency")?,
        })
    }

    fn error_kind(&self) -> String {
        let part = |key: &str| self.error.get(key).and_then(Value::as_str);
        part("type")
            .or_else(|| part("message"))
            .unwrap_or("error")
            .to_owned()
    }
}
