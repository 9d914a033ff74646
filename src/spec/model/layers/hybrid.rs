//! Layers of hybrids: where a recurrence takes the place of attention.

use super::{Reader, at};
use crate::spec::model::config::ModelError;
use crate::spec::model::{FeedForward, Mixer, Recurrent};

impl Reader<'_> {
    pub(super) fn is_linear_attention(&self, index: u64) -> bool {
        let interval = self
            .fields
            .count(&["full_attention_interval"])
            .unwrap_or(4)
            .max(1);
        self.layer_type(index)
            .map_or(!(index + 1).is_multiple_of(interval), |kind| {
                kind == "linear_attention"
            })
    }

    pub(super) fn gated_delta(&self) -> Result<Mixer, ModelError> {
        Ok(Mixer::Recurrent(Recurrent::GatedDelta {
            key_heads: self.fields.need(&["linear_num_key_heads"])?,
            value_heads: self.fields.need(&["linear_num_value_heads"])?,
            key_dim: self.fields.need(&["linear_key_head_dim"])?,
            value_dim: self.fields.need(&["linear_value_head_dim"])?,
            conv: self.fields.need(&["linear_conv_kernel_dim"])?,
        }))
    }

    /// Nemotron-H: one block per layer, by the letters `M`, `E`, `*`, `-` or the words for them.
    pub(super) fn nemotron_block(&self, index: u64) -> Result<(Mixer, FeedForward), ModelError> {
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

    pub(super) fn mamba2(&self) -> Result<Mixer, ModelError> {
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

    pub(super) fn jamba_layer(&self, index: u64) -> Result<(Mixer, FeedForward), ModelError> {
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

    pub(super) fn mamba1(&self) -> Result<Mixer, ModelError> {
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
