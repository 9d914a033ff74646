//! `ModelSpec`: the matrices and attention layers of a model, read from its `config.json`.
//!
//! Parameter counts follow from the shapes and are exact for the text part. An unknown architecture falls back to the generic decoder if
//! its fields suffice, and `not_modelled` says so.

mod attention;
mod config;
mod family;
mod feed_forward;
mod layers;
mod projection;
mod recurrent;

pub use attention::{AttentionSpan, GroupedAttention, Indexer, KvSource, LatentAttention};
pub use config::ModelError;
pub use feed_forward::{Mlp, Moe};
pub use projection::{Projection, Split};
pub use recurrent::Recurrent;

use serde_json::Value;

use self::config::ConfigFields;
use self::family::ModelFamily;
use super::precision::Precision;

/// Counts up to this are exact as floating-point numbers.
const MOST_PARAMS: u64 = 1 << 53;

/// A model, described by its weights and layers.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// First of the `architectures`, such as `LlamaForCausalLM`.
    pub architecture: String,
    /// Width of the residual stream.
    pub hidden_size: u64,
    /// Rows of the embedding table.
    pub vocab_size: u64,
    /// Width of an embedding row; the hidden size except for a few models (OPT-350m).
    pub embedding_width: u64,
    /// Whether the LM head shares the embedding's weights.
    pub tied_head: bool,
    /// Parameters outside the layers that are neither embedding nor head: final norm, position table, head bias.
    pub outer_params: u64,
    /// Elements of a second embedding table, from which each layer gathers its part of a token's row (Gemma 4); 0 without.
    pub layer_embedding_params: u64,
    /// Layers in order.
    pub layers: Vec<Layer>,
    /// The checkpoint's dtype, if the file names it.
    pub dtype: Option<Precision>,
    /// dtype of recurrent states, where the model fixes it.
    pub state_dtype: Option<Precision>,
    /// Maximum sequence length of the model.
    pub max_position_embeddings: Option<u64>,
    /// `quantization_config`, unchanged.
    pub quantization_config: Option<Value>,
    /// Whether it has encoders of images or sound, which no layer here represents.
    pub has_encoders: bool,
    /// Effects that a prediction from this description omits.
    pub not_modelled: Vec<String>,
}

/// One layer: a token mixer, then a feed-forward block; either may be absent. A layer with two parallel mixers (Falcon-H1) is listed as two
/// layers with the same index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layer {
    /// Its number in the checkpoint.
    pub index: u64,
    /// Attention or recurrence.
    pub mixer: Mixer,
    /// MLP or experts.
    pub feed_forward: FeedForward,
    /// Parameters of the norms, and single parameters.
    pub norm_params: u64,
    /// Width of the token embedding that the layer gates and adds itself (Gemma 4); 0 without.
    pub layer_input: u64,
}

/// The token mixer of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixer {
    /// None: the layer is only a feed-forward block (Nemotron-H).
    None,
    /// Grouped-query attention.
    Grouped(GroupedAttention),
    /// Latent attention.
    Latent(LatentAttention),
    /// A recurrence.
    Recurrent(Recurrent),
}

/// The feed-forward block of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// None: the layer is only a mixer (Nemotron-H).
    None,
    /// A dense MLP.
    Dense(Mlp),
    /// A mixture of experts.
    Experts(Moe),
}

impl Layer {
    /// The matrices that every token is multiplied by. Routed experts and the router are separate.
    #[must_use]
    pub(crate) fn projections(&self, hidden: u64) -> Vec<Projection> {
        let mut projections = match &self.mixer {
            Mixer::None => Vec::new(),
            Mixer::Grouped(attention) => attention.projections(hidden),
            Mixer::Latent(attention) => attention.projections(hidden),
            Mixer::Recurrent(recurrent) => recurrent.projections(hidden),
        };
        projections.extend(match &self.feed_forward {
            FeedForward::None => Vec::new(),
            FeedForward::Dense(mlp) => mlp.projections(hidden),
            FeedForward::Experts(moe) => moe.shared_projections(hidden),
        });
        if self.layer_input > 0 {
            projections.extend(self.layer_input_projections(hidden));
        }
        projections
    }

    /// Projections that derive a layer's own input from the token embedding, gate it and project it back.
    fn layer_input_projections(&self, hidden: u64) -> [Projection; 3] {
        let replicated =
            |module, inputs, outputs| Projection::new(module, inputs, outputs, Split::Replicated);
        [
            replicated("per_layer_model_projection", hidden, self.layer_input),
            replicated("per_layer_input_gate", hidden, self.layer_input),
            replicated("per_layer_projection", self.layer_input, hidden),
        ]
    }

    /// Parameters outside matrices: norms, convolutions, sinks, router vectors.
    #[must_use]
    pub(crate) fn small_params(&self, hidden: u64) -> u64 {
        let mixer = match &self.mixer {
            Mixer::None => 0,
            Mixer::Grouped(attention) => attention.extra_params,
            Mixer::Latent(attention) => attention.extra_params(),
            Mixer::Recurrent(recurrent) => recurrent.extra_params(),
        };
        self.norm_params + mixer + self.moe().map_or(0, |moe| moe.extra_params(hidden))
    }

