use serde_json::json;

use super::*;

fn model(config: &Value) -> ModelSpec {
    ModelSpec::from_config(config).expect("complete")
}

/// Totals of the checkpoints on Hugging Face, text part.
const PUBLISHED: [(&str, u64); 19] = [
    (
        r#"{"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": true}"#,
        1_235_814_400,
    ),
    (
        r#"{"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "sliding_window": 4096}"#,
        7_241_732_096,
    ),
    (
        r#"{"model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18, "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 256000}"#,
        2_506_172_416,
    ),
    (
        r#"{"model_type": "opt", "hidden_size": 768, "ffn_dim": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 50272, "max_position_embeddings": 2048, "word_embed_proj_dim": 768}"#,
        125_239_296,
    ),
    (
        r#"{"model_type": "opt", "hidden_size": 1024, "ffn_dim": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "vocab_size": 50272, "max_position_embeddings": 2048, "word_embed_proj_dim": 512, "do_layer_norm_before": false}"#,
        331_196_416,
    ),
    (
        r#"{"model_type": "phi", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 51200}"#,
        2_779_683_840,
    ),
    (
        r#"{"model_type": "gpt_neox", "hidden_size": 6144, "intermediate_size": 24576, "num_hidden_layers": 44, "num_attention_heads": 64, "vocab_size": 50432}"#,
        20_554_567_680,
    ),
    (
        r#"{"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71, "multi_query": true, "parallel_attn": true, "bias": false, "vocab_size": 65024}"#,
        6_921_720_704,
    ),
    (
        r#"{"model_type": "bloom", "hidden_size": 1024, "n_layer": 24, "n_head": 16, "vocab_size": 250880}"#,
        559_214_592,
    ),
    (
        r#"{"model_type": "starcoder2", "hidden_size": 3072, "intermediate_size": 12288, "num_hidden_layers": 30, "num_attention_heads": 24, "num_key_value_heads": 2, "vocab_size": 49152, "use_bias": true}"#,
        3_030_371_328,
    ),
    (
        r#"{"model_type": "qwen2_moe", "hidden_size": 2048, "intermediate_size": 5632, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632, "num_experts": 60, "num_experts_per_tok": 4, "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 151936}"#,
        14_315_784_192,
    ),
    (
        r#"{"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": true}"#,
        596_049_920,
    ),
    (
        r#"{"model_type": "qwen3_moe", "hidden_size": 4096, "intermediate_size": 12288, "moe_intermediate_size": 1536, "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 94, "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936}"#,
        235_093_634_560,
    ),
    (
        r#"{"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_local_experts": 128, "num_experts_per_tok": 4, "num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 201088, "attention_bias": true, "sliding_window": 128}"#,
        116_829_156_672,
    ),
    (
        r#"{"model_type": "jamba", "hidden_size": 4096, "intermediate_size": 14336, "num_experts": 16, "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 65536, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": 256, "attn_layer_period": 8, "attn_layer_offset": 4, "expert_layer_period": 2, "expert_layer_offset": 1}"#,
        51_570_323_328,
    ),
    (
        r#"{"model_type": "cohere", "hidden_size": 8192, "intermediate_size": 22528, "num_hidden_layers": 40, "num_attention_heads": 64, "vocab_size": 256000}"#,
        34_980_831_232,
    ),
    (
        r#"{"model_type": "olmo2", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 100352}"#,
        7_298_617_344,
    ),
    (
        r#"{"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}}"#,
        3_880_263_168,
    ),
    (
        r#"{"model_type": "kimi_k2", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 384, "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 1, "moe_layer_freq": 1, "num_hidden_layers": 61, "num_attention_heads": 64, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 163840, "topk_method": "noaux_tc"}"#,
        1_026_408_232_448,
    ),
];

#[test]
fn totals_equal_the_published_ones() {
    for (config, published) in PUBLISHED {
        let model = ModelSpec::from_json(config).expect("complete");
        assert_eq!(model.total_params(), published, "{config}");
    }
}

