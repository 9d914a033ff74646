//! Reads `vllm bench serve --save-result`, plain and detailed, from 0.8 on.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::format::{ResultFormat, each, has};
use super::{
    CompletedRequest, Distribution, Latencies, LoadResult, PercentileOrigin, ResultLoad,
    ResultRates, ResultSource, Tokens, requests,
};
use roofline::units::Seconds;

/// The format.
pub(super) const FORMAT: ResultFormat = ResultFormat {
    document: "a result of vllm bench serve",
    files: "vllm bench serve (--save-result, --save-detailed)",
    is: |document| has(document, &["request_throughput", "completed", "duration"]),
    read: |documents| each(documents, |file| vec![result(file)]),
};

/// The members that are read; all others, including percentiles, are in `rest`.
#[derive(Debug, Deserialize)]
struct BenchServe {
    date: Option<String>,
    label: Option<String>,
    model_id: Option<String>,
    request_rate: Option<Value>,
    burstiness: Option<f64>,
    max_concurrency: Option<f64>,
    duration: f64,
    completed: u32,
    #[serde(default)]
    failed: u32,
    total_input_tokens: f64,
    total_output_tokens: f64,
    request_throughput: f64,
    request_goodput: Option<f64>,
    output_throughput: f64,
    total_token_throughput: Option<f64>,
    #[serde(default)]
    latencies: Vec<f64>,
    #[serde(default)]
    input_lens: Vec<f64>,
    #[serde(default)]
    output_lens: Vec<f64>,
    #[serde(default)]
    ttfts: Vec<f64>,
    #[serde(default)]
    itls: Vec<Vec<f64>>,
    #[serde(default)]
    start_times: Vec<f64>,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn result(file: BenchServe) -> LoadResult {
    let requests = file.requests();
    let mut computed = requests::latencies(&requests);
    // Without details, the file still has the end-to-end latency of each request.
    if requests.is_empty() && file.latencies.len() == file.completed as usize {
        computed.e2e = Distribution::of(file.latencies.iter().copied());
    }
    let latency = Latencies {
        ttft: file.printed("ttft", computed.ttft),
        tpot: file.printed("tpot", computed.tpot),
        itl: file.printed("itl", computed.itl),
        e2e: file.printed("e2el", computed.e2e),
    };
    LoadResult {
        source: ResultSource {
            tool: "vllm bench serve".to_owned(),
            label: file.label.clone(),
            ..ResultSource::default()
        },
        started_at: file.started_at(),
        duration: Seconds(file.duration),
        load: ResultLoad {
            max_concurrency: file.max_concurrency,
            // "inf" means no rate limit.
            request_rate: file.request_rate.as_ref().and_then(Value::as_f64),
            burstiness: file.burstiness,
        },
        completed: file.completed.into(),
        failed: file.failed.into(),
        errors: errors(&file.errors),
        tokens: Tokens {
            input: file.total_input_tokens,
            cached: None,
            output: file.total_output_tokens,
        },
        rates: ResultRates {
            requests_per_second: Some(file.request_throughput),
            output_tokens_per_second: Some(file.output_throughput),
            output_tokens_per_second_interval: requests::throughput_interval(
                &requests,
                file.duration,
            ),
            total_tokens_per_second: file.total_token_throughput,
            goodput_requests_per_second: file.request_goodput,
        },
        latency,
        requests,
        model: file.model_id,
        ..LoadResult::default()
    }
}

impl BenchServe {
    /// Start of the run. The tool writes its end, to the second and without a time zone: taken as UTC, which containers use.
    fn started_at(&self) -> Option<f64> {
        let ended = DateTime::strptime("%Y%m%d-%H%M%S", self.date.as_ref()?).ok()?;
        let ended = TimeZone::UTC.to_timestamp(ended).ok()?;
        Some(ended.as_second() as f64 - self.duration)
    }

    /// The percentiles of `metric` as printed; missing ones as computed.
    fn printed(&self, metric: &str, computed: Option<Distribution>) -> Option<Distribution> {
        let seconds = |statistic: &str| {
            let value = self.rest.get(&format!("{statistic}_{metric}_ms"))?;
            Some(value.as_f64()? / 1e3)
        };
        let Some(p50) = seconds("median").or_else(|| seconds("p50")) else {
            return computed;
        };
        // A load of one token each has no time per token; the tool prints zeros then.
        if self.completed == 0 || (p50 == 0.0 && seconds("p99") == Some(0.0)) {
            return computed;
        }
        let mut quantiles: Vec<[f64; 2]> = [
            ("p25", 0.25),
            ("p75", 0.75),
            ("p90", 0.9),
            ("p95", 0.95),
            ("p99", 0.99),
        ]
        .into_iter()
        .filter_map(|(name, share)| Some([share, seconds(name)?]))
        .chain([[0.5, p50]])
        .collect();
        quantiles.sort_by(|one, other| one[0].total_cmp(&other[0]));
        let printed = Distribution {
            origin: PercentileOrigin::Tool,
            count: Some(self.completed.into()),
            mean_seconds: seconds("mean"),
            std_seconds: seconds("std"),
            p50_seconds: Some(p50),
            p90_seconds: seconds("p90"),
            p95_seconds: seconds("p95"),
            p99_seconds: seconds("p99"),
            quantiles,
            ..Distribution::default()
        };
        Some(printed.printed(computed))
    }

    /// The completed requests of a detailed file.
    fn requests(&self) -> Vec<CompletedRequest> {
        let origin = self
            .start_times
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        let lengths = self.input_lens.iter().zip(&self.output_lens);
        let rows = lengths.zip(self.ttfts.iter().zip(&self.itls)).enumerate();
        rows.filter(|(place, _)| self.errors.get(*place).is_none_or(String::is_empty))
            .map(|(place, ((input, output), (ttft, itl)))| CompletedRequest {
                start: self
                    .start_times
                    .get(place)
                    .map_or(0.0, |start| start - origin),
                input_tokens: *input,
                output_tokens: *output,
                ttft: Some(*ttft),
                e2e: self
                    .latencies
                    .get(place)
                    .copied()
                    .unwrap_or_else(|| ttft + itl.iter().sum::<f64>()),
                itl: itl.clone(),
            })
            .collect()
    }
}

/// Errors by their last line, which ends a traceback.
fn errors(texts: &[String]) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for text in texts {
        if let Some(line) = text.lines().rev().find(|line| !line.trim().is_empty()) {
            let kind: String = line.trim().chars().take(80).collect();
            *kinds.entry(kind).or_default() += 1;
        }
    }
    kinds
}
