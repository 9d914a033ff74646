use serde_json::{Value, json};

use super::*;
use crate::spec::gpu::GpuTable;

fn llama(extra: &Value) -> ModelSpec {
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000, "torch_dtype": "bfloat16",
        "max_position_embeddings": 4096,
    });
    for (name, value) in extra.as_object().expect("object") {
        config[name] = value.clone();
    }
    ModelSpec::from_config(&config).expect("complete")
}

fn deploy(model: ModelSpec, gpu: &str, line: &str) -> Result<Deployment, DeploymentError> {
    let table = GpuTable::embedded().expect("parses");
    let words: Vec<&str> = line.split_whitespace().collect();
    let flags = DeploymentFlags::from_vllm_command_line(&words).expect("readable");
    Deployment::new(model, Some(table.find(gpu).expect("known").clone()), &flags)
}

fn error(model: ModelSpec, gpu: &str, line: &str) -> String {
    deploy(model, gpu, line).expect_err("refused").to_string()
}

#[test]
fn what_a_t4_cannot_run_is_refused_with_the_alternative() {
    let plain = || llama(&json!({}));
    assert_eq!(
        error(plain(), "T4", "--dtype bfloat16"),
        "Tesla T4 cannot run bf16 activations; use --dtype half"
    );
    let fp8 = error(
        llama(&json!({"quantization_config": {"quant_method": "fp8"}})),
        "T4",
        "",
    );
    assert!(fp8.contains("fp8 weights; use an AWQ"), "{fp8}");
    assert!(error(plain(), "T4", "--kv-cache-dtype fp8").contains("--kv-cache-dtype auto"));
    let fallen_back = deploy(plain(), "T4", "").expect("falls back");
    assert_eq!(fallen_back.dtype, Precision::Fp16);
    assert!(
        fallen_back
            .not_modelled
            .iter()
            .any(|note| note.contains("float16"))
    );
}

#[test]
fn parallelism_must_divide_the_model() {
    let message = error(llama(&json!({})), "H100", "-tp 3");
    assert_eq!(
        message,
        "--tensor-parallel-size 3 does not divide the 32 attention heads of this model; use 1, 2, 4, 8, 16, 32"
    );
    let repeated = llama(&json!({"num_key_value_heads": 4}));
    assert!(deploy(repeated, "H100", "-tp 8").is_ok());
    assert!(error(llama(&json!({})), "H100", "-pp 33").contains("only 32 layers"));
}

#[test]
fn arithmetic_follows_the_gpu() {
    let fp8 = || llama(&json!({"quantization_config": {"quant_method": "fp8"}}));
    let scheme = Some(Scheme::Fp8 { block: None });
    assert_eq!(
        deploy(fp8(), "H100", "")
            .expect("runs")
            .compute_precision(scheme),
        Precision::Fp8
    );
    assert_eq!(
        deploy(fp8(), "A100-80GB", "")
            .expect("runs")
            .compute_precision(scheme),
        Precision::Bf16
    );
    let int8 = Some(Scheme::Int8 { weight_only: false });
    let turing = deploy(llama(&json!({})), "T4", "--dtype half").expect("runs");
    assert_eq!(turing.compute_precision(int8), Precision::Int8);
    assert_eq!(
        turing.compute_precision(Some(Scheme::Nvfp4 { weight_only: false })),
        Precision::Fp16
    );
}

#[test]
fn limits_default_as_vllm_sets_them() {
    let limits = |gpu, line| deploy(llama(&json!({})), gpu, line).expect("runs").limits;
    let h100 = limits("H100", "");
    assert_eq!(
        (
            h100.max_num_seqs,
            h100.max_num_batched_tokens,
            h100.max_model_len
        ),
        (1024, 8192, Some(4096))
    );
    assert!((h100.gpu_memory_utilization - 0.92).abs() < 1e-12);
    assert_eq!(limits("B200", "").max_num_batched_tokens, 16_384);
    for (line, tokens) in [
        ("--vllm-version 0.27.1", 8192),
        ("--vllm-version 0.28.0", 16_384),
        ("--vllm-version 1.0", 16_384),
    ] {
        assert_eq!(
            limits("B200", line).max_num_batched_tokens,
            tokens,
            "{line}"
        );
    }
    assert_eq!(
        limits("L4", "--max-num-seqs 1 --max-model-len 1024").max_num_batched_tokens,
        1024
    );
    assert!(error(llama(&json!({})), "L4", "--gpu-memory-utilization 1.5").contains("at most 1"));
}

#[test]
fn speculation_is_read_from_json() {
    let config = r#"{"method":"ngram","num_speculative_tokens":5}"#;
    let deployment = deploy(
        llama(&json!({})),
        "H100",
        &format!("--speculative-config {config}"),
    )
    .expect("runs");
    assert_eq!(deployment.speculative_tokens, 5);
    assert!(error(llama(&json!({})), "H100", "-sc {}").contains("num_speculative_tokens"));
}

#[test]
fn the_kv_cache_follows_flag_checkpoint_and_dtype() {
    let format = |model, line| deploy(model, "H100", line).expect("runs").kv_cache;
    assert!((format(llama(&json!({})), "").bytes_per_element - 2.0).abs() < 1e-12);
    assert!(format(llama(&json!({})), "--kv-cache-dtype fp8_e5m2").is_fp8());
    let with_scales =
        json!({"quantization_config": {"quant_method": "fp8", "kv_cache_quant_algo": "FP8"}});
    assert!(format(llama(&with_scales), "").is_fp8());
    assert!(error(llama(&json!({})), "H100", "--kv-cache-dtype tiny").contains("fp8_e4m3"));
}