fn tiny(extra: &Value) -> Value {
    let mut config = json!({
        "architectures": ["TinyForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 8, "num_attention_heads": 4, "vocab_size": 100,
    });
    for (name, value) in extra.as_object().expect("object") {
        config[name] = value.clone();
    }
    config
}

/// One letter per layer: full, window, chunk, or recurrent.
fn spans(extra: &Value) -> String {
    let letter = |layer: &Layer| match &layer.mixer {
        Mixer::Grouped(attention) => match attention.span {
            Span::Full => 'f',
            Span::Window(_) => 'w',
            Span::Chunk(_) => 'c',
        },
        Mixer::Latent(_) => 'l',
        Mixer::Recurrent(_) => 'r',
        Mixer::None => '-',
    };
    model(&tiny(extra)).layers.iter().map(letter).collect()
}

#[test]
fn windows_stand_where_the_class_puts_them() {
    assert_eq!(
        spans(&json!({"model_type": "mistral", "sliding_window": 32})),
        "wwwwwwww"
    );
    assert_eq!(
        spans(&json!({"model_type": "mistral", "sliding_window": null})),
        "ffffffff"
    );
    assert_eq!(
        spans(&json!({"model_type": "gemma2", "sliding_window": 32})),
        "wfwfwfwf"
    );
    assert_eq!(
        spans(
            &json!({"model_type": "gemma3_text", "sliding_window": 32, "sliding_window_pattern": 4})
        ),
        "wwwfwwwf"
    );
    let qwen = json!({"model_type": "qwen2", "sliding_window": 32, "use_sliding_window": false, "max_window_layers": 4});
    assert_eq!(spans(&qwen), "ffffffff");
    let qwen = json!({"model_type": "qwen2", "sliding_window": 32, "use_sliding_window": true, "max_window_layers": 6});
    assert_eq!(spans(&qwen), "ffffffww");
    assert_eq!(
        spans(&json!({"model_type": "llama4", "attention_chunk_size": 16})),
        "cccfcccf"
    );
    let listed = json!({"sliding_window": 32, "num_hidden_layers": 2, "layer_types": ["full_attention", "sliding_attention"]});
    assert_eq!(spans(&listed), "fw");
}

#[test]
fn experts_stand_where_the_file_puts_them() {
    let moe = |extra: &Value| -> String {
        let mut config = tiny(
            &json!({"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}),
        );
        for (name, value) in extra.as_object().expect("object") {
            config[name] = value.clone();
        }
        model(&config)
            .layers
            .iter()
            .map(|layer| if layer.moe().is_some() { 'e' } else { 'd' })
            .collect()
    };
    assert_eq!(moe(&json!({})), "eeeeeeee");
    assert_eq!(moe(&json!({"first_k_dense_replace": 3})), "dddeeeee");
    assert_eq!(moe(&json!({"mlp_only_layers": [0, 5]})), "deeeedee");
    assert_eq!(moe(&json!({"decoder_sparse_step": 2})), "dededede");
    assert_eq!(moe(&json!({"interleave_moe_layer_step": 4})), "dddeddde");
    assert_eq!(
        moe(&json!({"moe_layer_freq": [0, 1, 1, 1, 1, 1, 1, 1]})),
        "deeeeeee"
    );
    assert_eq!(moe(&json!({"num_experts": 1})), "dddddddd");
}

#[test]
fn what_is_missing_is_named() {
    let mut config = tiny(&json!({}));
    config
        .as_object_mut()
        .expect("object")
        .remove("num_attention_heads");
    let error = ModelSpec::from_config(&config)
        .expect_err("incomplete")
        .to_string();
    assert_eq!(
        error,
        "config.json of TinyForCausalLM lacks num_attention_heads (or n_head, n_heads); add it, or point --model at the complete file"
    );
    let uneven =
        ModelSpec::from_config(&tiny(&json!({"num_key_value_heads": 3}))).expect_err("uneven");
    assert!(
        uneven
            .to_string()
            .contains("(3) does not divide the 4 query heads"),
        "{uneven}"
    );
    let pattern = json!({"model_type": "nemotron_h", "hybrid_override_pattern": "M*?"});
    assert!(ModelSpec::from_config(&tiny(&pattern)).is_err());
    assert!(matches!(
        ModelSpec::from_json("[]"),
        Err(ModelError::NotAnObject)
    ));
}

#[test]
fn encoders_are_out_of_scope_and_strangers_are_read_as_decoders() {
    let bert = ModelSpec::from_config(&tiny(&json!({"model_type": "bert"}))).expect_err("encoder");
    assert!(bert.to_string().contains("decodes nothing"), "{bert}");
    let stranger = model(&tiny(&json!({"model_type": "brand_new"})));
    assert!(stranger.not_modelled[0].contains("generic decoder"));
    assert!(model(&tiny(&json!({}))).not_modelled.is_empty());
}

#[test]
fn the_text_part_of_a_multimodal_model_is_read_and_the_rest_named() {
    let nested = json!({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
                        "num_hidden_layers": 34, "sliding_window": 1024}, "vision_config": {"hidden_size": 1152}});
    let model = model(&nested);
    assert_eq!(model.vocab_size, 262_208);
    assert!(model.tied_head);
    assert!(
        model
            .not_modelled
            .iter()
            .any(|note| note.contains("vision"))
    );
}
