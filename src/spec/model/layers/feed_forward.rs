//! Dense MLPs and mixtures of experts: where each stands, and how wide it is.

use super::{Reader, at};
use crate::spec::model::config::ModelError;
use crate::spec::model::family::WindowRule;
use crate::spec::model::{FeedForward, Mlp, Moe};

impl Reader<'_> {
    pub(super) fn feed_forward(&self, index: u64) -> Result<FeedForward, ModelError> {
        if self.expert_count().is_some() && self.has_experts(index) {
            self.moe().map(FeedForward::Experts)
        } else {
            self.mlp().map(FeedForward::Dense)
        }
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

    /// Whether layer `index` holds experts, by whichever rule the file states.
    pub(super) fn has_experts(&self, index: u64) -> bool {
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
        index.is_multiple_of(step("moe_layer_freq"))
            && (index + 1).is_multiple_of(step("decoder_sparse_step"))
            && (index + 1).is_multiple_of(step("interleave_moe_layer_step"))
    }

    pub(super) fn mlp(&self) -> Result<Mlp, ModelError> {
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

    pub(super) fn moe(&self) -> Result<Moe, ModelError> {
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
        ]);
        let implied = u64::from(self.family.windows == WindowRule::Chunked);
        stated
            .map(|width| width * shared.unwrap_or(1))
            .unwrap_or_else(|| expert_width * shared.unwrap_or(implied))
    }
}
