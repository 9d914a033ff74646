//! `ModelFamily`: traits of a model's class that its `config.json` does not state.

mod named;
mod scope;

#[cfg(test)]
pub(super) use named::{class_name, model_types};

use super::config::{ConfigFields, ModelError};
use crate::spec::precision::Precision;

/// Whether a group of matrices has biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bias {
    Always,
    Never,
    /// From the boolean field; without it, the default.
    Field(&'static str, bool),
}

impl Bias {
    pub(super) fn holds(self, fields: &ConfigFields<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Field(name, default) => fields.flag(name).unwrap_or(default),
        }
    }
}

/// Norms on queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueryKeyNorm {
    None,
    /// One vector as wide as a head, shared by all heads.
    PerHead,
    /// One vector as wide as all heads together.
    PerProjection,
}

/// Which layers use windowed attention where no list states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowRule {
    /// All, if the file sets a window.
    All,
    /// Every second layer, from the first.
    Even,
    /// All except every n-th, n in `sliding_window_pattern` or in `global_attn_every_n_layers`.
    Pattern,
    /// Those from `max_window_layers` on, if `use_sliding_window`.
    FromMaxWindowLayers,
    /// Those marked 1 in `hybrid_layer_pattern` (`MiMo` V2).
    Marked,
    /// Chunks except for every n-th layer (Llama 4).
    Chunked,
}

/// How the blocks of a layer are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skeleton {
    /// Attention or recurrence, then a feed-forward block.
    Sequential,
    /// Attention and recurrence side by side, then a feed-forward block (Falcon-H1).
    Parallel,
    /// A recurrence alone (Mamba).
    RecurrenceOnly,
    /// One block per layer, given by a letter or a word: mamba, experts, attention, MLP (Nemotron-H).
    Lettered,
    /// As `block_configs` describes each (Nemotron's pruned Llamas).
    Described,
}

/// The recurrence that replaces attention in some layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecurrenceKind {
    GatedDelta,
    KimiDelta,
    Mamba1,
    Mamba2,
    ShortConv,
}

/// Which layers of a model with a recurrence use attention, where no list of layer types states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttentionRule {
    /// None.
    Never,
    /// Every n-th, n in `full_attention_interval` or 4.
    EveryNth,
    /// One of each `attn_layer_period`, at `attn_layer_offset` (Jamba).
    Period,
    /// Those listed by number in this field, counted from zero.
    Listed(&'static str),
    /// Those listed in `linear_attn_config.full_attn_layers`, counted from one (Kimi).
    KimiList,
}

/// Traits of one model class.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelFamily {
    /// Head and embedding share weights unless the file says otherwise.
    pub(super) tied_head: bool,
    /// Norm vectors per layer, each as wide as the hidden size.
    pub(super) norms: u64,
    /// 0: without parameters. 1: scale only (`RMSNorm`). 2: scale and bias (`LayerNorm`).
    pub(super) norm_parts: u64,
    /// A norm right after the embedding.
    pub(super) embedding_norm: bool,
    pub(super) gated: bool,
    pub(super) qkv_bias: Bias,
    pub(super) output_bias: Bias,
    pub(super) mlp_bias: Bias,
    pub(super) head_bias: Bias,
    pub(super) query_key_norm: QueryKeyNorm,
    /// Learned position table: rows beyond the field `max_position_embeddings` or `n_positions`.
    pub(super) learned_positions: Option<u64>,
    pub(super) windows: WindowRule,
    pub(super) skeleton: Skeleton,
    pub(super) recurrence: Option<RecurrenceKind>,
    pub(super) attention_rule: AttentionRule,
    pub(super) gate: Gate,
    pub(super) sinks: Sinks,
    pub(super) expert_bias: bool,
    /// Vectors of one element per expert: router bias, load-balancing correction.
    pub(super) router_vectors: u64,
    pub(super) shared_gate: bool,
    /// Single parameters of a layer.
    pub(super) scalars: u64,
    /// Norm vectors of a layer with experts beyond those of a dense one.
    pub(super) expert_norms: u64,
    pub(super) state_dtype: Option<Precision>,
    /// Defaults of the class for absent fields.
    pub(super) defaults: &'static [(&'static str, u64)],
}

/// A gate on the output of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    None,
    /// One value per element, unless `attn_output_gate` is false.
    PerElement,
    /// One value per head.
    PerHead,
}

/// One learned sink per query head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sinks {
    None,
    All,
    /// Only in layers with a window.
    Windowed,
}

impl ModelFamily {
    /// The family of a configuration, with the effects that this reading omits.
    pub(super) fn of(fields: &ConfigFields<'_>) -> Result<(Self, Vec<String>), ModelError> {
        let model_type = fields.model_type();
        let architecture = fields.architecture();
        if let Some(reason) = scope::excluded(&fields.model_types(), &architecture) {
            return Err(ModelError::NotModelled {
                architecture,
                reason: reason.to_owned(),
            });
        }
        let mut not_modelled = Vec::new();
        if fields
            .count(&["num_nextn_predict_layers", "mtp_num_hidden_layers"])
            .is_some_and(|layers| layers > 0)
        {
            not_modelled.push(
                "multi-token-prediction layers: in the checkpoint, not in the main model"
                    .to_owned(),
            );
        }
        let family = named::find(model_type, fields).unwrap_or_else(|| {
            not_modelled.push(format!(
                "architecture {architecture} is not known: read as a generic decoder"
            ));
            named::LLAMA
        });
        Ok((family, not_modelled))
    }

    /// Parameters outside the layers that are neither embedding nor head.
    pub(super) fn outer_params(
        &self,
        fields: &ConfigFields<'_>,
        hidden: u64,
        vocab: u64,
    ) -> Result<u64, ModelError> {
        let norm = self.norm_parts * hidden;
        let final_norm = if fields.flag("do_layer_norm_before") == Some(false) {
            0
        } else {
            norm
        };
        let positions = match self.learned_positions {
            Some(extra) => {
                (fields.need(&["max_position_embeddings", "n_positions"])? + extra) * hidden
            }
            None => 0,
        };
        let embedding_width = fields.count(&["word_embed_proj_dim"]).unwrap_or(hidden);
        let embedding_projections = if embedding_width == hidden {
            0
        } else {
            2 * embedding_width * hidden
        };
        let embedding_norm = if self.embedding_norm { norm } else { 0 };
        let head_bias = if self.head_bias.holds(fields) {
            vocab
        } else {
            0
        };
        let layer_input_norm = fields.count(&["hidden_size_per_layer_input"]).unwrap_or(0);
        Ok(final_norm
            + embedding_norm
            + positions
            + embedding_projections
            + head_bias
            + layer_input_norm)
    }
}
