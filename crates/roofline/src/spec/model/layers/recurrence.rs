//! Recurrent layers, and the attention layers among them.

use super::LayerReader;
use crate::spec::model::config::ModelError;
use crate::spec::model::family::{AttentionRule, RecurrenceKind, Skeleton};
use crate::spec::model::{Mixer, Recurrent};

impl LayerReader<'_> {
    /// Whether layer `index` uses attention: from the list of layer types, otherwise by the family's rule.
    pub(super) fn attends(&self, index: u64) -> bool {
        if self.family.recurrence.is_none() {
            return true;
        }
        if self.family.skeleton == Skeleton::RecurrenceOnly {
            return false;
        }
        if let Some(kind) = self.layer_type(index) {
            return kind.contains("attention") && kind != "linear_attention";
        }
        match self.family.attention_rule {
            AttentionRule::Never => false,
            AttentionRule::EveryNth => {
                let interval = self.fields.count(&["full_attention_interval"]);
                (index + 1).is_multiple_of(interval.unwrap_or(4).max(1))
            }
            AttentionRule::Period => {
                self.at_period(index, "attn_layer_period", "attn_layer_offset", (8, 4))
            }
            AttentionRule::Listed(name) => {
                let listed = self.fields.counts(name);
                listed.is_some_and(|listed| listed.contains(&index))
            }
            AttentionRule::KimiList => {
                let part = self.fields.inside("linear_attn_config");
                let listed = part.and_then(|part| part.counts("full_attn_layers"));
                match listed {
                    Some(listed) => listed.contains(&(index + 1)),
                    None => index > 0 && index.is_multiple_of(4),
                }
            }
        }
    }

    /// Whether `index` is at the offset of its period (Jamba).
    pub(super) fn at_period(
        &self,
        index: u64,
        period: &str,
        offset: &str,
        (default_period, default_offset): (u64, u64),
    ) -> bool {
        let period = self
            .fields
            .count(&[period])
            .unwrap_or(default_period)
            .max(1);
        index % period == self.fields.count(&[offset]).unwrap_or(default_offset)
    }

    /// The model's recurrence.
    pub(super) fn recurrence(&self) -> Result<Mixer, ModelError> {
        let kind = self.family.recurrence.unwrap_or(RecurrenceKind::Mamba2);
        let recurrent = match kind {
            RecurrenceKind::GatedDelta => self.gated_delta(),
            RecurrenceKind::KimiDelta => Ok(self.kimi_delta()),
            RecurrenceKind::Mamba1 => self.mamba1(),
            RecurrenceKind::Mamba2 => self.mamba2(),
            RecurrenceKind::ShortConv => Ok(self.short_conv()),
        };
        recurrent.map(Mixer::Recurrent)
    }

    fn gated_delta(&self) -> Result<Recurrent, ModelError> {
        Ok(Recurrent::GatedDelta {
            key_heads: self.fields.need(&["linear_num_key_heads"])?,
            value_heads: self.fields.need(&["linear_num_value_heads"])?,
            key_dim: self.fields.need(&["linear_key_head_dim"])?,
            value_dim: self.fields.need(&["linear_value_head_dim"])?,
            conv: self.fields.need(&["linear_conv_kernel_dim"])?,
        })
    }

    /// Checkpoints keep these fields in `linear_attn_config`.
    fn kimi_delta(&self) -> Recurrent {
        let part = self.fields.inside("linear_attn_config");
        let field = |inside: &str, outside: &str, default| {
            part.and_then(|part| part.count(&[inside]))
                .or_else(|| self.fields.count(&[outside]))
                .unwrap_or(default)
        };
        Recurrent::KimiDelta {
            heads: field("num_heads", "linear_num_heads", 32),
            dim: field("head_dim", "linear_head_dim", 128),
            conv: field("short_conv_kernel_size", "linear_conv_kernel_dim", 4),
        }
    }

    pub(super) fn mamba2(&self) -> Result<Recurrent, ModelError> {
        let fields = self.fields;
        let heads = fields.need(&[
            "mamba_num_heads",
            "mamba_n_heads",
            "n_mamba_heads",
            "num_heads",
        ])?;
        let head_dim = match fields.count(&["mamba_head_dim", "mamba_d_head"]) {
            Some(head_dim) => head_dim,
            None => match fields.count(&["mamba_d_ssm"]) {
                Some(inner) => inner / heads,
                None => fields.need(&["mamba_expand", "expand"])? * self.hidden / heads,
            },
        };
        Ok(Recurrent::Mamba2 {
            heads,
            head_dim,
            state: fields.need(&["ssm_state_size", "mamba_d_state", "state_size"])?,
            groups: fields.need(&["n_groups", "mamba_n_groups", "mamba_ngroups"])?,
            conv: fields.need(&["conv_kernel", "mamba_d_conv"])?,
            chunk: fields
                .count(&["mamba_chunk_size", "chunk_size"])
                .filter(|chunk| *chunk > 0)
                .unwrap_or(256),
            bias: fields.flag("use_bias").unwrap_or(false)
                || fields.flag("mamba_proj_bias").unwrap_or(false),
            norm: fields
                .flag("mamba_rms_norm")
                .unwrap_or(self.family.skeleton != Skeleton::Parallel),
        })
    }

    fn mamba1(&self) -> Result<Recurrent, ModelError> {
        let fields = self.fields;
        Ok(Recurrent::Mamba1 {
            inner: fields.need(&["mamba_expand", "expand"])? * self.hidden,
            state: fields.need(&["mamba_d_state", "state_size"])?,
            time_step_rank: fields
                .count(&["mamba_dt_rank", "time_step_rank"])
                .unwrap_or(self.hidden.div_ceil(16)),
            conv: fields.need(&["mamba_d_conv", "conv_kernel"])?,
            inner_norms: self.family.skeleton == Skeleton::Sequential,
        })
    }

    fn short_conv(&self) -> Recurrent {
        Recurrent::ShortConv {
            channels: self.fields.count(&["conv_dim"]).unwrap_or(self.hidden),
            conv: self.fields.count(&["conv_L_cache"]).unwrap_or(3),
        }
    }
}
