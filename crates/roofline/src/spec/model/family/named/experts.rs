//! Mixtures of experts with traits of their own.

use super::{Bias, Family, GLM, Gate, LLAMA, QWEN2, QWEN3, QueryKeyNorm, Sinks, WindowRule};
use crate::spec::model::config::Fields;

/// Classes whose router corrects its scores by a learned vector.
pub(super) fn routed_by_scores(model_type: &str, fields: &Fields<'_>) -> Option<Family> {
    Some(match model_type {
        "deepseek_v2" | "deepseek_v3" | "deepseek_v32" | "kimi_k2" | "kimi_k25"
        | "mimo_v2_flash" | "mimo_v2" => Family {
            router_vectors: u64::from(fields.string("topk_method") == Some("noaux_tc")),
            windows: WindowRule::Marked,
            sinks: Sinks::Windowed,
            ..LLAMA
        },
        "glm4_moe_lite" | "glm_moe_dsa" => Family {
            router_vectors: 1,
            defaults: &[("first_k_dense_replace", 1)],
            ..LLAMA
        },
        "axk1" => Family {
            router_vectors: 1,
            expert_norms: 1,
            ..LLAMA
        },
        "ernie4_5_moe" | "ernie4_5_vl_moe" => Family {
            router_vectors: 1,
            ..LLAMA
        },
        "exaone_moe" | "hy_v3" => Family {
            query_key_norm: QueryKeyNorm::PerHead,
            router_vectors: 1,
            windows: WindowRule::Pattern,
            defaults: &[("first_k_dense_replace", 1)],
            ..LLAMA
        },
        "minimax_m2" => Family {
            query_key_norm: QueryKeyNorm::PerProjection,
            router_vectors: u64::from(fields.flag("use_routing_bias").unwrap_or(true)),
            ..LLAMA
        },
        "glm4_moe" | "glm4v_moe" => Family {
            query_key_norm: norm_if(fields, "use_qk_norm"),
            router_vectors: 1,
            ..GLM
        },
        "dots1" => Family {
            query_key_norm: QueryKeyNorm::PerHead,
            router_vectors: 1,
            ..LLAMA
        },
        _ => return None,
    })
}

/// The others.
pub(super) fn with_traits(model_type: &str) -> Option<Family> {
    Some(match model_type {
        "afmoe" => Family {
            norms: 4,
            query_key_norm: QueryKeyNorm::PerHead,
            gate: Gate::PerElement,
            router_vectors: 1,
            windows: WindowRule::Pattern,
            ..LLAMA
        },
        "laguna" => Family {
            query_key_norm: QueryKeyNorm::PerHead,
            gate: Gate::PerHead,
            router_vectors: 1,
            ..LLAMA
        },
        "mellum" => QWEN3,
        "phimoe" => Family {
            norm_parts: 2,
            head_bias: Bias::Field("lm_head_bias", false),
            ..LLAMA
        },
        "dbrx" => LLAMA,
        "llama4" => Family {
            windows: WindowRule::Chunked,
            ..LLAMA
        },
        "qwen2_moe" => Family {
            shared_gate: true,
            ..QWEN2
        },
        "gpt_oss" => Family {
            sinks: Sinks::All,
            expert_bias: true,
            router_vectors: 1,
            windows: WindowRule::Even,
            ..LLAMA
        },
        _ => return None,
    })
}

fn norm_if(fields: &Fields<'_>, flag: &str) -> QueryKeyNorm {
    if fields.flag(flag) == Some(true) {
        QueryKeyNorm::PerHead
    } else {
        QueryKeyNorm::None
    }
}
