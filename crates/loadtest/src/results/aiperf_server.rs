//! Reads AIPerf's `server_metrics_export.json`: the increase of vLLM's own counters during the run.
//!
//! Totals cover the whole scrape, which starts before the load and ends after it; rates cover the measured phase.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::format::{ResultFormat, each, has};
use super::{Distribution, Latencies, LoadResult, ResultRates, ResultSource, Tokens};
use roofline::statistics::Histogram;
use roofline::units::{Seconds, ratio};

/// The format.
pub(super) const FORMAT: ResultFormat = ResultFormat {
    document: "AIPerf's server metrics",
    files: "AIPerf (server_metrics_export.json)",
    is: |document| has(document, &["metrics", "summary", "aiperf_version"]),
    read: |documents| each(documents, |export| vec![result(export)]),
};

#[derive(Debug, Deserialize)]
struct AiperfServerExport {
    aiperf_version: Option<String>,
    benchmark_id: Option<String>,
    summary: ServerSummary,
    metrics: BTreeMap<String, ServerMetric>,
}

#[derive(Debug, Deserialize)]
struct ServerSummary {
    #[serde(default)]
    phase_time_ranges: BTreeMap<String, Range>,
}

#[derive(Debug, Deserialize)]
struct Range {
    start_ns: u64,
    end_ns: u64,
}

#[derive(Debug, Deserialize)]
struct ServerMetric {
    series: Vec<Series>,
}

#[derive(Debug, Deserialize)]
struct Series {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    stats: BTreeMap<String, Value>,
    #[serde(default)]
    buckets: BTreeMap<String, f64>,
}

fn result(export: AiperfServerExport) -> LoadResult {
    let phase = export
        .summary
        .phase_time_ranges
        .get("profiling")
        .or_else(|| export.summary.phase_time_ranges.values().next());
    let duration = phase.map_or(0.0, |phase| {
        phase.end_ns.saturating_sub(phase.start_ns) as f64 / 1e9
    });
    let finished = export.finished();
    let input = export.total("vllm:prompt_tokens");
    let output = export.total("vllm:generation_tokens");
    let of = |name: &str| Distribution::of_histogram(&export.histogram(name));
    LoadResult {
        source: ResultSource {
            tool: "AIPerf".to_owned(),
            version: export.aiperf_version.clone(),
            label: Some("server metrics".to_owned()),
            ..ResultSource::default()
        },
        model: export.model(),
        started_at: phase.map(|phase| phase.start_ns as f64 / 1e9),
        duration: Seconds(duration),
        completed: finished,
        tokens: Tokens {
            input,
            cached: Some(export.total("vllm:prompt_tokens_cached")),
            output,
        },
        rates: ResultRates {
            requests_per_second: ratio(finished as f64, duration),
            output_tokens_per_second: ratio(output, duration),
            total_tokens_per_second: ratio(input + output, duration),
            ..ResultRates::default()
        },
        latency: Latencies {
            ttft: of("vllm:time_to_first_token_seconds"),
            tpot: of("vllm:request_time_per_output_token_seconds"),
            itl: of("vllm:inter_token_latency_seconds"),
            e2e: of("vllm:e2e_request_latency_seconds"),
        },
        caveats: vec![
            "counted by vLLM, network and client left out; percentiles are interpolated within histogram buckets".to_owned(),
        ],
        benchmark_id: export.benchmark_id,
        ..LoadResult::default()
    }
}

impl AiperfServerExport {
    fn series(&self, name: &str) -> &[Series] {
        self.metrics
            .get(name)
            .map_or(&[], |metric| metric.series.as_slice())
    }

    fn total(&self, name: &str) -> f64 {
        self.series(name)
            .iter()
            .filter_map(|series| series.statistic("total"))
            .sum()
    }

    /// Requests that finished with an answer.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of requests"
    )]
    fn finished(&self) -> u64 {
        let good = |series: &&Series| {
            let reason = series.labels.get("finished_reason").map(String::as_str);
            !matches!(reason, Some("abort" | "error"))
        };
        let counts = self.series("vllm:request_success").iter().filter(good);
        counts
            .filter_map(|series| series.statistic("total"))
            .sum::<f64>() as u64
    }

    /// Sums all engines and API servers.
    fn histogram(&self, name: &str) -> Histogram {
        let mut all = Histogram::default();
        for series in self.series(name) {
            let mut one = Histogram {
                sum: series.statistic("sum").unwrap_or_default(),
                count: series.statistic("count").unwrap_or_default(),
                ..Histogram::default()
            };
            for (le, count) in &series.buckets {
                if let Ok(le) = le.trim_start_matches('+').parse() {
                    one.add_bucket(le, *count);
                }
            }
            all.merge(&one);
        }
        all
    }

    fn model(&self) -> Option<String> {
        let series = self.series("vllm:generation_tokens").first()?;
        series.labels.get("model_name").cloned()
    }
}

impl Series {
    fn statistic(&self, name: &str) -> Option<f64> {
        self.stats.get(name)?.as_f64()
    }
}

/// `results` with each run's server metrics merged into the run: the server's counts take precedence over those of a client that tokenises
/// again.
pub(super) fn joined(results: Vec<LoadResult>) -> Vec<LoadResult> {
    let is_server = |result: &LoadResult| result.source.label.as_deref() == Some("server metrics");
    let (servers, mut runs): (Vec<_>, Vec<_>) = results.into_iter().partition(is_server);
    for server in servers {
        let own = runs
            .iter_mut()
            .find(|run| run.benchmark_id.is_some() && run.benchmark_id == server.benchmark_id);
        match own {
            Some(run) => {
                run.tokens = server.tokens;
                run.started_at = run.started_at.or(server.started_at);
                run.latency.itl = run.latency.itl.take().or(server.latency.itl);
                run.caveats.push(
                    "tokens and gaps between tokens are vLLM's own counts, from AIPerf's server metrics"
                        .to_owned(),
                );
            }
            None => runs.push(server),
        }
    }
    runs
}
