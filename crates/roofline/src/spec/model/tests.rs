use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::spec::model::family::{class_name, model_types};

fn model(config: &Value) -> ModelSpec {
    ModelSpec::from_config(config).expect("complete")
}

fn totals() -> Vec<Value> {
    let text = include_str!("../../../tests/fixtures/model-totals.json");
    serde_json::from_str(text).expect("valid JSON")
}

/// Each total is that of the published checkpoint, or was counted outside this program: by building the class, or from the shapes in its
/// source.
#[test]
fn totals_equal_those_of_the_checkpoints() {
    for entry in totals() {
        let model = model(&entry["config"]);
        let total = entry["total_params"].as_u64();
        assert_eq!(Some(model.total_params()), total, "{}", entry["name"]);
        let known = model
            .not_modelled
            .iter()
            .all(|note| !note.contains("generic"));
        assert!(known, "{}", entry["name"]);
    }
}

#[test]
fn every_model_type_known_by_name_stands_once_and_has_a_total() {
    let totals = totals();
    let counted: BTreeSet<&str> = totals
        .iter()
        .map(|entry| {
            class_name(
                ConfigFields::of(&entry["config"])
                    .expect("object")
                    .model_type(),
            )
        })
        .collect();
    let mut named = BTreeSet::new();
    for model_type in model_types() {
        assert!(named.insert(model_type), "{model_type} stands twice");
        assert!(counted.contains(model_type), "{model_type} has no total");
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
            AttentionSpan::Full => 'f',
            AttentionSpan::Window(_) => 'w',
            AttentionSpan::Chunk(_) => 'c',
            AttentionSpan::Selected(_) => 's',
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
fn sizes_that_no_model_has_are_named_and_not_multiplied() {
    for (extra, says) in [
        (
            json!({"hidden_size": 1_u64 << 62}),
            "hidden_size must be at most 1048576",
        ),
        (
            json!({"num_hidden_layers": 100_000}),
            "num_hidden_layers must be at most 4096",
        ),
        (
            json!({"num_hidden_layers": 4096, "intermediate_size": 1 << 20, "num_attention_heads": 1 << 20, "head_dim": 1 << 20}),
            "sizes make more parameters than any model has",
        ),
        (
            json!({"num_attention_heads_per_layer": [0]}),
            "num_attention_heads_per_layer must not hold zeros",
        ),
        (
            json!({"num_experts": 4, "num_experts_per_tok": 8}),
            "num_experts_per_tok (8) is more than the 4 experts there are",
        ),
    ] {
        let error = ModelSpec::from_config(&tiny(&extra)).expect_err("no model");
        assert!(error.to_string().contains(says), "{error}");
    }
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

#[test]
fn attention_stands_where_the_class_puts_it() {
    let mamba = json!({"mamba_n_heads": 4, "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_n_groups": 1});
    let with = |extra: Value| {
        let mut config = mamba.clone();
        for (name, value) in extra.as_object().expect("object") {
            config[name] = value.clone();
        }
        spans(&config)
    };
    assert_eq!(
        with(json!({"model_type": "bamba", "attn_layer_indices": [2, 5]})),
        "rrfrrfrr"
    );
    assert_eq!(
        with(
            json!({"model_type": "granitemoehybrid", "num_hidden_layers": 3, "layer_types": ["mamba", "attention", "mamba"]})
        ),
        "rfr"
    );
    assert_eq!(
        with(json!({"model_type": "falcon_h1", "num_hidden_layers": 2})),
        "frfr"
    );
    let kimi = json!({"model_type": "kimi_linear", "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
                      "linear_attn_config": {"full_attn_layers": [4, 8], "num_heads": 4, "head_dim": 8, "short_conv_kernel_size": 4}});
    assert_eq!(spans(&kimi), "rrrlrrrl");
    let lfm2 = json!({"model_type": "lfm2", "full_attn_idxs": [1], "num_hidden_layers": 3});
    assert_eq!(spans(&lfm2), "rfr");
}

#[test]
fn globals_of_gemma_4_have_their_own_heads_and_the_last_layers_no_cache() {
    let model = model(&tiny(
        &json!({"model_type": "gemma4_text", "head_dim": 16, "global_head_dim": 32, "num_key_value_heads": 4, "num_global_key_value_heads": 1,
                "attention_k_eq_v": true, "num_kv_shared_layers": 2, "sliding_window": 32, "hidden_size_per_layer_input": 8,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention", "sliding_attention",
                                "full_attention", "sliding_attention", "full_attention"]}),
    ));
    let attention = |index: usize| match model.layers[index].mixer {
        Mixer::Grouped(attention) => attention,
        _ => panic!("attends"),
    };
    let (local, global, last) = (attention(0), attention(1), attention(7));
    assert_eq!(
        (local.head_dim, local.kv_heads, local.kv_source),
        (16, 4, KvSource::Projections)
    );
    assert_eq!(
        (global.head_dim, global.kv_heads, global.kv_source),
        (32, 1, KvSource::KeysAsValues)
    );
    assert_eq!(last.kv_source, KvSource::EarlierLayer);
    assert_eq!(model.layer_embedding_params, 8 * 8 * 262_144);
}

#[test]
fn decoders_of_another_kind_are_named_and_not_guessed() {
    for (model_type, reason) in [
        ("zamba2", "share one attention block"),
        ("mllama", "image encoder"),
        ("deepseek_v4", "compressed cache"),
    ] {
        let outer = json!({"architectures": ["X"], "model_type": model_type, "text_config": tiny(&json!({}))});
        for config in [tiny(&json!({"model_type": model_type})), outer] {
            let error = ModelSpec::from_config(&config).expect_err(model_type);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
