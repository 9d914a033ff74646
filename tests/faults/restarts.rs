//! vLLM restarts, with the same model or another one: only the span in between is lost, and no old fact remains.

use crate::support::{Exporter, ok, value};
use crate::vllm::{Vllm, engine, request};
use crate::{assert_sound, decode_rate, decoded, discards, serve, up};
use std::io::Write;

/// From now on `vllm` is process `birth` and serves the recorded `model` as `name`.
fn serve_model(vllm: &Vllm, birth: u64, model: &str, name: &str, generated: u64) {
    let page = ok(&format!(
        "process_start_time_seconds {birth}.0\n{}",
        engine(name, "0", generated)
    ));
    let root = format!(
        "{}/tests/fixtures/captures/{model}",
        env!("CARGO_MANIFEST_DIR")
    );
    let models = serde_json::json!({"data": [{"id": name, "root": root}]}).to_string();
    let models = ok(&models);
    vllm.behave(move |_, mut stream| {
        let models_asked_for = request(&mut stream).contains("/v1/models");
        let _ = stream.write_all(if models_asked_for { &models } else { &page });
    });
}

fn wait_for_architecture(exporter: &Exporter, architecture: &str) -> String {
    let labels = format!("architecture=\"{architecture}\"");
    exporter.wait_for("/metrics", 20, |page| {
        value(page, "vllm_roofline_model_info", &labels) == Some(1.0)
    })
}

fn weights(page: &str) -> f64 {
    value(page, "vllm_roofline_weights_bytes", "").unwrap()
}

#[test]
fn a_restart_throws_its_window_away_and_nothing_is_negative() {
    let vllm = Vllm::start();
    let exporter = serve(&vllm.url);
    exporter.wait_for("/metrics", 10, |page| up(page) == Some(1.0));
    vllm.generate(2000);
    exporter.wait_for("/metrics", 10, |page| {
        decode_rate(page).is_some_and(|rate| rate > 0.0)
    });
    vllm.generate(5);
    let after = exporter.wait_for("/metrics", 10, |page| discards(page, "counter_reset") >= 1);
    assert_eq!(discards(&after, "counter_reset"), 1);
    assert_eq!(decode_rate(&after), None);
    assert_eq!(decoded(&after), Some(1000.0));
    assert_sound(&after);
}

/// The counters of the new process exceed those of the old one, so only its start time reveals the restart.
#[test]
fn a_restart_is_seen_even_where_counters_went_up() {
    let vllm = Vllm::start();
    serve_model(&vllm, 1, "qwen2.5-0.5b-bf16", "m", 1000);
    let exporter = serve(&vllm.url);
    let before = wait_for_architecture(&exporter, "Qwen2ForCausalLM");
    serve_model(&vllm, 2, "llama-3.1-8b-bf16", "m", 9000);
    let after = wait_for_architecture(&exporter, "LlamaForCausalLM");
    assert_eq!(discards(&after, "counter_reset"), 1);
    assert_eq!(
        decoded(&after),
        Some(0.0),
        "no token of the new process is the old one's"
    );
    assert!(
        weights(&after) > 10.0 * weights(&before),
        "the same name, another model"
    );
    assert!(!after.contains("Qwen2"), "{after}");
    let trail = exporter.get("/api/v1/snapshot").1;
    assert!(!trail.contains("Qwen2"), "{trail}");
}

#[test]
fn a_restart_with_another_model_takes_everything_of_the_old_one_along() {
    let vllm = Vllm::start();
    serve_model(&vllm, 1, "llama-3.1-8b-bf16", "retired", 1000);
    let exporter = serve(&vllm.url);
    let before = wait_for_architecture(&exporter, "LlamaForCausalLM");
    serve_model(&vllm, 1, "llama-3.1-8b-bf16", "retired", 3000);
    exporter.wait_for("/metrics", 10, |page| {
        value(page, "vllm_roofline_flops_total", "phase=\"decode\"")
            .is_some_and(|flops| flops > 0.0)
    });
    serve_model(&vllm, 2, "qwen2.5-0.5b-bf16", "new", 500);
    let after = wait_for_architecture(&exporter, "Qwen2ForCausalLM");
    assert!(weights(&after) < weights(&before) / 10.0);
    for path in ["/metrics", "/", "/api/v1/snapshot"] {
        let page = exporter.get(path).1;
        assert!(
            !page.contains("Llama") && !page.contains("retired"),
            "{path}: {page}"
        );
    }
    assert_eq!(discards(&after, "engines_changed"), 1);
    assert_eq!(decoded(&after), Some(0.0));
    serve_model(&vllm, 2, "qwen2.5-0.5b-bf16", "new", 700);
    let later = exporter.wait_for("/metrics", 10, |page| decoded(page) == Some(200.0));
    let flops = value(&later, "vllm_roofline_flops_total", "phase=\"decode\"").unwrap();
    // Twice the 0.49 billion parameters plus attention per token, not the 8 billion of the previous model.
    assert!((200.0 * 0.9e9..200.0 * 1.5e9).contains(&flops), "{flops}");
}
