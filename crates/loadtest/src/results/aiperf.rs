//! Reads AIPerf's `profile_export_aiperf.json`, and genai-perf's file of the same form.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::format::{ResultFormat, each, has};
use super::{
    Distribution, Latencies, LoadResult, PercentileOrigin, ResultLoad, ResultRates, ResultSource,
    Tokens,
};
use roofline::units::Seconds;

/// The format.
pub(super) const FORMAT: ResultFormat = ResultFormat {
    document: "an AIPerf or genai-perf export",
    files: "AIPerf and genai-perf (profile_export_aiperf.json)",
    is: |document| {
        has(document, &["aiperf_version"]) || has(document, &["input_config", "request_latency"])
    },
    read: |documents| each(documents, |export| vec![result(export)]),
};

/// The members that are read.
#[derive(Debug, Deserialize)]
struct AiperfExport {
    aiperf_version: Option<String>,
    benchmark_id: Option<String>,
    request_throughput: Option<AiperfMetric>,
    request_latency: AiperfMetric,
    request_count: Option<AiperfMetric>,
    error_request_count: Option<AiperfMetric>,
    time_to_first_token: Option<AiperfMetric>,
    inter_token_latency: Option<AiperfMetric>,
    output_token_throughput: Option<AiperfMetric>,
    total_token_throughput: Option<AiperfMetric>,
    output_sequence_length: Option<AiperfMetric>,
    input_sequence_length: Option<AiperfMetric>,
    total_usage_prompt_tokens: Option<AiperfMetric>,
    total_usage_completion_tokens: Option<AiperfMetric>,
    benchmark_duration: Option<AiperfMetric>,
    #[serde(default)]
    input_config: Value,
    #[serde(default)]
    error_summary: Vec<ErrorCount>,
    #[serde(default)]
    was_cancelled: bool,
}

#[derive(Debug, Default, Deserialize)]
struct AiperfMetric {
    unit: String,
    avg: Option<f64>,
    #[serde(flatten)]
    statistics: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct ErrorCount {
    #[serde(default)]
    error_details: Value,
    #[serde(default)]
    count: u32,
}

fn result(export: AiperfExport) -> LoadResult {
    let mean = |metric: &Option<AiperfMetric>| metric.as_ref().and_then(|metric| metric.avg);
    let seconds = |metric: &Option<AiperfMetric>| metric.as_ref().map(AiperfMetric::distribution);
    let count = mean(&export.request_count)
        .or_else(|| export.request_latency.statistic("count"))
        .unwrap_or_default();
    let rate = mean(&export.request_throughput);
    let duration = mean(&export.benchmark_duration)
        .or_else(|| rate.map(|rate| count / rate))
        .unwrap_or_default();
    let errors: BTreeMap<String, u64> = export
        .error_summary
        .iter()
        .map(|error| (error.kind(), error.count.into()))
        .collect();
    let failed = mean(&export.error_request_count).map_or_else(|| errors.values().sum(), whole);
    LoadResult {
        source: ResultSource {
            tool: if export.aiperf_version.is_some() {
                "AIPerf"
            } else {
                "genai-perf"
            }
            .to_owned(),
            version: export.aiperf_version.clone(),
            ..ResultSource::default()
        },
        model: export
            .text("/models/items/0/name")
            .or_else(|| export.text("/model_names/0")),
        duration: Seconds(duration),
        load: ResultLoad {
            max_concurrency: export.profiling("concurrency"),
            request_rate: export.profiling("rate"),
            burstiness: None,
        },
        completed: whole(count),
        failed,
        errors,
        tokens: export.tokens(count),
        rates: ResultRates {
            requests_per_second: rate,
            output_tokens_per_second: mean(&export.output_token_throughput),
            total_tokens_per_second: mean(&export.total_token_throughput),
            ..ResultRates::default()
        },
        latency: Latencies {
            ttft: seconds(&export.time_to_first_token),
            // One value per request, (end − first token) / (tokens − 1): other tools call it TPOT.
            tpot: seconds(&export.inter_token_latency),
            itl: None,
            e2e: Some(export.request_latency.distribution()),
        },
        caveats: export.caveats(count),
        benchmark_id: export.benchmark_id,
        ..LoadResult::default()
    }
}

impl AiperfExport {
    /// The server's own count where the file has one; otherwise the client's, which tokenises the text again.
    fn tokens(&self, count: f64) -> Tokens {
        let mean = |metric: &Option<AiperfMetric>| metric.as_ref().and_then(|metric| metric.avg);
        let own = |lengths: &Option<AiperfMetric>| mean(lengths).unwrap_or_default() * count;
        Tokens {
            input: mean(&self.total_usage_prompt_tokens)
                .unwrap_or_else(|| own(&self.input_sequence_length)),
            cached: None,
            output: mean(&self.total_usage_completion_tokens)
                .unwrap_or_else(|| own(&self.output_sequence_length)),
        }
    }

