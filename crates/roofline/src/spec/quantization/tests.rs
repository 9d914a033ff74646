use serde_json::json;

use super::*;

const UP: &str = "mlp.up_proj";

fn read(config: &Value) -> Quantization {
    Quantization::read(Some(config), None).expect("known")
}

#[test]
fn methods_are_read_from_the_checkpoint() {
    let awq = json!({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": true});
    assert_eq!(read(&awq).scheme_of(0, UP), Some(Scheme::INT4_GROUP_128));
    let block = json!({"quant_method": "fp8", "weight_block_size": [128, 128]});
    assert_eq!(
        read(&block).scheme_of(0, UP),
        Some(Scheme::Fp8 {
            block: Some((128.0, 128.0))
        })
    );
    let nvfp4 = json!({"quant_method": "modelopt", "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}});
    assert_eq!(
        read(&nvfp4).scheme_of(0, UP),
        Some(Scheme::Nvfp4 { weight_only: false })
    );
    assert!(read(&nvfp4).has_fp8_kv_cache());
    let nf4 = json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_use_double_quant": true});
    assert_eq!(
        read(&nf4).scheme_of(0, UP),
        Some(Scheme::Nf4 {
            double_quantized: true
        })
    );
}

#[test]
fn compressed_tensors_tell_weights_from_activations() {
    let config = |weights: Value, activations: Value| {
        json!({"quant_method": "compressed-tensors", "ignore": ["lm_head"],
               "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": activations}}})
    };
    let eight = json!({"num_bits": 8, "type": "int", "strategy": "channel"});
    let w8a8 = read(&config(eight, json!({"num_bits": 8, "type": "int"})));
    assert_eq!(
        w8a8.scheme_of(0, UP),
        Some(Scheme::Int8 { weight_only: false })
    );
    let four = json!({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": true});
    let w4a16 = read(&config(four, Value::Null));
    assert_eq!(
        w4a16.scheme_of(0, UP),
        Some(Scheme::IntGroup {
            bits: 4.0,
            group: 128.0,
            zero_points: false
        })
    );
    let fp8 = json!({"num_bits": 8, "type": "float", "strategy": "tensor"});
    assert_eq!(
        read(&config(fp8, json!({"num_bits": 8}))).scheme_of(0, UP),
        Some(Scheme::Fp8 { block: None })
    );
    let fp4 = json!({"num_bits": 4, "type": "float", "group_size": 16});
    assert_eq!(
        read(&config(fp4, json!({"num_bits": 4}))).scheme_of(0, UP),
        Some(Scheme::Nvfp4 { weight_only: false })
    );
}

#[test]
fn ignored_modules_and_all_but_experts_keep_the_models_dtype() {
    let mxfp4 = json!({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]});
    let mxfp4 = read(&mxfp4);
    assert_eq!(mxfp4.scheme_of(0, "self_attn.q_proj"), None);
    assert_eq!(mxfp4.scheme_of(0, UP), None);
    assert_eq!(
        mxfp4.scheme_of(0, "mlp.experts.0.up_proj"),
        Some(Scheme::Mxfp4)
    );
    let partial = json!({"quant_method": "fp8", "ignored_layers": ["model.layers.1.mlp.up_proj"]});
    assert_eq!(read(&partial).scheme_of(1, UP), None);
    assert!(read(&partial).scheme_of(0, UP).is_some());
    assert_eq!(read(&partial).head_scheme(), None);
}

#[test]
fn the_flag_names_another_kernel_or_another_method() {
    let awq = json!({"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": true});
    let group = |quantization: Quantization| quantization.scheme_of(0, UP);
    let marlin = Quantization::read(Some(&awq), Some("awq_marlin")).expect("known");
    assert_eq!(
        group(marlin),
        Some(Scheme::IntGroup {
            bits: 4.0,
            group: 64.0,
            zero_points: true
        })
    );
    let online = Quantization::read(None, Some("fp8")).expect("known");
    assert_eq!(group(online), Some(Scheme::Fp8 { block: None }));
    let unknown = Quantization::read(None, Some("magic")).expect_err("unknown");
    assert!(unknown.to_string().contains("awq_marlin"), "{unknown}");
}

#[test]
fn a_list_of_modules_mixes_formats() {
    let mixed = json!({"quantization": {"quant_algo": "MIXED_PRECISION", "kv_cache_quant_algo": "FP8", "quantized_layers": {
        "model.language_model.layers.0.linear_attn.in_proj_qkv": {"quant_algo": "FP8"},
        "model.language_model.layers.0.mlp.experts": {"quant_algo": "W4A16_NVFP4", "group_size": 16},
        "model.language_model.layers.0.mlp.shared_expert.up_proj": {"quant_algo": "NVFP4", "group_size": 16},
        "lm_head": {"quant_algo": "FP8"}}}});
    let mixed = read(&mixed);
    let fp8 = Some(Scheme::Fp8 { block: None });
    assert_eq!(mixed.scheme_of(0, "linear_attn.in_proj_qkvz"), fp8);
    assert_eq!(mixed.scheme_of(1, "linear_attn.in_proj_qkvz"), None);
    assert_eq!(
        mixed.scheme_of(0, "mlp.experts.0.up_proj"),
        Some(Scheme::Nvfp4 { weight_only: true })
    );
    assert_eq!(
        mixed.scheme_of(0, "mlp.shared_expert.up_proj"),
        Some(Scheme::Nvfp4 { weight_only: false })
    );
    assert_eq!(mixed.scheme_of(0, "self_attn.q_proj"), None);
    assert_eq!(mixed.head_scheme(), fp8);
    let unknown = json!({"quant_method": "modelopt", "quantized_layers": {"layers.0.mlp": {"quant_algo": "MAGIC"}}});
    let error = Quantization::read(Some(&unknown), None).expect_err("unknown");
    assert!(
        error.to_string().contains("quantized_layers.layers.0.mlp"),
        "{error}"
    );
}
