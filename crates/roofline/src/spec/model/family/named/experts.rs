//! Mixture-of-experts classes with traits of their own.

use super::{
    Bias, Class, GLM, Gate, LLAMA, ModelFamily, QWEN2, QWEN3, QueryKeyNorm, Sinks, WindowRule,
};
use crate::spec::model::config::ConfigFields;

/// Classes whose router has a learned correction of its scores.
pub(super) const ROUTED_BY_SCORES: &[Class] = &[
    (
        &[
            "deepseek_v2",
            "deepseek_v3",
            "deepseek_v32",
            "kimi_k2",
            "kimi_k25",
            "mimo_v2_flash",
            "mimo_v2",
        ],
        |fields| ModelFamily {
            router_vectors: u64::from(fields.string("topk_method") == Some("noaux_tc")),
            windows: WindowRule::Marked,
            sinks: Sinks::Windowed,
            ..LLAMA
        },
    ),
    (&["glm4_moe_lite", "glm_moe_dsa"], |_| ModelFamily {
        router_vectors: 1,
        defaults: &[("first_k_dense_replace", 1)],
        ..LLAMA
    }),
    (&["axk1"], |_| ModelFamily {
        router_vectors: 1,
        expert_norms: 1,
        ..LLAMA
    }),
    (
        &["ernie4_5_moe", "ernie4_5_vl_moe", "ernie4_5_moe_vl"],
        |_| ModelFamily {
            tied_head: true,
            router_vectors: 1,
            ..LLAMA
        },
    ),
    (&["exaone_moe", "hy_v3"], |_| ModelFamily {
        query_key_norm: QueryKeyNorm::PerHead,
        router_vectors: 1,
        windows: WindowRule::Pattern,
        defaults: &[("first_k_dense_replace", 1)],
        ..LLAMA
    }),
    (&["minimax_m2"], |fields| ModelFamily {
        query_key_norm: QueryKeyNorm::PerProjection,
        router_vectors: u64::from(fields.flag("use_routing_bias").unwrap_or(true)),
        ..LLAMA
    }),
    (&["glm4_moe", "glm4v_moe"], |fields| ModelFamily {
        query_key_norm: norm_if(fields, "use_qk_norm"),
        router_vectors: 1,
        ..GLM
    }),
    (&["dots1"], |_| ModelFamily {
        query_key_norm: QueryKeyNorm::PerHead,
        router_vectors: 1,
        ..LLAMA
    }),
];

/// The others.
pub(super) const WITH_TRAITS: &[Class] = &[
    (&["afmoe"], |_| ModelFamily {
        norms: 4,
        query_key_norm: QueryKeyNorm::PerHead,
        gate: Gate::PerElement,
        router_vectors: 1,
        windows: WindowRule::Pattern,
        ..LLAMA
    }),
    (&["laguna"], |_| ModelFamily {
        query_key_norm: QueryKeyNorm::PerHead,
        gate: Gate::PerHead,
        router_vectors: 1,
        ..LLAMA
    }),
    (&["mellum"], |_| QWEN3),
    (&["phimoe"], |_| ModelFamily {
        norm_parts: 2,
        head_bias: Bias::Field("lm_head_bias", false),
        ..LLAMA
    }),
    (&["dbrx"], |_| LLAMA),
    (&["llama4"], |_| ModelFamily {
        windows: WindowRule::Chunked,
        ..LLAMA
    }),
    (&["qwen2_moe"], |_| ModelFamily {
        shared_gate: true,
        ..QWEN2
    }),
    (&["gpt_oss"], |_| ModelFamily {
        sinks: Sinks::All,
        expert_bias: true,
        router_vectors: 1,
        windows: WindowRule::Even,
        ..LLAMA
    }),
];

fn norm_if(fields: &ConfigFields<'_>, flag: &str) -> QueryKeyNorm {
    if fields.flag(flag) == Some(true) {
        QueryKeyNorm::PerHead
    } else {
        QueryKeyNorm::None
    }
}