    fn caveats(&self, count: f64) -> Vec<String> {
        let mut caveats = Vec::new();
        let mean = |metric: &Option<AiperfMetric>| metric.as_ref().and_then(|metric| metric.avg);
        let tokenised = mean(&self.output_sequence_length).map(|length| length * count);
        if let Some((own, server)) = tokenised.zip(mean(&self.total_usage_completion_tokens))
            && (own / server - 1.0).abs() > 0.01
        {
            caveats.push(format!(
                "AIPerf counted {own:.0} output tokens by tokenising the text again, the server says {server:.0}: AIPerf's throughput and time per token follow its own count"
            ));
        }
        if self.was_cancelled {
            caveats.push("the run was cancelled before its end".to_owned());
        }
        caveats
    }

    fn text(&self, pointer: &str) -> Option<String> {
        let value = self.input_config.pointer(pointer)?;
        value.as_str().map(str::to_owned)
    }

    /// A setting of the measured phase.
    fn profiling(&self, key: &str) -> Option<f64> {
        let phases = self.input_config.pointer("/phases")?.as_array()?;
        let measured = phases
            .iter()
            .find(|phase| phase.get("kind").and_then(Value::as_str) == Some("profiling"));
        measured.or_else(|| phases.first())?.get(key)?.as_f64()
    }
}

impl ErrorCount {
    fn kind(&self) -> String {
        let part = |key: &str| self.error_details.get(key).and_then(Value::as_str);
        part("type")
            .or_else(|| part("message"))
            .unwrap_or("error")
            .to_owned()
    }
}

impl AiperfMetric {
    fn statistic(&self, name: &str) -> Option<f64> {
        self.statistics.get(name)?.as_f64()
    }

    /// The distribution in seconds.
    fn distribution(&self) -> Distribution {
        let per_second = per_second(&self.unit);
        let at = |name: &str| Some(self.statistic(name)? / per_second);
        let shares = [
            ("min", 0.0),
            ("p1", 0.01),
            ("p5", 0.05),
            ("p10", 0.1),
            ("p25", 0.25),
            ("p50", 0.5),
            ("p75", 0.75),
            ("p90", 0.9),
            ("p95", 0.95),
            ("p99", 0.99),
            ("max", 1.0),
        ];
        Distribution {
            origin: PercentileOrigin::Tool,
            count: self.statistic("count"),
            mean_seconds: self.avg.map(|mean| mean / per_second),
            std_seconds: at("std"),
            min_seconds: at("min"),
            p50_seconds: at("p50"),
            p90_seconds: at("p90"),
            p95_seconds: at("p95"),
            p99_seconds: at("p99"),
            max_seconds: at("max"),
            quantiles: shares
                .into_iter()
                .filter_map(|(name, share)| Some([share, at(name)?]))
                .collect(),
            ..Distribution::default()
        }
        .printed(None)
    }
}

/// Number of `unit` in a second.
pub(super) fn per_second(unit: &str) -> f64 {
    match unit {
        "ns" => 1e9,
        "us" => 1e6,
        "ms" => 1e3,
        _ => 1.0,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of requests"
)]
fn whole(count: f64) -> u64 {
    count.min(f64::from(u32::MAX)) as u64
}
