//! Dense decoders with a gated MLP, and classes that differ from them only by experts.

use super::{
    Bias, Class, GLM, LLAMA, ModelFamily, OLMO2, QWEN2, QWEN3, QueryKeyNorm, Sinks, Skeleton,
    WindowRule,
};
use crate::spec::model::config::ConfigFields;

/// Defaults of `LlamaConfig`; multimodal files omit such fields of their text part.
const LLAMA_DEFAULTS: &[(&str, u64)] = &[
    ("vocab_size", 32_000),
    ("hidden_size", 4096),
    ("intermediate_size", 11_008),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
];

/// Defaults of `MistralConfig`.
const MISTRAL_DEFAULTS: &[(&str, u64)] = &[
    ("vocab_size", 32_000),
    ("hidden_size", 4096),
    ("intermediate_size", 14_336),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
    ("num_key_value_heads", 8),
];

const GEMMA: ModelFamily = ModelFamily {
    tied_head: true,
    defaults: &[("head_dim", 256)],
    ..LLAMA
};

const GEMMA3: ModelFamily = ModelFamily {
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

/// Norms before and after each block, one scalar per layer, and additional norms around experts that run beside a dense MLP.
const GEMMA4: ModelFamily = ModelFamily {
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

/// Llama's family, with `defaults` for a multimodal file.
fn assuming(defaults: &'static [(&'static str, u64)], fields: &ConfigFields<'_>) -> ModelFamily {
    ModelFamily {
        defaults: if fields.is_nested() { defaults } else { &[] },
        ..LLAMA
    }
}

/// Llama-like classes.
pub(super) const OF_LLAMAS_KIND: &[Class] = &[
    (&["llama"], |fields| assuming(LLAMA_DEFAULTS, fields)),
    (&["mistral"], |fields| assuming(MISTRAL_DEFAULTS, fields)),
    (
        &[
            "ministral",
            "ministral3",
            "pixtral",
            "phi3",
            "granite",
            "internlm2",
            "internlm3",
            "mixtral",
            "granitemoe",
            "granitemoeshared",
            "iquestcoder",
            "solar",
        ],
        |_| LLAMA,
    ),
    (&["smollm3", "ernie4_5", "minicpm", "minicpm3"], |_| {
        ModelFamily {
            tied_head: true,
            ..LLAMA
        }
    }),
    (&["granite_swa"], |_| ModelFamily {
        tied_head: true,
        sinks: Sinks::All,
        ..LLAMA
    }),
    (&["granitemoe_swa"], |_| ModelFamily {
        sinks: Sinks::All,
        ..LLAMA
    }),
    (&["nemotron-nas"], |_| ModelFamily {
        skeleton: Skeleton::Described,
        ..LLAMA
    }),
    (&["arcee"], |_| ModelFamily {
        gated: false,
        ..LLAMA
    }),
    (&["apertus"], |_| ModelFamily {
        gated: false,
        query_key_norm: QueryKeyNorm::PerHead,
        scalars: 4,
        ..LLAMA
    }),
    (&["olmo"], |_| ModelFamily {
        norm_parts: 0,
        ..LLAMA
    }),
    (&["stablelm"], |fields| ModelFamily {
        norm_parts: 2,
        norms: if fields.flag("use_parallel_residual") == Some(true) {
            1
        } else {
            2
        },
        qkv_bias: Bias::Field("use_qkv_bias", false),
        output_bias: Bias::Never,
        ..LLAMA
    }),
];

/// Classes with norms, windows or biases of their own.
pub(super) const WITH_TRAITS: &[Class] = &[
    (&["qwen2", "qwen2_vl", "qwen2_5_vl", "mimo"], |_| QWEN2),
    (&["qwen3", "qwen3_moe", "qwen3_vl", "qwen3_vl_moe"], |_| {
        QWEN3
    }),
    (&["gemma"], |_| GEMMA),
    (&["gemma2"], |_| ModelFamily {
        norms: 4,
        windows: WindowRule::Even,
        ..GEMMA
    }),
    (&["gemma3"], |_| GEMMA3),
    (&["gemma4"], |_| GEMMA4),
    (&["glm"], |_| GLM),
    (&["glm4"], |_| ModelFamily { norms: 4, ..GLM }),
    (&["seed_oss"], |_| ModelFamily {
        output_bias: Bias::Field("attention_out_bias", false),
        ..LLAMA
    }),
    (&["exaone4"], |_| ModelFamily {
        query_key_norm: QueryKeyNorm::PerHead,
        windows: WindowRule::Pattern,
        ..LLAMA
    }),
    (&["olmo2", "olmo3", "olmoe"], |_| OLMO2),
    (&["cohere", "cohere2", "cohere2_moe"], |_| ModelFamily {
        tied_head: true,
        norms: 1,
        windows: WindowRule::Pattern,
        ..LLAMA
    }),
];
