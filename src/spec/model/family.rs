//! `Family`: what a model's class fixes and its `config.json` does not say.

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
    /// 1: scale only (RMSNorm). 2: scale and bias (LayerNorm).
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

/// The common shape: RMSNorm twice, gated MLP, grouped attention, biases where the file asks for them.
const LLAMA: Family = Family {
    tied_head: false,
    norms: 2,
    norm_parts: 1,
    embedding_norm: false,
    gated: true,
    qkv_bias: Bias::Field("attention_bias", false),
    output_bias: Bias::Field("attention_bias", false),
    mlp_bias: Bias::Field("mlp_bias", false),
    head_bias: false,
    query_key_norm: QueryKeyNorm::None,
    learned_positions: None,
    windows: WindowRule::All,
    skeleton: Skeleton::Attention,
    output_gate: false,
    sinks: false,
    expert_bias: false,
    router_vectors: 0,
    shared_gate: false,
    state_dtype: None,
    defaults: &[],
};

/// GPT-2's shape: LayerNorm, two-matrix MLP, biases everywhere.
const GPT: Family = Family {
    tied_head: true,
    norm_parts: 2,
    gated: false,
    qkv_bias: Bias::Always,
    output_bias: Bias::Always,
    mlp_bias: Bias::Always,
    ..LLAMA
};

