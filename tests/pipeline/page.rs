//! Real pages of vLLM, and pages of older versions derived from them with the table of renames.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    reason = "a test may fail that way"
)]

use roofline::units::Seconds;
use vllm_roofline_exporter::sample::engine::{Counter, EngineTotals, Gauge};
use vllm_roofline_exporter::sample::page;

fn engines(name: &str) -> Vec<EngineTotals> {
    page::read(&text(name), Seconds(1.0)).unwrap()
}

fn text(name: &str) -> String {
    std::fs::read_to_string(format!("tests/fixtures/vllm/{name}")).unwrap()
}

fn counter(engine: &EngineTotals, counter: Counter) -> f64 {
    engine.counters.get(counter).unwrap()
}

#[test]
fn identities_hold_after_load() {
    let engines = engines("vllm-0.32.0-cpu-after-load.prom");
    let [engine] = &engines[..] else {
        panic!("one engine")
    };
    let computed = counter(engine, Counter::PromptTokensComputed);
    let generated = counter(engine, Counter::GenerationTokens);
    let steps = engine.histograms.iteration_tokens.as_ref().unwrap();
    let first = engine.histograms.time_to_first_token.as_ref().unwrap();
    let latency = engine.histograms.inter_token_latency.as_ref().unwrap();
    assert_eq!((computed, generated), (3296.0, 161.0));
    assert_eq!(counter(engine, Counter::PromptTokens), 5024.0);
    assert_eq!(steps.sum, computed + generated);
    assert_eq!(first.count + latency.count, generated);
    assert!(engine.single_api_server);
}

#[test]
fn speculative_decoding_counts_its_drafts() {
    let engines = engines("vllm-0.32.0-cpu-specdecode-ngram.prom");
    assert_eq!(counter(&engines[0], Counter::DraftTokens), 77.0);
    assert_eq!(counter(&engines[0], Counter::AcceptedTokens), 44.0);
}

#[test]
fn data_parallel_engines_share_the_blocks() {
    let engines = engines("vllm-0.32.0-cpu-dp2.prom");
    let labels: Vec<_> = engines
        .iter()
        .map(|engine| engine.key.engine.as_str())
        .collect();
    assert_eq!(labels, ["0", "1"]);
    let by_blocks: Vec<_> = engines
        .into_iter()
        .map(|mut engine| {
            let said = engine.kv_capacity_tokens();
            engine.cache.size_tokens = None;
            (said, engine.kv_capacity_tokens())
        })
        .collect();
    for (said, shared_out) in by_blocks {
        assert_eq!(said, shared_out);
    }
}

#[test]
fn several_api_servers_are_noticed() {
    assert!(!engines("vllm-0.32.0-cpu-api2-after-load.prom")[0].single_api_server);
}

/// Synthesised: the page of 0.32 with the names of vLLM 0.9.2, by the table of renames.
#[test]
fn a_page_with_the_names_of_0_9_is_read() {
    let present = text("vllm-0.32.0-cpu-after-load.prom");
    let former = present
        .replace("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
        .replace(
            "vllm:inter_token_latency_seconds",
            "vllm:time_per_output_token_seconds",
        );
    let expected = page::read(&present, Seconds(1.0)).unwrap();
    let read = page::read(&former, Seconds(1.0)).unwrap();
    assert_eq!(
        read[0].gauges.get(Gauge::KvCacheUsage),
        expected[0].gauges.get(Gauge::KvCacheUsage)
    );
    assert_eq!(read[0].histograms, expected[0].histograms);
}

/// Synthesised: the names that Ray Serve exports.
#[test]
fn a_page_by_way_of_ray_is_read() {
    let present = text("vllm-0.32.0-cpu-after-load.prom");
    let ray = present
        .replace("vllm:", "ray_vllm_")
        .replace("engine=\"0\"", "ReplicaId=\"r1\",engine=\"0\"");
    let read = page::read(&ray, Seconds(1.0)).unwrap();
    assert_eq!(read[0].key.engine, "r1/0");
    assert_eq!(counter(&read[0], Counter::GenerationTokens), 161.0);
}
