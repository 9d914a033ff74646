//! Dense decoders with a gated MLP, and classes that differ from them by experts alone.

use super::{
    Bias, Family, GLM, LLAMA, OLMO2, QWEN2, QWEN3, QueryKeyNorm, Sinks, Skeleton, WindowRule,
};
use crate::spec::model::config::Fields;

/// What `LlamaConfig` assumes; multimodal files leave such fields of their text part out.
const LLAMA_DEFAULTS: &[(&str, u64)] = &[
    ("vocab_size", 32_000),
    ("hidden_size", 4096),
    ("intermediate_size", 11_008),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
];

/// What `MistralConfig` assumes.
const MISTRAL_DEFAULTS: &[(&str, u64)] = &[
    ("vocab_size", 32_000),
    ("hidden_size", 4096),
    ("intermediate_size", 14_336),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
    ("num_key_value_heads", 8),
];

const GEMMA: Family = Family {
    tied_head: true,
    defaults: &[("head_dim", 256)],
    ..LLAMA
};

const GEMMA3: Family = Family {
    norms: 4,
    query_key_norm: QueryKeyNorm::PerHead,
    windows: WindowRule::Pattern,
    defaults: &[
        ("vocab_size", 262_208),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("head_dim", 256),
        ("sliding_window", 4096),
        ("sliding_window_pattern", 6),
    ],
    ..GEMMA
};

/// Norms before and after each block, one scalar a layer, and further norms around experts that run beside a dense MLP.
const GEMMA4: Family = Family {
    scalars: 1,
    expert_norms: 4,
    router_vectors: 1,
    defaults: &[
        ("vocab_size", 262_144),
        ("num_attention_heads", 8),
        ("num_key_value_heads", 4),
        ("head_dim", 256),
        ("global_head_dim", 512),
        ("sliding_window", 512),
        ("sliding_window_pattern", 6),
        ("hidden_size_per_layer_input", 256),
        ("vocab_size_per_layer_input", 262_144),
    ],
    ..GEMMA3
};

/// Classes of Llama's kind.
pub(super) fn of_llamas_kind(model_type: &str, fields: &Fields<'_>) -> Option<Family> {
    Some(match model_type {
        "llama" if fields.is_nested() => Family {
            defaults: LLAMA_DEFAULTS,
            ..LLAMA
        },
        "mistral" if fields.is_nested() => Family {
            defaults: MISTRAL_DEFAULTS,
            ..LLAMA
        },
        "llama" | "mistral" | "ministral" | "ministral3" | "pixtral" | "phi3" | "granite"
        | "smollm3" | "internlm2" | "internlm3" | "mixtral" | "granitemoe" | "granitemoeshared"
        | "iquestcoder" | "ernie4_5" | "minicpm" | "minicpm3" | "mimo" | "solar" => LLAMA,
        "granite_swa" | "granitemoe_swa" => Family {
            sinks: Sinks::All,
            ..LLAMA
        },
        "nemotron-nas" => Family {
            skeleton: Skeleton::Described,
            ..LLAMA
        },
        "arcee" => Family {
            gated: false,
            ..LLAMA
        },
        "apertus" => Family {
            gated: false,
            query_key_norm: QueryKeyNorm::PerHead,
            scalars: 4,
            ..LLAMA
        },
        "olmo" => Family {
            norm_parts: 0,
            ..LLAMA
        },
        "stablelm" => Family {
            norm_parts: 2,
            norms: if fields.flag("use_parallel_residual") == Some(true) {
                1
            } else {
                2
            },
            qkv_bias: Bias::Field("use_qkv_bias", false),
            output_bias: Bias::Never,
            ..LLAMA
        },
        _ => return None,
    })
}

/// Classes with norms, windows or biases of their own.
pub(super) fn with_traits(model_type: &str) -> Option<Family> {
    Some(match model_type {
        "qwen2" | "qwen2_vl" | "qwen2_5_vl" => QWEN2,
        "qwen3" | "qwen3_moe" | "qwen3_vl" | "qwen3_vl_moe" => QWEN3,
        "gemma" => GEMMA,
        "gemma2" => Family {
            norms: 4,
            windows: WindowRule::Even,
            ..GEMMA
        },
        "gemma3" => GEMMA3,
        "gemma4" => GEMMA4,
        "glm" => GLM,
        "glm4" => Family { norms: 4, ..GLM },
        "seed_oss" => Family {
            output_bias: Bias::Field("attention_out_bias", false),
            ..LLAMA
        },
        "exaone4" => Family {
            query_key_norm: QueryKeyNorm::PerHead,
            windows: WindowRule::Pattern,
            ..LLAMA
        },
        "olmo2" | "olmo3" | "olmoe" => OLMO2,
        "cohere" | "cohere2" | "cohere2_moe" => Family {
            tied_head: true,
            norms: 1,
            windows: WindowRule::Pattern,
            ..LLAMA
        },
        _ => return None,
    })
}
