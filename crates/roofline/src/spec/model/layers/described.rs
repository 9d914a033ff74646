//! Nemotron's pruned Llamas: layers described by `block_configs`.

use serde_json::Value;

use super::{LayerReader, at};
use crate::spec::model::config::{LARGEST, ModelError};
use crate::spec::model::{AttentionSpan, FeedForward, GroupedAttention, KvSource, Mixer, Mlp};

/// Intermediate widths are rounded up to a multiple of this.
const WIDTH_STEP: u64 = 256;

impl LayerReader<'_> {
    pub(super) fn described(&self, index: u64) -> Result<(Mixer, FeedForward), ModelError> {
        let blocks = self.fields.list("block_configs").unwrap_or_default();
        let block = at(blocks, index).ok_or_else(|| {
            self.fields
                .bad("block_configs", format!("says nothing of layer {index}"))
        })?;
        let part = |name: &str| block.get(name).unwrap_or(&Value::Null);
        Ok((
            self.described_attention(part("attention"))?,
            self.described_mlp(part("ffn"))?,
        ))
    }

    fn described_attention(&self, block: &Value) -> Result<Mixer, ModelError> {
        self.refuse_linear(block)?;
        if is_true(block, "no_op") {
            return Ok(Mixer::None);
        }
        let query_heads = self.fields.need(&["num_attention_heads"])?;
        let group = block.get("n_heads_in_group").and_then(Value::as_u64);
        let head_dim = self.hidden / query_heads;
        Ok(Mixer::Grouped(GroupedAttention {
            query_heads,
            kv_heads: query_heads / group.unwrap_or(1).clamp(1, query_heads),
            head_dim,
            value_dim: head_dim,
            span: AttentionSpan::Full,
            qkv_bias: false,
            output_bias: false,
            gate_width: 0,
            kv_source: KvSource::Projections,
            extra_params: 0,
        }))
    }

    fn described_mlp(&self, block: &Value) -> Result<FeedForward, ModelError> {
        self.refuse_linear(block)?;
        if is_true(block, "no_op") {
            return Ok(FeedForward::None);
        }
        let stated = block.get("intermediate_size").and_then(Value::as_u64);
        let multiple = block.get("ffn_mult").and_then(Value::as_f64);
        let width = stated.or_else(|| multiple.map(|multiple| self.width_of(multiple)));
        let width = width.ok_or_else(|| {
            self.fields
                .bad("block_configs", "has an ffn without ffn_mult")
        })?;
        Ok(FeedForward::Dense(Mlp {
            width,
            gated: true,
            bias: false,
        }))
    }

    /// Two thirds of `multiple` times the hidden size, rounded up.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a width of some thousands"
    )]
    fn width_of(&self, multiple: f64) -> u64 {
        let width = (2.0 * multiple * self.hidden as f64 / 3.0).max(0.0) as u64;
        width.min(LARGEST).next_multiple_of(WIDTH_STEP)
    }

    fn refuse_linear(&self, block: &Value) -> Result<(), ModelError> {
        if is_true(block, "replace_with_linear") {
            return Err(self.fields.bad(
                "block_configs",
                "replaces a block with a linear layer, which is not modelled",
            ));
        }
        Ok(())
    }
}

fn is_true(block: &Value, name: &str) -> bool {
    block.get(name).and_then(Value::as_bool) == Some(true)
}
