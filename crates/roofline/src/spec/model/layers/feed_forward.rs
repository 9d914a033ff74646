//! Dense MLPs and mixtures of experts: which layer has which, and their widths.

use serde_json::Value;

use super::{LayerReader, at};
use crate::spec::model::config::{LARGEST, ModelError};
use crate::spec::model::family::{AttentionRule, RecurrenceKind, WindowRule};
use crate::spec::model::{FeedForward, Mlp, Moe};

impl LayerReader<'_> {
    pub(super) fn feed_forward(&self, index: u64) -> Result<FeedForward, ModelError> {
        if self.expert_count().is_some() && self.has_experts(index) {
            self.moe().map(FeedForward::Experts)
        } else {
            let mlp = self.mlp()?;
            let factor = if self.is_double_wide(index) { 2 } else { 1 };
            Ok(FeedForward::Dense(Mlp {
                width: factor * mlp.width,
                ..mlp
            }))
        }
    }

    /// Gemma 4's layers without their own cache may have a wider MLP.
    fn is_double_wide(&self, index: u64) -> bool {
        let sharing = self.fields.count(&["num_kv_shared_layers"]).unwrap_or(0);
        sharing > 0
            && index + sharing >= self.count
            && self.fields.flag("use_double_wide_mlp") == Some(true)
    }

    pub(super) fn expert_count(&self) -> Option<u64> {
        self.fields
            .count(&[
                "n_routed_experts",
                "num_local_experts",
                "num_experts",
                "moe_num_experts",
            ])
            .filter(|experts| *experts > 1)
    }

    /// Whether layer `index` has experts, by whichever rule the file uses.
    pub(super) fn has_experts(&self, index: u64) -> bool {
        let fields = self.fields;
        if let Some(kinds) = fields.strings("mlp_layer_types") {
            return at(&kinds, index).is_some_and(|kind| *kind == "sparse");
        }
        if fields.flag("enable_moe_block") == Some(false) {
            return false;
        }
        if self.family.attention_rule == AttentionRule::Period {
            return self.at_period(index, "expert_layer_period", "expert_layer_offset", (2, 1));
        }
        if index < self.first_layer_with_experts() {
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
        index.is_multiple_of(step("moe_layer_freq"))
            && (index + 1).is_multiple_of(step("decoder_sparse_step"))
            && (index + 1).is_multiple_of(step("interleave_moe_layer_step"))
            && (index + 1).is_multiple_of(step("moe_layer_interval"))
    }

    fn first_layer_with_experts(&self) -> u64 {
        let names = [
            "first_k_dense_replace",
            "moe_layer_start_index",
            "num_dense_layers",
        ];
        self.fields.count(&names).unwrap_or(0)
    }

    pub(super) fn mlp(&self) -> Result<Mlp, ModelError> {
        let names = &[
            "intermediate_size_mlp",
            "intermediate_size",
            "block_ff_dim",
            "n_inner",
            "ffn_dim",
            "ffn_hidden_size",
        ];
        let width = match self.fields.count(names) {
            None if !self.family.gated => 4 * self.hidden,
            _ => self.fields.need(names)?,
        };
        Ok(Mlp {
            width: self.adjusted(width),
            gated: self.family.gated,
            bias: self.family.mlp_bias.holds(self.fields),
        })
    }

    /// LFM2 states a width of which it uses two thirds, rounded up.
    fn adjusted(&self, width: u64) -> u64 {
        let adjusts = self.family.recurrence == Some(RecurrenceKind::ShortConv)
            && self.expert_count().is_none()
            && self.fields.flag("block_auto_adjust_ff_dim").unwrap_or(true);
        if !adjusts {
            return width;
        }
        let step = self.fields.count(&["block_multiple_of"]).unwrap_or(256);
        let factor = self.fields.value("block_ffn_dim_multiplier");
        let factor = factor.and_then(Value::as_f64).unwrap_or(1.0);
        scaled(2 * width / 3, factor).next_multiple_of(step.max(1))
    }

    pub(super) fn moe(&self) -> Result<Moe, ModelError> {
        let fields = self.fields;
        let expert_width = fields.need(&[
            "moe_intermediate_size",
            "expert_intermediate_size",
            "expert_ffn_hidden_size",
            "intermediate_size",
            "ffn_hidden_size",
        ])?;
        let top_k = &[
            "num_experts_per_tok",
            "experts_per_token",
            "num_experts_per_token",
            "moe_k",
            "moe_topk",
            "moe_top_k",
            "top_k_experts",
        ];
        let (experts, chosen) = (self.expert_count().unwrap_or(1), fields.need(top_k)?);
        if chosen > experts {
            let problem = format!("({chosen}) is more than the {experts} experts there are");
            return Err(fields.bad(top_k[0], problem));
        }
        Ok(Moe {
            experts,
            top_k: chosen,
            expert_width,
            expert_inputs: fields.count(&["moe_latent_size"]).unwrap_or(self.hidden),
            gated: self.family.gated,
            expert_bias: self.family.expert_bias,
            router_vectors: self.family.router_vectors,
            shared_width: self.shared_width(expert_width),
            shared_gate: self.family.shared_gate,
        })
    }

    /// Total width of the shared experts: the MLP beside Gemma 4's experts, a stated width, or the number of shared experts times the
    /// expert width; Llama 4 always has one.
    pub(super) fn shared_width(&self, expert_width: u64) -> u64 {
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
            "share_expert_dim",
        ]);
        if self.fields.flag("enable_moe_block") == Some(true) {
            return self.fields.count(&["intermediate_size"]).unwrap_or(0);
        }
        let implied = u64::from(self.family.windows == WindowRule::Chunked);
        stated
            .map(|width| width * shared.unwrap_or(1))
            .unwrap_or_else(|| expert_width * shared.unwrap_or(implied))
    }
}

/// `width` times `factor`, rounded down, capped at the limit.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a width of some thousands"
)]
fn scaled(width: u64, factor: f64) -> u64 {
    ((width as f64 * factor).max(0.0) as u64).min(LARGEST)
}
