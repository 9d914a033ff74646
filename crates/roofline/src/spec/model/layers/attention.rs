//! Attention layers: heads, widths, and attention spans.

use super::{LayerReader, at};
use crate::spec::model::config::ModelError;
use crate::spec::model::family::{Gate, QueryKeyNorm, Sinks, WindowRule};
use crate::spec::model::{
    AttentionSpan, GroupedAttention, Indexer, KvSource, LatentAttention, Mixer,
};
use crate::spec::{to_f64, to_u64};

/// Widths of the heads of a layer, and the number of KV heads.
#[derive(Clone, Copy)]
struct Shape {
    head_dim: u64,
    value_dim: u64,
    kv_heads: u64,
}

impl LayerReader<'_> {
    pub(super) fn attention(&self, index: u64) -> Result<Mixer, ModelError> {
        match self.fields.count(&["kv_lora_rank"]) {
            Some(kv_rank) => self.latent(index, kv_rank).map(Mixer::Latent),
            None => self.grouped(index).map(Mixer::Grouped),
        }
    }

    fn latent(&self, index: u64, kv_rank: u64) -> Result<LatentAttention, ModelError> {
        Ok(LatentAttention {
            heads: self.fields.need(&["num_attention_heads"])?,
            query_rank: self.fields.count(&["q_lora_rank"]).filter(|rank| *rank > 0),
            kv_rank,
            nope_dim: self.fields.need(&["qk_nope_head_dim"])?,
            rope_dim: self.fields.need(&["qk_rope_head_dim"])?,
            value_dim: self.fields.need(&["v_head_dim"])?,
            indexer: self.indexer(index)?,
        })
    }

    /// The indexer of DeepSeek's sparse attention; some layers reuse an earlier layer's selection.
    fn indexer(&self, index: u64) -> Result<Option<Indexer>, ModelError> {
        let Some(top_k) = self
            .fields
            .count(&["index_topk"])
            .filter(|top_k| *top_k > 0)
        else {
            return Ok(None);
        };
        let kinds = self.fields.strings("indexer_types");
        let shared = kinds.is_some_and(|kinds| at(&kinds, index) == Some(&"shared"));
        Ok(Some(Indexer {
            heads: self.fields.need(&["index_n_heads"])?,
            dim: self.fields.need(&["index_head_dim"])?,
            top_k,
            scores: !shared,
        }))
    }

    fn grouped(&self, index: u64) -> Result<GroupedAttention, ModelError> {
        let fields = self.fields;
        let span = self.span(index);
        let query_heads = match fields.counts("num_attention_heads_per_layer") {
            Some(per_layer) if !per_layer.is_empty() => at(&per_layer, index).copied(),
            _ => None,
        };
        let query_heads = match query_heads {
            Some(heads) => heads,
            None => fields.need(&["num_attention_heads", "n_head", "n_heads"])?,
        };
        if query_heads == 0 {
            return Err(fields.bad("num_attention_heads_per_layer", "must not hold zeros"));
        }
        let shape = self.shape(query_heads, span);
        let kv_heads = shape.kv_heads;
        if kv_heads == 0 || !query_heads.is_multiple_of(kv_heads) {
            return Err(fields.bad(
                "num_key_value_heads",
                format!("({kv_heads}) does not divide the {query_heads} query heads"),
            ));
        }
        let kv_source = self.kv_source(index, span);
        Ok(GroupedAttention {
            query_heads,
            kv_heads,
            head_dim: shape.head_dim,
            value_dim: shape.value_dim,
            span,
            qkv_bias: self.family.qkv_bias.holds(fields),
            output_bias: self.family.output_bias.holds(fields),
            gate_width: match self.family.gate {
                Gate::PerElement if fields.flag("attn_output_gate").unwrap_or(true) => {
                    query_heads * shape.head_dim
                }
                Gate::PerHead => query_heads,
                _ => 0,
            },
            kv_source,
            extra_params: self.norms(query_heads, shape, kv_source) + self.sinks(query_heads, span),
        })
    }

    /// Heads and widths; layers with or without a window may have their own.
    fn shape(&self, query_heads: u64, span: AttentionSpan) -> Shape {
        let fields = self.fields;
        let special: &[[&str; 3]] = match span {
            AttentionSpan::Window(_) => {
                &[["swa_head_dim", "swa_v_head_dim", "swa_num_key_value_heads"]]
            }
            _ => &[["global_head_dim", "", "num_global_key_value_heads"]],
        };
        let own = |position: usize| {
            special
                .iter()
                .find_map(|names| fields.count(&[names[position]]))
        };
        let head_dim = own(0)
            .or_else(|| {
                let stated = fields.count(&["head_dim", "attention_head_dim"]);
                stated.filter(|dim| *dim > 0)
            })
            .unwrap_or(self.hidden / query_heads);
        Shape {
            head_dim,
            value_dim: own(1)
                .or_else(|| fields.count(&["v_head_dim"]))
                .unwrap_or(head_dim),
            kv_heads: own(2)
                .filter(|_| fields.flag("attention_k_eq_v").unwrap_or(true))
                .unwrap_or_else(|| self.kv_heads(query_heads)),
        }
    }

    /// Gemma 4's last layers read the cache of earlier ones; its global layers may use keys as values.
    fn kv_source(&self, index: u64, span: AttentionSpan) -> KvSource {
        let sharing = self.fields.count(&["num_kv_shared_layers"]).unwrap_or(0);
        if sharing > 0 && index + sharing >= self.count {
            KvSource::EarlierLayer
        } else if span == AttentionSpan::Full && self.fields.flag("attention_k_eq_v") == Some(true)
        {
            KvSource::KeysAsValues
        } else {
            KvSource::Projections
        }
    }

    fn norms(&self, query_heads: u64, shape: Shape, kv_source: KvSource) -> u64 {
        match (self.family.query_key_norm, kv_source) {
            (QueryKeyNorm::None, _) => 0,
            (QueryKeyNorm::PerHead, KvSource::EarlierLayer) => shape.head_dim,
            (QueryKeyNorm::PerHead, _) => 2 * shape.head_dim,
            (QueryKeyNorm::PerProjection, _) => (query_heads + shape.kv_heads) * shape.head_dim,
        }
    }

    fn sinks(&self, query_heads: u64, span: AttentionSpan) -> u64 {
        let flag = self.fields.flag("add_swa_attention_sink_bias");
        match self.family.sinks {
            Sinks::All => query_heads,
            Sinks::Windowed if span != AttentionSpan::Full && flag.unwrap_or(true) => query_heads,
            _ => 0,
        }
    }

    /// Falcon's classic decoder has one KV head, or as many as query heads; others state the number.
    fn kv_heads(&self, query_heads: u64) -> u64 {
        let named = self.fields.count(&[
            "num_key_value_heads",
            "num_kv_heads",
            "n_head_kv",
            "kv_n_heads",
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

    /// The attention span of layer `index`: from the list of layer types, otherwise by the family's rule.
    fn span(&self, index: u64) -> AttentionSpan {
        let fields = self.fields;
        let window = fields
            .count(&["sliding_window"])
            .filter(|tokens| *tokens > 0);
        let chunk = fields
            .count(&["attention_chunk_size"])
            .filter(|tokens| *tokens > 0);
        let windowed = || {
            window.map_or(AttentionSpan::Full, |tokens| {
                AttentionSpan::Window(to_f64(tokens))
            })
        };
        let chunked = || {
            chunk.map_or(AttentionSpan::Full, |tokens| {
                AttentionSpan::Chunk(to_f64(tokens))
            })
        };
        if fields.flag("use_sliding_window") == Some(false) {
            return AttentionSpan::Full;
        }
        match self.layer_type(index) {
            Some("sliding_attention") => return windowed(),
            Some("chunked_attention") => return chunked(),
            Some(_) => return AttentionSpan::Full,
            None => {}
        }
        match self.family.windows {
            WindowRule::All => windowed(),
            WindowRule::Even if index.is_multiple_of(2) => windowed(),
            WindowRule::Pattern if self.is_local_by_pattern(index) => windowed(),
            WindowRule::FromMaxWindowLayers if self.is_past_full_layers(index) => windowed(),
            WindowRule::Marked if self.is_marked(index) => windowed(),
            WindowRule::Chunked if self.has_rotary_positions(index) => chunked(),
            _ => AttentionSpan::Full,
        }
    }

    fn is_local_by_pattern(&self, index: u64) -> bool {
        let names = ["sliding_window_pattern", "global_attn_every_n_layers"];
        let period = self.fields.count(&names).filter(|period| *period > 0);
        let letters = self
            .fields
            .string("sliding_window_pattern")
            .map(str::as_bytes);
        match letters.and_then(|letters| at(letters, index % to_u64(letters.len()).max(1))) {
            Some(letter) => *letter == b'L',
            None => period.is_some_and(|period| !(index + 1).is_multiple_of(period)),
        }
    }

    fn is_marked(&self, index: u64) -> bool {
        let marks = self.fields.counts("hybrid_layer_pattern");
        marks.is_some_and(|marks| at(&marks, index) == Some(&1))
    }

    fn is_past_full_layers(&self, index: u64) -> bool {
        self.fields.flag("use_sliding_window") == Some(true)
            && index >= self.fields.count(&["max_window_layers"]).unwrap_or(0)
    }

    /// Llama 4: layers with rotary positions attend in chunks; every fourth layer has none and attends to all tokens.
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
}
