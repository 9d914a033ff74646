//! Every architecture in the live path, compared with manual calculations: ten seconds of a steady load, from two pages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::sync::Arc;

use roofline::engine::{EngineFacts, Served};
use roofline::spec::deployment::{Deployment, DeploymentFlags};
use roofline::spec::gpu::GpuTable;
use roofline::spec::model::ModelSpec;
use roofline::statistics::Histogram;
use roofline::units::Seconds;
use serde_json::{Value, json};
use vllm_roofline_exporter::meter::Meter;
use vllm_roofline_exporter::meter::engine::MeterSettings;
use vllm_roofline_exporter::meter::figures::Figures;
use vllm_roofline_exporter::sample::engine::{
    CacheConfig, Counter, Counters, EngineKey, EngineTotals, Gauge, Gauges, Histograms,
};

/// A steady load: this many requests decode in each of 1,000 steps, with this many tokens of context each.
#[derive(Clone, Copy, Default)]
struct Load {
    batch: f64,
    context: f64,
    /// Concurrent prompts, one per step, and their tokens.
    prompts: f64,
    prompt_tokens: f64,
    /// Of these, tokens found in the prefix cache.
    cached: f64,
    drafts_per_step: f64,
    preemptions: f64,
}

const STEPS: f64 = 1000.0;
const BLOCK: f64 = 16.0;

fn facts(config: &Value, line: &str) -> Arc<EngineFacts> {
    let gpu = GpuTable::embedded().unwrap().find("H100").unwrap().clone();
    let words: Vec<&str> = line.split_whitespace().collect();
    let flags = DeploymentFlags::from_vllm_command_line(&words).unwrap();
    let model = ModelSpec::from_config(config).unwrap();
    let deployment = Deployment::new(model, Some(gpu.clone()), &flags).unwrap();
    Arc::new(EngineFacts {
        served: Some(Served::new(deployment)),
        gpu: Some(gpu),
        flags,
        ..EngineFacts::default()
    })
}

fn histogram(observations: &[(f64, f64)]) -> Histogram {
    let mut histogram = Histogram::default();
    let bounds = [
        1.0,
        8.0,
        16.0,
        32.0,
        64.0,
        128.0,
        512.0,
        2048.0,
        8192.0,
        16384.0,
        f64::INFINITY,
    ];
    for bound in bounds {
        let inside = observations.iter().filter(|(value, _)| *value <= bound);
        histogram.add_bucket(bound, inside.map(|(_, times)| times).sum());
    }
    histogram.count = observations.iter().map(|(_, times)| times).sum();
    histogram.sum = observations
        .iter()
        .map(|(value, times)| value * times)
        .sum();
    histogram
}

/// The page after `load` ran for `part` of its time; capacity is counted in tokens of the longest sequence.
fn page(load: &Load, part: f64, resident: f64) -> EngineTotals {
    let mut counters = Counters::default();
    let mut set = |counter, value: f64| counters.set(counter, value * part);
    set(Counter::PromptTokens, load.prompts * load.prompt_tokens);
    set(
        Counter::PromptTokensComputed,
        load.prompts * (load.prompt_tokens - load.cached),
    );
    set(Counter::GenerationTokens, load.prompts + load.batch * STEPS);
    set(
        Counter::DraftTokens,
        load.batch * load.drafts_per_step * STEPS,
    );
    set(Counter::Preemptions, load.preemptions);
    set(Counter::FinishedRequests, load.prompts);
    let mut gauges = Gauges::default();
    gauges.set(Gauge::Running, load.batch);
    gauges.set(Gauge::Waiting, 0.0);
    let capacity = 1e6;
    gauges.set(Gauge::KvCacheUsage, resident / capacity);
    let computed = load.prompt_tokens - load.cached;
    let tokens_of_step = load.batch * (1.0 + load.drafts_per_step);
    let only_decoding = if load.batch > 0.0 {
        STEPS - load.prompts
    } else {
        0.0
    };
    let key = EngineKey {
        model_name: "m".into(),
        engine: "0".into(),
    };
    EngineTotals {
        counters,
        gauges,
        histograms: Histograms {
            iteration_tokens: Some(histogram(&[
                (tokens_of_step, only_decoding * part),
                (tokens_of_step + computed, load.prompts * part),
            ])),
            time_to_first_token: Some(histogram(&[(0.2, load.prompts * part)])),
            inter_token_latency: Some(histogram(&[(0.01, load.batch * STEPS * part)])),
            request_generation_tokens: None,
            ..Histograms::default()
        },
        cache: CacheConfig {
            size_tokens: Some(capacity),
            block_size: Some(BLOCK),
            ..CacheConfig::default()
        },
        ..EngineTotals::empty(key, Seconds(1000.0 + 10.0 * part))
    }
}

