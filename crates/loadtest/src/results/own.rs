//! Reads the result of our own load generator.

use super::format::{ResultFormat, each, has};
use super::{
    CompletedRequest, LoadResult, ResultLoad, ResultRates, ResultSource, Tokens, requests,
};
use crate::load::run::LoadRun;
use roofline::units::{Seconds, ratio};
use serde_json::Value;

/// The format.
pub(super) const FORMAT: ResultFormat = ResultFormat {
    document: "a load result of vllm-roofline-exporter",
    files: "vllm-roofline-exporter itself",
    is: |document| {
        let tool = document.get("tool").and_then(Value::as_str);
        tool == Some("vllm-roofline-exporter") && has(document, &["requests", "load"])
    },
    read: |documents| each(documents, |run| vec![result(&run)]),
};

/// Converts `run` into the form that all results share.
fn result(run: &LoadRun) -> LoadResult {
    let requests: Vec<CompletedRequest> = run
        .answered()
        .map(|request| CompletedRequest {
            start: request.start_seconds,
            input_tokens: f64::from(request.input_tokens),
            output_tokens: f64::from(request.output_tokens),
            ttft: request.ttft_seconds,
            itl: request.itl_seconds.clone(),
            e2e: request.e2e_seconds,
        })
        .collect();
    let sum = |of: fn(&CompletedRequest) -> f64| requests.iter().map(of).sum::<f64>();
    let (input, output) = (
        sum(|request| request.input_tokens),
        sum(|request| request.output_tokens),
    );
    let duration = run.duration_seconds;
    LoadResult {
        source: ResultSource {
            tool: run.tool.clone(),
            version: Some(run.version.clone()),
            ..ResultSource::default()
        },
        model: Some(run.model.clone()),
        started_at: Some(run.started_at),
        duration: Seconds(duration),
        load: ResultLoad {
            max_concurrency: run.load.concurrency.map(f64::from),
            request_rate: run.load.request_rate,
            burstiness: run.load.burstiness,
        },
        completed: run.completed.into(),
        failed: run.failed.into(),
        errors: run
            .errors
            .iter()
            .map(|(kind, count)| (kind.clone(), u64::from(*count)))
            .collect(),
        tokens: Tokens {
            input,
            cached: None,
            output,
        },
        rates: ResultRates {
            requests_per_second: ratio(run.completed.into(), duration),
            output_tokens_per_second: ratio(output, duration),
            output_tokens_per_second_interval: requests::throughput_interval(&requests, duration),
            total_tokens_per_second: ratio(input + output, duration),
            goodput_requests_per_second: None,
        },
        latency: requests::latencies(&requests),
        caveats: caveats(run),
        requests,
        ..LoadResult::default()
    }
}

/// Delay of the client's event loop from which latencies are the client's as much as the server's.
const LATE: f64 = 0.005;

fn caveats(run: &LoadRun) -> Vec<String> {
    let mut caveats = Vec::new();
    if run.interrupted {
        caveats.push("the run was interrupted: these are the requests up to then".to_owned());
    }
    let lag = run.client.event_lag_p99_seconds;
    if lag > LATE {
        caveats.push(format!(
            "the client itself was late by {:.1} ms at P99: latencies are too long by up to that",
            lag * 1e3
        ));
    }
    caveats
}

impl From<&LoadRun> for LoadResult {
    fn from(run: &LoadRun) -> Self {
        result(run)
    }
}
