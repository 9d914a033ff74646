//! Reads the list of layers: which mixer and which feed-forward block stands where.

use super::config::{Fields, ModelError};
use super::family::{Family, QueryKeyNorm, Skeleton, WindowRule};
use super::{
    FeedForward, GroupedAttention, LatentAttention, Layer, Mixer, Mlp, Moe, Recurrent, Span,
};

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
            WindowRule::Even if index % 2 == 0 => windowed(),
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
        pattern.is_some_and(|period| (index + 1) % period != 0)
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
            None => (index + 1) % interval != 0,
        }
    }

    fn layer_type(&self, index: u64) -> Option<&str> {
        let types = self.fields.strings("layer_types")?;
        at(&types, index).copied()
    }

    fn is_linear_attention(&self, index: u64) -> bool {
        let interval = self
            .fields
            .count(&["full_attention_interval"])
            .unwrap_or(4)
            .max(1);
        self.layer_type(index)
            .map_or((index + 1) % interval != 0, |kind| {
                kind == "linear_attention"
            })
    }

    fn gated_delta(&self) -> Result<Mixer, ModelError> {
        Ok(Mixer::Recurrent(Recurrent::GatedDelta {
            key_heads: self.fields.need(&["linear_num_key_heads"])?,
            value_heads: self.fields.need(&["linear_num_value_heads"])?,
            key_dim: self.fields.need(&["linear_key_head_dim"])?,
            value_dim: self.fields.need(&["linear_value_head_dim"])?,
            conv: self.fields.need(&["linear_conv_kernel_dim"])?,
        }))
    }

    fn feed_forward(&self, index: u64) -> Result<FeedForward, ModelError> {
        if self.expert_count().is_some() && self.has_experts(index) {
            self.moe().map(FeedForward::Experts)
        } else {
            self.mlp().map(FeedForward::Dense)
        }
    }

    fn expert_count(&self) -> Option<u64> {
        self.fields
            .count(&[
                "n_routed_experts",
                "num_local_experts",
                "num_experts",
                "moe_num_experts",
            ])
            .filter(|experts| *experts > 1)
    }

    /// Whether layer `index` holds experts, by whichever rule the file states.
    fn has_experts(&self, index: u64) -> bool {
        let fields = self.fields;
        if index
            < fields
                .count(&["first_k_dense_replace", "moe_layer_start_index"])
                .unwrap_or(0)
        {
            return false;
        }
        if fields
            .counts("mlp_only_layers")
            .is_some_and(|dense| dense.contains(&index))
        {
            return false;
        }
        if let Some(listed) = fields.counts("moe_layers").filter(|list| !list.is_empty()) {
            return listed.contains(&index);
        }
        if let Some(flags) = fields.counts("moe_layer_freq") {
            return at(&flags, index).is_some_and(|flag| *flag != 0);
        }
        let step = |name| fields.count(&[name]).unwrap_or(1).max(1);
        index % step("moe_layer_freq") == 0
            && (index + 1) % step("decoder_sparse_step") == 0
            && (index + 1) % step("interleave_moe_layer_step") == 0
    }

    fn mlp(&self) -> Result<Mlp, ModelError> {
        let names = &[
            "intermediate_size_mlp",
            "intermediate_size",
            "n_inner",
            "ffn_dim",
            "ffn_hidden_size",
        ];
        let width = match self.fields.count(names) {
            None if !self.family.gated => 4 * self.hidden,
            _ => self.fields.need(names)?,
        };
        Ok(Mlp {
            width,
            gated: self.family.gated,
            bias: self.family.mlp_bias.holds(self.fields),
        })
    }

    fn moe(&self) -> Result<Moe, ModelError> {
        let fields = self.fields;
        let expert_width = fields.need(&[
            "moe_intermediate_size",
            "expert_intermediate_size",
            "intermediate_size",
        ])?;
        Ok(Moe {
            experts: self.expert_count().unwrap_or(1),
            top_k: fields.need(&[
                "num_experts_per_tok",
                "experts_per_token",
                "num_experts_per_token",
                "moe_k",
                "moe_topk",
                "top_k_experts",
            ])?,
            expert_width,
            expert_inputs: fields.count(&["moe_latent_size"]).unwrap_or(self.hidden),
            gated: self.family.gated,
            expert_bias: self.family.expert_bias,
            router_vectors: self.family.router_vectors,
            shared_width: self.shared_width(expert_width),
            shared_gate: self.family.shared_gate,
        })
    }

    /// Total width of the shared experts: stated, or as many expert widths as there are shared experts; Llama 4 always has one.
    fn shared_width(&self, expert_width: u64) -> u64 {
        let shared = self.fields.count(&[
            "n_shared_experts",
            "moe_num_shared_experts",
            "num_shared_experts",
            "num_shared_expert",
        ]);
        let stated = self.fields.count(&[
            "moe_shared_expert_intermediate_size",
            "shared_expert_intermediate_size",
            "shared_intermediate_size",
        ]);
        let implied = u64::from(self.family.windows == WindowRule::Chunked);
        stated
            .map(|width| width * shared.unwrap_or(1))
            .unwrap_or_else(|| expert_width * shared.unwrap_or(implied))
    }

    /// Nemotron-H: one block per layer, by the letters `M`, `E`, `*`, `-` or the words for them.
    fn nemotron_block(&self, index: u64) -> Result<(Mixer, FeedForward), ModelError> {
        let pattern = self
            .fields
            .string("hybrid_override_pattern")
            .map(str::as_bytes);
        let listed = self.fields.strings("layers_block_type");
        let letter = pattern
            .and_then(|letters| at(letters, index))
            .map(|letter| char::from(*letter));
        let word = listed.as_ref().and_then(|words| at(words, index)).copied();
        match (letter, word) {
            (Some('M'), _) | (None, Some("mamba")) => Ok((self.mamba2()?, FeedForward::None)),
            (Some('E'), _) | (None, Some("moe")) => {
                Ok((Mixer::None, FeedForward::Experts(self.moe()?)))
            }
            (Some('*'), _) | (None, Some("attention")) => {
                Ok((self.attention(index)?, FeedForward::None))
            }
            (Some('-'), _) | (None, Some("mlp")) => {
                Ok((Mixer::None, FeedForward::Dense(self.mlp()?)))
            }
            (None, None) => Err(self.fields.bad(
                "hybrid_override_pattern",
                format!("says nothing of layer {index} of {}", self.count),
            )),
            (Some(letter), _) => Err(self.fields.bad(
                "hybrid_override_pattern",
                format!("holds {letter:?}; M, E, * and - are known"),
            )),
            (None, Some(word)) => Err(self.fields.bad(
                "layers_block_type",
                format!("holds {word:?}; mamba, moe, attention and mlp are known"),
            )),
        }
    }

    fn mamba2(&self) -> Result<Mixer, ModelError> {
        Ok(Mixer::Recurrent(Recurrent::Mamba2 {
            heads: self.fields.need(&["mamba_num_heads"])?,
            head_dim: self.fields.need(&["mamba_head_dim"])?,
            state: self.fields.need(&["ssm_state_size", "mamba_d_state"])?,
            groups: self.fields.need(&["n_groups", "mamba_n_groups"])?,
            conv: self.fields.need(&["conv_kernel", "mamba_d_conv"])?,
            bias: self.fields.flag("use_bias").unwrap_or(false)
                || self.fields.flag("mamba_proj_bias").unwrap_or(false),
        }))
    }

    fn jamba_layer(&self, index: u64) -> Result<(Mixer, FeedForward), ModelError> {
        let at_period = |period, offset, default_period, default_offset| {
            let period = self
                .fields
                .count(&[period])
                .unwrap_or(default_period)
                .max(1);
            index % period == self.fields.count(&[offset]).unwrap_or(default_offset)
        };
        let mixer = if at_period("attn_layer_period", "attn_layer_offset", 8, 4) {
            self.attention(index)?
        } else {
            self.mamba1()?
        };
        let experts = at_period("expert_layer_period", "expert_layer_offset", 2, 1)
            && self.expert_count().is_some();
        let feed_forward = if experts {
            FeedForward::Experts(self.moe()?)
        } else {
            FeedForward::Dense(self.mlp()?)
        };
        Ok((mixer, feed_forward))
    }

    fn mamba1(&self) -> Result<Mixer, ModelError> {
        Ok(Mixer::Recurrent(Recurrent::Mamba1 {
            inner: self.fields.need(&["mamba_expand"])? * self.hidden,
            state: self.fields.need(&["mamba_d_state"])?,
            time_step_rank: self
                .fields
                .count(&["mamba_dt_rank"])
                .unwrap_or(self.hidden.div_ceil(16)),
            conv: self.fields.need(&["mamba_d_conv"])?,
            inner_norms: true,
        }))
    }
}

fn at<T>(list: &[T], index: u64) -> Option<&T> {
    list.get(usize::try_from(index).ok()?)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "token counts stay far below 2^53"
)]
const fn to_f64(count: u64) -> f64 {
    count as f64
}