    /// The mixture of experts, if the layer has one.
    #[must_use]
    pub const fn moe(&self) -> Option<&Moe> {
        match &self.feed_forward {
            FeedForward::Experts(moe) => Some(moe),
            FeedForward::None | FeedForward::Dense(_) => None,
        }
    }

    /// All-reduces under tensor parallelism: one after each block.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        u32::from(self.mixer != Mixer::None) + u32::from(self.feed_forward != FeedForward::None)
    }

    /// Parameters with only `experts` of the routed experts counted.
    fn params_with(&self, hidden: u64, experts: impl Fn(&Moe) -> u64) -> u64 {
        let routed = self.moe().map(|moe| {
            let experts = experts(moe).saturating_mul(moe.params_per_expert());
            experts.saturating_add(moe.router_weights(hidden))
        });
        let projections = self.projections(hidden);
        let matrices = projections.iter().map(Projection::params);
        sum(matrices.chain(routed).chain([self.small_params(hidden)]))
    }
}

impl ModelSpec {
    /// Parses the text of a `config.json`.
    ///
    /// # Errors
    /// When it is not JSON, lacks a field, or describes a model that does not decode token by token.
    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        Self::from_config(&config::parse_lenient(text)?)
    }

    /// Reads a parsed `config.json`.
    ///
    /// # Errors
    /// When it lacks a field, or describes a model that does not decode token by token.
    pub fn from_config(config: &Value) -> Result<Self, ModelError> {
        let fields = ConfigFields::of(config)?;
        let (family, mut not_modelled) = ModelFamily::of(&fields)?;
        let fields = fields.with_defaults(family.defaults);
        let hidden_size = fields.need(&["hidden_size", "n_embd", "d_model", "n_embed"])?;
        let vocab_size = fields.need(&["vocab_size"])?;
        let layers = layers::read(&fields, &family, hidden_size)?;
        if fields.is_nested() {
            not_modelled
                .push("vision and audio encoders: only the text part is counted".to_owned());
        }
        let model = Self {
            architecture: fields.architecture(),
            hidden_size,
            vocab_size,
            embedding_width: fields
                .count(&["word_embed_proj_dim"])
                .unwrap_or(hidden_size),
            tied_head: ["tie_word_embeddings", "tie_embedding"]
                .iter()
                .find_map(|name| fields.flag(name))
                .unwrap_or(family.tied_head),
            outer_params: family.outer_params(&fields, hidden_size, vocab_size)?,
            layer_embedding_params: layers.iter().map(|layer| layer.layer_input).sum::<u64>()
                * fields
                    .count(&["vocab_size_per_layer_input"])
                    .unwrap_or(vocab_size),
            layers,
            dtype: ["torch_dtype", "dtype"]
                .iter()
                .find_map(|name| Precision::from_torch_name(fields.string(name)?)),
            state_dtype: ["mamba_ssm_cache_dtype", "mamba_ssm_dtype"]
                .iter()
                .find_map(|name| Precision::from_torch_name(fields.string(name)?))
                .or(family.state_dtype),
            max_position_embeddings: fields.stated(&[
                "max_position_embeddings",
                "model_max_length",
                "n_positions",
                "max_seq_len",
                "seq_length",
            ]),
            quantization_config: ["quantization_config", "compression_config"]
                .iter()
                .find_map(|name| fields.value(name))
                .cloned(),
            has_encoders: fields.is_nested(),
            not_modelled,
        };
        match model.total_params() {
            0..=MOST_PARAMS => Ok(model),
            _ => Err(fields.bad("sizes", "make more parameters than any model has")),
        }
    }

    /// Elements of the embedding table.
    #[must_use]
    pub(crate) const fn embedding_params(&self) -> u64 {
        self.vocab_size * self.embedding_width
    }

    /// All parameters of the text part.
    #[must_use]
    pub fn total_params(&self) -> u64 {
        self.params_with(|moe| moe.experts)
    }

    /// Parameters that one token uses, the input embedding included.
    #[must_use]
    pub fn active_params(&self) -> u64 {
        self.params_with(|moe| moe.top_k)
    }

    /// The same without the input embedding, which is a gather; a tied table stays, as the head.
    #[must_use]
    pub fn active_params_excluding_input_embedding(&self) -> u64 {
        let gathered = if self.tied_head {
            0
        } else {
            self.embedding_params()
        };
        self.active_params() - gathered - self.layer_embedding_params
    }

    fn params_with(&self, experts: impl Fn(&Moe) -> u64) -> u64 {
        let tables = if self.tied_head { 1 } else { 2 };
        let layers = self.layers.iter();
        let layers = layers.map(|layer| layer.params_with(self.hidden_size, &experts));
        let rest = [
            tables * self.embedding_params(),
            self.layer_embedding_params,
            self.outer_params,
        ];
        sum(layers.chain(rest))
    }
}

/// The sum of `counts`, saturating.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests;
