//! `Family`: what a model's class fixes and its `config.json` does not say.

mod named;

use super::config::{Fields, ModelError};
use crate::spec::precision::Precision;

/// Whether a block of matrices carries biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bias {
    Always,
    Never,
    /// As the boolean field says; without it, the default.
    Field(&'static str, bool),
}

impl Bias {
    pub(super) fn holds(self, fields: &Fields<'_>) -> bool {
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
    /// One as wide as all heads together.
    PerProjection,
}

/// Which layers attend over a window where no list says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowRule {
    /// All, if the file sets a window.
    All,
    /// Every second, from the first.
    Even,
    /// All but every n-th, n in `sliding_window_pattern`.
    Pattern,
    /// Those from `max_window_layers` on, if `use_sliding_window`.
    FromMaxWindowLayers,
    /// Chunks but for every n-th layer (Llama 4).
    Chunked,
}

/// Architecture of the token mixers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skeleton {
    /// Grouped-query attention, or latent attention where `kv_lora_rank` is set.
    Attention,
    /// Gated delta nets with full attention in between.
    GatedDelta,
    /// One letter per layer: mamba, experts, attention, MLP.
    NemotronH,
    /// Mamba-1 with attention at fixed places.
    Jamba,
}

/// Traits of one model class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// Head and embedding share weights unless the file says otherwise.
    pub(super) tied_head: bool,
    /// Norm vectors per layer, each as wide as the hidden size.
    pub(super) norms: u64,
    /// 1: scale only (`RMSNorm`). 2: scale and bias (`LayerNorm`).
    pub(super) norm_parts: u64,
    /// A norm right after the embedding.
    pub(super) embedding_norm: bool,
    pub(super) gated: bool,
    pub(super) qkv_bias: Bias,
    pub(super) output_bias: Bias,
    pub(super) mlp_bias: Bias,
    pub(super) head_bias: bool,
    pub(super) query_key_norm: QueryKeyNorm,
    /// Learned position table: rows beyond the field `max_position_embeddings` or `n_positions`.
    pub(super) learned_positions: Option<u64>,
    pub(super) windows: WindowRule,
    pub(super) skeleton: Skeleton,
    /// Query projection makes an output gate.
    pub(super) output_gate: bool,
    /// One learned sink per query head.
    pub(super) sinks: bool,
    pub(super) expert_bias: bool,
    /// Vectors of one element per expert: router bias, load-balancing correction.
    pub(super) router_vectors: u64,
    pub(super) shared_gate: bool,
    pub(super) state_dtype: Option<Precision>,
    /// Fields that the class assumes.
    pub(super) defaults: &'static [(&'static str, u64)],
}

impl Family {
    /// The family of a configuration, with what reading it that way leaves out.
    pub(super) fn of(fields: &Fields<'_>) -> Result<(Self, Vec<String>), ModelError> {
        let model_type = fields.model_type();
        let architecture = fields.architecture();
        if let Some(reason) = out_of_scope(model_type, &architecture) {
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
        fields: &Fields<'_>,
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
        let head_bias = if self.head_bias { vocab } else { 0 };
        Ok(final_norm + embedding_norm + positions + embedding_projections + head_bias)
    }
}

/// Why a model's steps are not those of a decoder.
fn out_of_scope(model_type: &str, architecture: &str) -> Option<&'static str> {
    const ENCODERS: [&str; 12] = [
        "bert",
        "roberta",
        "xlm-roberta",
        "distilbert",
        "albert",
        "deberta",
        "deberta-v2",
        "electra",
        "mpnet",
        "nomic_bert",
        "modernbert",
        "new",
    ];
    const ENCODER_DECODERS: [&str; 6] = ["t5", "mt5", "bart", "mbart", "whisper", "umt5"];
    let pooling = [
        "ForSequenceClassification",
        "ForTokenClassification",
        "RewardModel",
        "EmbeddingModel",
    ];
    if ENCODERS.contains(&model_type) {
        Some("an encoder reads each input once and decodes nothing")
    } else if ENCODER_DECODERS.contains(&model_type) {
        Some("an encoder-decoder runs cross-attention over a separate encoder")
    } else if pooling.iter().any(|ending| architecture.contains(ending)) {
        Some("a pooling model decodes nothing; use the config.json of its generating sibling")
    } else {
        None
    }
}
