//! Attention and recurrence in turns, or recurrence alone.

use super::{AttentionRule, Family, Gate, LLAMA, OLMO2, QWEN3, QueryKeyNorm, Skeleton};
use crate::spec::model::family::RecurrenceKind;
use crate::spec::precision::Precision;

/// Delta nets and convolutions with attention in between.
pub(super) fn attending_in_turns(model_type: &str) -> Option<Family> {
    Some(match model_type {
        "qwen3_next" | "qwen3_5" | "qwen3_5_moe" => Family {
            recurrence: Some(RecurrenceKind::GatedDelta),
            attention_rule: AttentionRule::EveryNth,
            gate: Gate::PerElement,
            shared_gate: true,
            ..QWEN3
        },
        "olmo_hybrid" => Family {
            recurrence: Some(RecurrenceKind::GatedDelta),
            attention_rule: AttentionRule::EveryNth,
            ..OLMO2
        },
        "kimi_linear" => Family {
            recurrence: Some(RecurrenceKind::KimiDelta),
            attention_rule: AttentionRule::KimiList,
            router_vectors: 1,
            state_dtype: Some(Precision::Fp32),
            ..LLAMA
        },
        "lfm2" | "lfm2_moe" => Family {
            tied_head: true,
            recurrence: Some(RecurrenceKind::ShortConv),
            attention_rule: AttentionRule::Listed("full_attn_idxs"),
            query_key_norm: QueryKeyNorm::PerHead,
            router_vectors: 1,
            ..LLAMA
        },
        _ => return None,
    })
}

/// Mamba, alone or with attention.
pub(super) fn with_mamba(model_type: &str) -> Option<Family> {
    Some(match model_type {
        "nemotron_h" => Family {
            norms: 1,
            gated: false,
            router_vectors: 1,
            skeleton: Skeleton::Lettered,
            state_dtype: Some(Precision::Fp32),
            ..LLAMA
        },
        "jamba" => Family {
            recurrence: Some(RecurrenceKind::Mamba1),
            attention_rule: AttentionRule::Period,
            ..LLAMA
        },
        "bamba" => Family {
            recurrence: Some(RecurrenceKind::Mamba2),
            attention_rule: AttentionRule::Listed("attn_layer_indices"),
            ..LLAMA
        },
        "granitemoehybrid" => Family {
            recurrence: Some(RecurrenceKind::Mamba2),
            ..LLAMA
        },
        "falcon_h1" => Family {
            recurrence: Some(RecurrenceKind::Mamba2),
            skeleton: Skeleton::Parallel,
            ..LLAMA
        },
        "mamba" | "falcon_mamba" => Family {
            tied_head: true,
            norms: 1,
            recurrence: Some(RecurrenceKind::Mamba1),
            skeleton: Skeleton::RecurrenceOnly,
            ..LLAMA
        },
        "mamba2" => Family {
            norms: 1,
            recurrence: Some(RecurrenceKind::Mamba2),
            skeleton: Skeleton::RecurrenceOnly,
            ..LLAMA
        },
        _ => return None,
    })
}