/// Figures of `load` with a total of `resident` tokens in the cache.
fn figures_with(config: &Value, line: &str, load: &Load, resident: f64) -> Figures {
    let facts = facts(config, line);
    let mut meter = Meter::new(MeterSettings::default());
    meter.observe_engines(vec![page(load, 0.0, resident)], |_| Arc::clone(&facts));
    let spans = meter.observe_engines(vec![page(load, 1.0, resident)], |_| Arc::clone(&facts));
    Figures::of(&spans[0].1, &facts, false, &MeterSettings::default())
}

/// The same with exactly every request's own context in the cache.
fn figures(config: &Value, line: &str, load: &Load) -> Figures {
    let resident = load.batch * (load.context + (BLOCK - 1.0) / 2.0);
    figures_with(config, line, load, resident)
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found / expected - 1.0).abs() <= tolerance,
        "{found:e} for {expected:e}: {:.4}",
        found / expected
    );
}

fn llama_8b() -> Value {
    json!({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128_256, "torch_dtype": "bfloat16", "max_position_embeddings": 8192})
}

const DECODE: Load = Load {
    batch: 16.0,
    context: 1000.0,
    prompts: 0.0,
    prompt_tokens: 0.0,
    cached: 0.0,
    drafts_per_step: 0.0,
    preemptions: 0.0,
};

/// 131,072 bytes of cache per token: 16 requests read 1,000 tokens and write one.
#[test]
fn an_fp8_cache_halves_what_decode_reads_and_nothing_else() {
    let (full, half) = (
        figures(&llama_8b(), "", &DECODE),
        figures(&llama_8b(), "--kv-cache-dtype fp8", &DECODE),
    );
    let kv = |figures: &Figures| figures.hbm_bytes_by_kind.unwrap().kv.0;
    assert_close(kv(&full), STEPS * 16.0 * 1001.0 * 131_072.0, 1e-3);
    assert_close(kv(&half), kv(&full) / 2.0, 1e-9);
    let weights = |figures: &Figures| figures.hbm_bytes_by_kind.unwrap().weights.0;
    assert_close(weights(&half), weights(&full), 1e-12);
    assert_close(full.context_tokens.unwrap(), 1000.0, 1e-9);
    assert_close(full.decode_batch.unwrap(), 16.0, 1e-9);
}

/// Sixteen tokens with 8 of 128 experts each reach 128·(1 − (15/16)^16) = 82.4 of them; an expert is 3·2048·768·2 bytes. Attention is
/// 2048·(32+2·4+32)·128·2 bytes per layer, the router 2048·128·2, the head 2048·151,936·2.
#[test]
fn experts_are_read_as_far_as_tokens_reach_them() {
    let config = json!({"model_type": "qwen3_moe", "hidden_size": 2048, "moe_intermediate_size": 768, "intermediate_size": 6144,
        "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
        "head_dim": 128, "vocab_size": 151_936, "torch_dtype": "bfloat16"});
    let figures = figures(&config, "", &DECODE);
    let distinct = 128.0 * (1.0 - (15.0_f64 / 16.0).powi(16));
    let layer = distinct * 9_437_184.0 + 2048.0 * 72.0 * 128.0 * 2.0 + 524_288.0;
    let step = 48.0 * layer + 622_329_856.0;
    assert_close(
        figures.hbm_bytes_by_kind.unwrap().weights.0,
        STEPS * step,
        2e-3,
    );
    assert!(
        figures
            .caveats
            .iter()
            .any(|caveat| caveat.contains("routing"))
    );
}

/// Five of six layers have a window of 1,024 tokens. At 4,096 bytes per token and layer: 5 full layers read 8,000, 25 read 1,024.
#[test]
fn windowed_layers_read_their_window() {
    let config = json!({"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 30,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 1024, "sliding_window_pattern": 6,
        "vocab_size": 262_144, "torch_dtype": "bfloat16", "max_position_embeddings": 32768});
    let load = Load {
        context: 8000.0,
        ..DECODE
    };
    // vLLM counts capacity in sequences of 16,384 tokens, which keep 1,023 tokens and a step of 8,192 in windowed layers.
    let longest = 5.0 * 16384.0 + 25.0 * (1023.0 + 8192.0);
    let held = 5.0 * 8000.0 + 25.0 * 1024.0;
    let resident = 16.0 * held / longest * 16384.0;
    let figures = figures_with(&config, "--max-model-len 16384", &load, resident);
    assert_close(figures.context_tokens.unwrap(), 8000.0, 2e-3);
    let kv = STEPS * 16.0 * 4096.0 * (5.0 * 8000.0 + 25.0 * 1024.0 + 30.0);
    assert_close(figures.hbm_bytes_by_kind.unwrap().kv.0, kv, 2e-3);
}

/// The cache holds one vector of 512 + 64 elements per token and layer, whatever the number of heads.
#[test]
fn latent_attention_reads_the_compressed_cache() {
    let config = json!({"model_type": "deepseek_v2", "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
        "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16, "q_lora_rank": null, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 64, "n_shared_experts": 2,
        "num_experts_per_tok": 6, "first_k_dense_replace": 1, "vocab_size": 102_400, "torch_dtype": "bfloat16"});
    let figures = figures(&config, "", &DECODE);
    let kv = STEPS * 16.0 * 1001.0 * 576.0 * 2.0 * 27.0;
    assert_close(figures.hbm_bytes_by_kind.unwrap().kv.0, kv, 1e-3);
}