const GEMMA: Family = Family {
    tied_head: true,
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

const QWEN2: Family = Family {
    qkv_bias: Bias::Always,
    output_bias: Bias::Never,
    mlp_bias: Bias::Never,
    windows: WindowRule::FromMaxWindowLayers,
    ..LLAMA
};

const QWEN3: Family = Family {
    query_key_norm: QueryKeyNorm::PerHead,
    windows: WindowRule::FromMaxWindowLayers,
    ..LLAMA
};

const QWEN3_NEXT: Family = Family {
    skeleton: Skeleton::GatedDelta,
    output_gate: true,
    shared_gate: true,
    ..QWEN3
};

const OLMO2: Family = Family {
    query_key_norm: QueryKeyNorm::PerProjection,
    ..LLAMA
};

const GLM: Family = Family {
    output_bias: Bias::Never,
    ..LLAMA
};

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
        let family = Self::named(model_type, fields).unwrap_or_else(|| {
            not_modelled.push(format!(
                "architecture {architecture} is not known: read as a generic decoder"
            ));
            LLAMA
        });
        Ok((family, not_modelled))
    }

    /// Looks up `model_type`; a `_text` or `_moe_text` ending is that of a multimodal model's text part.
    fn named(model_type: &str, fields: &Fields<'_>) -> Option<Self> {
        Some(
            match model_type.strip_suffix("_text").unwrap_or(model_type) {
                "llama" | "mixtral" | "granite" | "granitemoe" | "smollm3" | "phi3"
                | "internlm2" | "internlm3" | "aquila" | "yi" | "baichuan" | "arcee" => LLAMA,
                "mistral" | "ministral" | "ministral3" | "pixtral" => LLAMA,
                "deepseek_v2" | "deepseek_v3" | "deepseek_v32" | "kimi_k2" | "kimi_k25"
                | "glm4_moe_lite" => Self {
                    router_vectors: u64::from(fields.string("topk_method") == Some("noaux_tc")),
                    ..LLAMA
                },
                "llama4" => Self {
                    windows: WindowRule::Chunked,
                    ..LLAMA
                },
                "qwen2" | "qwen2_5_vl" | "qwen2_vl" => QWEN2,
                "qwen2_moe" => Self {
                    shared_gate: true,
                    ..QWEN2
                },
                "qwen3" | "qwen3_moe" | "qwen3_vl" | "qwen3_vl_moe" => QWEN3,
                "qwen3_next" | "qwen3_5" | "qwen3_5_moe" => QWEN3_NEXT,
                "gemma" => GEMMA,
                "gemma2" => Self {
                    norms: 4,
                    windows: WindowRule::Even,
                    ..GEMMA
                },
                "gemma3" => GEMMA3,
                "gpt_oss" => Self {
                    sinks: true,
                    expert_bias: true,
                    router_vectors: 1,
                    windows: WindowRule::Even,
                    ..LLAMA
                },
                "minimax_m2" => Self {
                    query_key_norm: QueryKeyNorm::PerProjection,
                    router_vectors: u64::from(fields.flag("use_routing_bias").unwrap_or(true)),
                    ..LLAMA
                },
                "glm" => GLM,
                "glm4" => Self { norms: 4, ..GLM },
                "glm4_moe" | "glm4v_moe" => Self {
                    query_key_norm: if fields.flag("use_qk_norm") == Some(true) {
                        QueryKeyNorm::PerHead
                    } else {
                        QueryKeyNorm::None
                    },
                    router_vectors: 1,
                    ..GLM
                },
                "seed_oss" => Self {
                    output_bias: Bias::Field("attention_out_bias", false),
                    ..LLAMA
                },
                "exaone4" | "dots1" => Self {
                    query_key_norm: QueryKeyNorm::PerHead,
                    router_vectors: u64::from(model_type == "dots1"),
                    ..LLAMA
                },
                "olmo2" | "olmo3" | "olmoe" => OLMO2,
                "cohere" | "cohere2" => Self {
                    tied_head: true,
                    norms: 1,
                    windows: WindowRule::Pattern,
                    ..LLAMA
                },
                "nemotron_h" => Self {
                    norms: 1,
                    gated: false,
                    router_vectors: 1,
                    skeleton: Skeleton::NemotronH,
                    state_dtype: Some(Precision::Fp32),
                    ..LLAMA
                },
                "jamba" => Self {
                    skeleton: Skeleton::Jamba,
                    ..LLAMA
                },
                other => return Self::gpt_like(other, fields),
            },
        )
    }

    /// Families with a two-matrix MLP.
    fn gpt_like(model_type: &str, fields: &Fields<'_>) -> Option<Self> {
        Some(match model_type {
            "gpt2" => Self {
                learned_positions: Some(0),
                ..GPT
            },
            "gpt_bigcode" => Self {
                learned_positions: Some(0),
                ..GPT
            },
            "opt" => Self {
                learned_positions: Some(2),
                ..GPT
            },
            "bloom" => Self {
                embedding_norm: true,
                ..GPT
            },
            "gpt_neox" => Self {
                tied_head: false,
                ..GPT
            },
            "phi" => Self {
                tied_head: false,
                norms: 1,
                head_bias: true,
                ..GPT
            },
            "starcoder2" => Self {
                qkv_bias: Bias::Field("use_bias", true),
                output_bias: Bias::Field("use_bias", true),
                mlp_bias: Bias::Field("use_bias", true),
                ..GPT
            },
            "falcon" | "RefinedWeb" | "RefinedWebModel" => Self {
                norms: if fields.flag("new_decoder_architecture") == Some(true)
                    || fields.flag("parallel_attn") == Some(false)
                {
                    2
                } else {
                    1
                },
                qkv_bias: Bias::Field("bias", false),
                output_bias: Bias::Field("bias", false),
                mlp_bias: Bias::Field("bias", false),
                ..GPT
            },
            "nemotron" => Self {
                tied_head: false,
                qkv_bias: Bias::Field("attention_bias", false),
                output_bias: Bias::Field("attention_bias", false),
                mlp_bias: Bias::Field("mlp_bias", false),
                ..GPT
            },
            _ => return None,
        })
    }

    /// Parameters outside the layers that are neither embedding nor head.
    pub(super) fn outer_params(
        &self,
        fields: &Fields<'_>,
        hidden: u64,
        vocab: u64,
    ) -> Result<u64, ModelError> {
        let norm = self.norm_parts * hidden;
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
        Ok(norm + embedding_norm + positions + embedding_projections + head_bias)
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
