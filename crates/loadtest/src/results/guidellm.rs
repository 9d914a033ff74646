//! Reads GuideLLM's `benchmarks.json`: one result per benchmark.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::format::{ResultFormat, each};
use super::{
    CompletedRequest, Distribution, Latencies, LoadResult, PercentileOrigin, ResultLoad,
    ResultRates, ResultSource, Tokens, requests,
};
use roofline::units::Seconds;

/// The format.
pub(super) const FORMAT: ResultFormat = ResultFormat {
    document: "a GuideLLM report",
    files: "GuideLLM",
    is: |document| document.pointer("/benchmarks/0/metrics").is_some(),
    read: |documents| each(documents, |report| results(&report)),
};

#[derive(Debug, Deserialize)]
struct Report {
    metadata: Option<GuidellmMetadata>,
    benchmarks: Vec<Benchmark>,
}

#[derive(Debug, Deserialize)]
struct GuidellmMetadata {
    guidellm_version: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Benchmark {
    config: GuidellmConfig,
    metrics: Metrics,
    requests: Option<ByOutcome<Option<Vec<SingleRequest>>>>,
    start_time: f64,
    duration: f64,
}

#[derive(Debug, Deserialize)]
struct GuidellmConfig {
    strategy: Strategy,
    backend: Option<Backend>,
}

#[derive(Debug, Deserialize)]
struct Strategy {
    type_: String,
    streams: Option<f64>,
    max_concurrency: Option<f64>,
    rate: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Backend {
    model: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct ByOutcome<T> {
    successful: T,
    #[serde(default)]
    errored: T,
    #[serde(default)]
    incomplete: T,
}

#[derive(Debug, Deserialize)]
struct Metrics {
    request_totals: ByOutcome<u32>,
    requests_per_second: ByOutcome<Option<GuidellmSummary>>,
    request_latency: ByOutcome<Option<GuidellmSummary>>,
    prompt_token_count: ByOutcome<Option<GuidellmSummary>>,
    output_token_count: ByOutcome<Option<GuidellmSummary>>,
    time_to_first_token_ms: ByOutcome<Option<GuidellmSummary>>,
    inter_token_latency_ms: ByOutcome<Option<GuidellmSummary>>,
    output_tokens_per_second: ByOutcome<Option<GuidellmSummary>>,
    tokens_per_second: ByOutcome<Option<GuidellmSummary>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct GuidellmSummary {
    mean: f64,
    std_dev: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    total_sum: Option<f64>,
    #[serde(default)]
    percentiles: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
struct SingleRequest {
    request_start_time: Option<f64>,
    request_latency: Option<f64>,
    prompt_tokens: Option<f64>,
    cached_tokens: Option<f64>,
    output_tokens: Option<f64>,
    time_to_first_token_ms: Option<f64>,
}

fn results(report: &Report) -> Vec<LoadResult> {
    let version = report
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.guidellm_version.clone());
    let of = |benchmark| result(benchmark, version.as_deref());
    report.benchmarks.iter().map(of).collect()
}

/// A metric of the answered requests.
type Answered = ByOutcome<Option<GuidellmSummary>>;

fn result(benchmark: &Benchmark, version: Option<&str>) -> LoadResult {
    let Benchmark {
        config, metrics, ..
    } = benchmark;
    let requests = benchmark.answered();
    let totals = &metrics.request_totals;
    LoadResult {
        source: ResultSource {
            tool: "GuideLLM".to_owned(),
            version: version.map(str::to_owned),
            label: Some(config.strategy.type_.clone()),
            ..ResultSource::default()
        },
        model: config
            .backend
            .as_ref()
            .and_then(|backend| backend.model.clone()),
        started_at: Some(benchmark.start_time),
        duration: Seconds(benchmark.duration),
        load: ResultLoad {
            max_concurrency: config.strategy.streams.or(config.strategy.max_concurrency),
            request_rate: config.strategy.rate,
            burstiness: None,
        },
        completed: totals.successful.into(),
        failed: u64::from(totals.errored) + u64::from(totals.incomplete),
        errors: [("errored", totals.errored), ("incomplete", totals.incomplete)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| (kind.to_owned(), count.into()))
            .collect(),
        tokens: metrics.tokens(benchmark.single_requests()),
        rates: metrics.rates(&requests, benchmark.duration),
        latency: metrics.latencies(),
        caveats: vec![
            "GuideLLM's inter-token latency stands as TPOT: (end − first token) / (tokens − 1), weighted by tokens; its own time per output token has the first token in it".to_owned(),
        ],
        requests,
        ..LoadResult::default()
    }
}

impl Metrics {
    fn tokens(&self, requests: &[SingleRequest]) -> Tokens {
        let sum = |metric: &Answered| metric.successful.as_ref()?.total_sum;
        Tokens {
            input: sum(&self.prompt_token_count).unwrap_or_default(),
            cached: requests.iter().map(|request| request.cached_tokens).sum(),
            output: sum(&self.output_token_count).unwrap_or_default(),
        }
    }

    fn rates(&self, requests: &[CompletedRequest], duration: f64) -> ResultRates {
        let mean = |metric: &Answered| Some(metric.successful.as_ref()?.mean);
        ResultRates {
            requests_per_second: mean(&self.requests_per_second),
            output_tokens_per_second: mean(&self.output_tokens_per_second),
            output_tokens_per_second_interval: requests::throughput_interval(requests, duration),
            total_tokens_per_second: mean(&self.tokens_per_second),
            goodput_requests_per_second: None,
        }
    }

    fn latencies(&self) -> Latencies {
        let of = |metric: &Answered, per_second| {
            let summary = metric.successful.as_ref()?;
            Some(summary.distribution(self.request_totals.successful, per_second))
        };
        Latencies {
            ttft: of(&self.time_to_first_token_ms, 1e3),
            // Other tools call it TPOT.
            tpot: of(&self.inter_token_latency_ms, 1e3),
            itl: None,
            e2e: of(&self.request_latency, 1.0),
        }
    }
}

impl Benchmark {
    /// The answered requests, where the file lists them.
    fn answered(&self) -> Vec<CompletedRequest> {
        let requests = self.single_requests().iter();
        requests
            .filter_map(|request| request.request(self.start_time))
            .collect()
    }

    fn single_requests(&self) -> &[SingleRequest] {
        let successful = self
            .requests
            .as_ref()
            .and_then(|requests| requests.successful.as_deref());
        successful.unwrap_or_default()
    }
}

impl SingleRequest {
    fn request(&self, origin: f64) -> Option<CompletedRequest> {
        Some(CompletedRequest {
            start: self.request_start_time? - origin,
            input_tokens: self.prompt_tokens?,
            output_tokens: self.output_tokens?,
            ttft: self.time_to_first_token_ms.map(|first| first / 1e3),
            itl: Vec::new(),
            e2e: self.request_latency?,
        })
    }
}

impl GuidellmSummary {
    /// The distribution in seconds, from values of which `per_second` make a second. GuideLLM's percentiles are observed values.
    fn distribution(&self, requests: u32, per_second: f64) -> Distribution {
        let at = |name: &str| Some(self.percentiles.get(name)? / per_second);
        let shares = [
            ("p01", 0.01),
            ("p05", 0.05),
            ("p10", 0.1),
            ("p25", 0.25),
            ("p50", 0.5),
            ("p75", 0.75),
            ("p90", 0.9),
            ("p95", 0.95),
            ("p99", 0.99),
        ];
        Distribution {
            origin: PercentileOrigin::Tool,
            count: Some(requests.into()),
            mean_seconds: Some(self.mean / per_second),
            std_seconds: self.std_dev.map(|deviation| deviation / per_second),
            min_seconds: self.min.map(|least| least / per_second),
            p50_seconds: at("p50"),
            p90_seconds: at("p90"),
            p95_seconds: at("p95"),
            p99_seconds: at("p99"),
            max_seconds: self.max.map(|most| most / per_second),
            quantiles: shares
                .into_iter()
                .filter_map(|(name, share)| Some([share, at(name)?]))
                .collect(),
            ..Distribution::default()
        }
        .printed(None)
    }
}
