//! Reads the list of layers: which mixer and which feed-forward block stands where.

mod feed_forward;
mod hybrid;

use super::config::{Fields, ModelError};
use super::family::{Family, QueryKeyNorm, Skeleton, WindowRule};
use super::{GroupedAttention, LatentAttention, Layer, Mixer, Span};
use crate::spec::to_f64;

/// All layers of the model, in order.
pub(super) fn read(
    fields: &Fields<'_>,
    family: &Family,
    hidden: u64,
) -> Result<Vec<Layer>, ModelError> {
    let reader = Reader {
        fields,
        family,
        hidden,
        count: layer_count(fields)?,
    };
    (0..reader.count).map(|index| reader.layer(index)).collect()
}

fn layer_count(fields: &Fields<'_>) -> Result<u64, ModelError> {
    let names = &["num_hidden_layers", "n_layer", "num_layers", "n_layers"];
    let by_pattern = fields
        .string("hybrid_override_pattern")
        .and_then(|pattern| u64::try_from(pattern.len()).ok());
    match (fields.count(names), by_pattern) {
        (None, Some(length)) => Ok(length),
        _ => fields.need(names),
    }
}

struct Reader<'a> {
    fields: &'a Fields<'a>,
    family: &'a Family,
    hidden: u64,
    count: u64,
}

impl Reader<'_> {
    fn layer(&self, index: u64) -> Result<Layer, ModelError> {
        let (mixer, feed_forward) = match self.family.skeleton {
            Skeleton::Attention => (self.attention(index)?, self.feed_forward(index)?),
            Skeleton::GatedDelta => {
                let mixer = if self.is_linear_attention(index) {
                    self.gated_delta()?
                } else {
                    self.attention(index)?
                };
                (mixer, self.feed_forward(index)?)
            }
            Skeleton::NemotronH => self.nemotron_block(index)?,
            Skeleton::Jamba => self.jamba_layer(index)?,
        };
        Ok(Layer {
            mixer,
            feed_forward,
            norm_params: self.family.norms * self.family.norm_parts * self.hidden,
        })
    }

    fn attention(&self, index: u64) -> Result<Mixer, ModelError> {
        match self.fields.count(&["kv_lora_rank"]) {
            Some(kv_rank) => self.latent(kv_rank).map(Mixer::Latent),
            None => self.grouped(index).map(Mixer::Grouped),
        }
    }

    fn latent(&self, kv_rank: u64) -> Result<LatentAttention, ModelError> {
        Ok(LatentAttention {
            heads: self.fields.need(&["num_attention_heads"])?,
            query_rank: self.fields.count(&["q_lora_rank"]).filter(|rank| *rank > 0),
            kv_rank,
            nope_dim: self.fields.need(&["qk_nope_head_dim"])?,
            rope_dim: self.fields.need(&["qk_rope_head_dim"])?,
            value_dim: self.fields.need(&["v_head_dim"])?,
        })
    }

    fn grouped(&self, index: u64) -> Result<GroupedAttention, ModelError> {
        let fields = self.fields;
        let query_heads = fields.need(&["num_attention_heads", "n_head", "n_heads"])?;
        let kv_heads = self.kv_heads(query_heads);
        let head_dim = match fields
            .count(&["head_dim", "attention_head_dim"])
            .filter(|dim| *dim > 0)
        {
            Some(head_dim) => head_dim,
            None => self.hidden / query_heads,
        };
        if kv_heads == 0 || query_heads % kv_heads != 0 {
            return Err(fields.bad(
                "num_key_value_heads",
                format!("({kv_heads}) does not divide the {query_heads} query heads"),
            ));
        }
        let norms = match self.family.query_key_norm {
            QueryKeyNorm::None => 0,
            QueryKeyNorm::PerHead => 2 * head_dim,
            QueryKeyNorm::PerProjection => (query_heads + kv_heads) * head_dim,
        };
        Ok(GroupedAttention {
            query_heads,
            kv_heads,
            head_dim,
            span: self.span(index),
            qkv_bias: self.family.qkv_bias.holds(fields),
            output_bias: self.family.output_bias.holds(fields),
            output_gate: self.family.output_gate && fields.flag("attn_output_gate").unwrap_or(true),
            keys_as_values: false,
            extra_params: norms + if self.family.sinks { query_heads } else { 0 },
        })
    }

    /// Falcon's classic decoder has one KV head, or as many as query heads; others name the number.
    fn kv_heads(&self, query_heads: u64) -> u64 {
        let named = self.fields.count(&[
            "num_key_value_heads",
            "num_kv_heads",
            "n_head_kv",
            "multi_query_group_num",
        ]);
        let multi_query = self.fields.flag("multi_query") == Some(true)
            && self.fields.flag("new_decoder_architecture") != Some(true);
        if multi_query {
            1
        } else {
            named.unwrap_or(query_heads)
        }
    }

    /// How far layer `index` looks back: by the list of layer types, else by the family's rule.
    fn span(&self, index: u64) -> Span {
        let fields = self.fields;
        let window = fields
            .count(&["sliding_window"])
            .filter(|tokens| *tokens > 0);
        let chunk = fields
            .count(&["attention_chunk_size"])
            .filter(|tokens| *tokens > 0);
        let windowed = || window.map_or(Span::Full, |tokens| Span::Window(to_f64(tokens)));
        let chunked = || chunk.map_or(Span::Full, |tokens| Span::Chunk(to_f64(tokens)));
        if fields.flag("use_sliding_window") == Some(false) {
            return Span::Full;
        }
        match self.layer_type(index) {
            Some("sliding_attention") => return windowed(),
            Some("chunked_attention") => return chunked(),
            Some(_) => return Span::Full,
            None => {}
        }
        match self.family.windows {
            WindowRule::All => windowed(),
            WindowRule::Even if index.is_multiple_of(2) => windowed(),
            WindowRule::Pattern if self.is_local_by_pattern(index) => windowed(),
            WindowRule::FromMaxWindowLayers if self.is_past_full_layers(index) => windowed(),
            WindowRule::Chunked if self.has_rotary_positions(index) => chunked(),
            _ => Span::Full,
        }
    }

    fn is_local_by_pattern(&self, index: u64) -> bool {
        let pattern = self
            .fields
            .count(&["sliding_window_pattern"])
            .filter(|period| *period > 0);
        pattern.is_some_and(|period| !(index + 1).is_multiple_of(period))
    }

    fn is_past_full_layers(&self, index: u64) -> bool {
        self.fields.flag("use_sliding_window") == Some(true)
            && index >= self.fields.count(&["max_window_layers"]).unwrap_or(0)
    }

    /// Llama 4: layers with rotary positions attend in chunks, every fourth has none and attends to all.
    fn has_rotary_positions(&self, index: u64) -> bool {
        let listed = self
            .fields
            .counts("no_rope_layers")
            .filter(|list| !list.is_empty());
        let interval = self.fields.count(&["no_rope_layer_interval"]).unwrap_or(4);
        match listed {
            Some(list) => at(&list, index).is_some_and(|rotary| *rotary == 1),
            None => !(index + 1).is_multiple_of(interval),
        }
    }

    fn layer_type(&self, index: u64) -> Option<&str> {
        let types = self.fields.strings("layer_types")?;
        at(&types, index).copied()
    }
}

fn at<T>(list: &[T], index: u64) -> Option<&T> {
    list.get(usize::try_from(index).ok()?)
}
