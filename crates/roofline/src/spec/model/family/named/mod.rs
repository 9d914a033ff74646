//! The model classes known by name.

mod dense;
mod experts;
mod hybrid;
mod plain;

use super::{AttentionRule, Bias, Gate, ModelFamily, QueryKeyNorm, Sinks, Skeleton, WindowRule};
use crate::spec::model::config::ConfigFields;

/// The common shape: `RMSNorm` twice, gated MLP, grouped attention, biases where the file asks for them.
pub(super) const LLAMA: ModelFamily = ModelFamily {
    tied_head: false,
    norms: 2,
    norm_parts: 1,
    embedding_norm: false,
    gated: true,
    qkv_bias: Bias::Field("attention_bias", false),
    output_bias: Bias::Field("attention_bias", false),
    mlp_bias: Bias::Field("mlp_bias", false),
    head_bias: Bias::Never,
    query_key_norm: QueryKeyNorm::None,
    learned_positions: None,
    windows: WindowRule::All,
    skeleton: Skeleton::Sequential,
    recurrence: None,
    attention_rule: AttentionRule::Never,
    gate: Gate::None,
    sinks: Sinks::None,
    expert_bias: false,
    router_vectors: 0,
    shared_gate: false,
    scalars: 0,
    expert_norms: 0,
    state_dtype: None,
    defaults: &[],
};

pub(super) const QWEN2: ModelFamily = ModelFamily {
    qkv_bias: Bias::Always,
    output_bias: Bias::Never,
    mlp_bias: Bias::Never,
    windows: WindowRule::FromMaxWindowLayers,
    ..LLAMA
};

pub(super) const QWEN3: ModelFamily = ModelFamily {
    query_key_norm: QueryKeyNorm::PerHead,
    windows: WindowRule::FromMaxWindowLayers,
    ..LLAMA
};

pub(super) const OLMO2: ModelFamily = ModelFamily {
    query_key_norm: QueryKeyNorm::PerProjection,
    ..LLAMA
};

pub(super) const GLM: ModelFamily = ModelFamily {
    output_bias: Bias::Never,
    ..LLAMA
};

/// The model types of one class, and its family, some traits of which depend on the file.
type Class = (
    &'static [&'static str],
    fn(&ConfigFields<'_>) -> ModelFamily,
);

/// All classes; each model type is in exactly one.
const CLASSES: [&[Class]; 7] = [
    dense::OF_LLAMAS_KIND,
    dense::WITH_TRAITS,
    experts::ROUTED_BY_SCORES,
    experts::WITH_TRAITS,
    hybrid::ATTENDING_IN_TURNS,
    hybrid::WITH_MAMBA,
    plain::DECODERS,
];

/// The family of `model_type`.
pub(super) fn find(model_type: &str, fields: &ConfigFields<'_>) -> Option<ModelFamily> {
    let name = class_name(model_type);
    let mut classes = CLASSES.into_iter().flatten();
    let (_, family) = classes.find(|(names, _)| names.contains(&name))?;
    Some(family(fields))
}

/// `model_type` as in the list of classes: a `_text` suffix marks the text part of a multimodal model.
pub(in super::super) fn class_name(model_type: &str) -> &str {
    model_type.strip_suffix("_text").unwrap_or(model_type)
}

/// The model types of all classes.
#[cfg(test)]
pub(in super::super) fn model_types() -> impl Iterator<Item = &'static str> {
    let classes = CLASSES.into_iter().flatten();
    classes.flat_map(|(names, _)| names.iter().copied())
}