/// 36 of 48 layers have a state instead of a cache: 32·128·128 elements, read and written once per step and sequence.
#[test]
fn recurrent_layers_move_their_state() {
    let config = json!({"model_type": "qwen3_next", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 16,
        "num_key_value_heads": 2, "head_dim": 256, "full_attention_interval": 4, "linear_num_key_heads": 16,
        "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4,
        "num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
        "intermediate_size": 5120, "decoder_sparse_step": 1, "vocab_size": 151_936, "torch_dtype": "bfloat16"});
    let figures = figures(&config, "", &DECODE);
    let state = 36.0 * 32.0 * 128.0 * 128.0 * 2.0;
    let convolution = 36.0 * (2.0 * 16.0 * 128.0 + 32.0 * 128.0) * 3.0 * 2.0;
    let moved = STEPS * 16.0 * 2.0 * (state + convolution);
    assert_close(figures.hbm_bytes_by_kind.unwrap().state.0, moved, 1e-2);
}

/// Verifying three drafts processes four tokens of each request, and reads the weights and the cache once.
#[test]
fn drafts_are_verified_in_one_step() {
    let line = r#"--speculative-config {"method":"ngram","num_speculative_tokens":3}"#;
    let plain = figures(&llama_8b(), "", &DECODE);
    let load = Load {
        drafts_per_step: 3.0,
        ..DECODE
    };
    let verified = figures(&llama_8b(), line, &load);
    assert_close(verified.decode_tokens, 4.0 * plain.decode_tokens, 1e-9);
    assert_close(verified.steps, plain.steps, 1e-9);
    assert_close(
        verified.flops.unwrap().0,
        4.0 * plain.flops.unwrap().0,
        1e-2,
    );
    let weights = |figures: &Figures| figures.hbm_bytes_by_kind.unwrap().weights.0;
    assert_close(weights(&verified), weights(&plain), 1e-3);
    assert!(
        verified
            .caveats
            .iter()
            .any(|caveat| caveat.contains("draft"))
    );
}

/// Sixteen requests on one prefix of 3,840 tokens and 160 of their own: all attend to 4,000, and HBM supplies the prefix once per step.
#[test]
fn a_shared_prefix_comes_from_memory_once() {
    let load = Load {
        context: 4000.0,
        prompts: 100.0,
        prompt_tokens: 4000.0,
        cached: 3840.0,
        ..DECODE
    };
    let resident = 3840.0 + 16.0 * 160.0 + 16.0 * (BLOCK - 1.0) / 2.0;
    let figures = figures_with(&llama_8b(), "", &load, resident);
    assert_close(figures.context_tokens.unwrap(), 4000.0, 1e-2);
    let decode = STEPS * (3840.0 + 16.0 * 160.0) * 131_072.0;
    // Each prompt reads the prefix and itself, and writes its own tokens.
    let prompts = 100.0 * (4000.0 + 160.0) * 131_072.0;
    assert_close(
        figures.hbm_bytes_by_kind.unwrap().kv.0,
        decode + prompts,
        2e-2,
    );
    // 16 requests attend to 4,000 tokens each: 4·32·128 FLOPs per pair and layer.
    let linear = 2.0 * 6_979_321_856.0 + 2.0 * 4096.0 * 128_256.0;
    let attention = 32.0 * 4.0 * 32.0 * 128.0 * 4000.0;
    assert_close(
        figures.by_phase.decode.flops.unwrap().0,
        STEPS * 16.0 * (linear + attention),
        1e-2,
    );
}

/// A prompt of 20,000 tokens takes three steps of 8,192: causal pairs are those of the whole prompt, the weights are read three times.
#[test]
fn chunks_of_a_prompt_add_up_to_it() {
    let load = Load {
        batch: 0.0,
        context: 0.0,
        prompts: 10.0,
        prompt_tokens: 20_000.0,
        ..DECODE
    };
    let figures = figures(
        &llama_8b(),
        "--max-num-batched-tokens 8192 --max-model-len 32768",
        &load,
    );
    assert_close(figures.steps, 10.0 * 20_000.0 / 8192.0, 1e-9);
    let pairs = 20_000.0 * 20_001.0 / 2.0;
    let flops = 20_000.0 * 2.0 * 6_979_321_856.0 + 32.0 * 4.0 * 32.0 * 128.0 * pairs;
    assert_close(figures.flops.unwrap().0, 10.0 * flops, 1e-3);
}

#[test]
fn preemption_is_a_lower_bound_and_says_so() {
    let load = Load {
        preemptions: 3.0,
        ..DECODE
    };
    let figures = figures(&llama_8b(), "", &load);
    assert!(
        figures
            .caveats
            .iter()
            .any(|caveat| caveat.contains("lower bounds"))
    );
    assert!(figures.flops.unwrap().0 > 0.0);
}
