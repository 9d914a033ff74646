//! Hybrids of attention and recurrence, and pure recurrences.

use super::{AttentionRule, Class, Gate, LLAMA, ModelFamily, OLMO2, QWEN3, QueryKeyNorm, Skeleton};
use crate::spec::model::family::RecurrenceKind;
use crate::spec::precision::Precision;

/// Delta nets and convolutions with attention in between.
pub(super) const ATTENDING_IN_TURNS: &[Class] = &[
    (&["qwen3_next", "qwen3_5", "qwen3_5_moe"], |_| ModelFamily {
        recurrence: Some(RecurrenceKind::GatedDelta),
        attention_rule: AttentionRule::EveryNth,
        gate: Gate::PerElement,
        shared_gate: true,
        ..QWEN3
    }),
    (&["olmo_hybrid"], |_| ModelFamily {
        recurrence: Some(RecurrenceKind::GatedDelta),
        attention_rule: AttentionRule::EveryNth,
        ..OLMO2
    }),
    (&["kimi_linear"], |_| ModelFamily {
        recurrence: Some(RecurrenceKind::KimiDelta),
        attention_rule: AttentionRule::KimiList,
        router_vectors: 1,
        state_dtype: Some(Precision::Fp32),
        ..LLAMA
    }),
    (&["lfm2", "lfm2_moe"], |_| ModelFamily {
        tied_head: true,
        recurrence: Some(RecurrenceKind::ShortConv),
        attention_rule: AttentionRule::Listed("full_attn_idxs"),
        query_key_norm: QueryKeyNorm::PerHead,
        router_vectors: 1,
        ..LLAMA
    }),
];

/// Mamba, alone or with attention.
pub(super) const WITH_MAMBA: &[Class] = &[
    (&["nemotron_h"], |_| ModelFamily {
        norms: 1,
        gated: false,
        router_vectors: 1,
        skeleton: Skeleton::Lettered,
        state_dtype: Some(Precision::Fp32),
        ..LLAMA
    }),
    (&["jamba"], |_| ModelFamily {
        recurrence: Some(RecurrenceKind::Mamba1),
        attention_rule: AttentionRule::Period,
        ..LLAMA
    }),
    (&["bamba"], |_| ModelFamily {
        recurrence: Some(RecurrenceKind::Mamba2),
        attention_rule: AttentionRule::Listed("attn_layer_indices"),
        ..LLAMA
    }),
    (&["granitemoehybrid"], |_| ModelFamily {
        recurrence: Some(RecurrenceKind::Mamba2),
        ..LLAMA
    }),
    (&["falcon_h1"], |_| ModelFamily {
        recurrence: Some(RecurrenceKind::Mamba2),
        skeleton: Skeleton::Parallel,
        ..LLAMA
    }),
    (&["mamba", "falcon_mamba"], |_| ModelFamily {
        tied_head: true,
        norms: 1,
        recurrence: Some(RecurrenceKind::Mamba1),
        skeleton: Skeleton::RecurrenceOnly,
        ..LLAMA
    }),
    (&["mamba2"], |_| ModelFamily {
        norms: 1,
        recurrence: Some(RecurrenceKind::Mamba2),
        skeleton: Skeleton::RecurrenceOnly,
        ..LLAMA
    }),
];
