//! Recurrent layers: gated delta net, Mamba-1 and Mamba-2. Their state has a constant size per sequence.

use super::projection::{Projection, Split};

/// A layer that carries a state from token to token instead of a cache that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recurrent {
    /// Gated delta net (Qwen3-Next, Qwen3.5).
    GatedDelta {
        /// Key (and query) heads.
        key_heads: u64,
        /// Value heads.
        value_heads: u64,
        /// Width of a key head.
        key_dim: u64,
        /// Width of a value head.
        value_dim: u64,
        /// Length of the causal convolution.
        conv: u64,
    },
    /// Mamba-2 (Nemotron-H).
    Mamba2 {
        /// Heads.
        heads: u64,
        /// Width of a head.
        head_dim: u64,
        /// State size per channel.
        state: u64,
        /// Groups that share their B and C.
        groups: u64,
        /// Length of the causal convolution.
        conv: u64,
        /// Bias on the projections.
        bias: bool,
    },
    /// Mamba-1 (Jamba).
    Mamba1 {
        /// Inner width.
        inner: u64,
        /// State size per channel.
        state: u64,
        /// Rank of the time-step projection.
        time_step_rank: u64,
        /// Length of the causal convolution.
        conv: u64,
        /// Norms on time step, B and C (Jamba).
        inner_norms: bool,
    },
}

impl Recurrent {
    pub(super) fn projections(&self, hidden: u64) -> Vec<Projection> {
        match *self {
            Self::GatedDelta {
                key_heads,
                value_heads,
                key_dim,
                value_dim,
                ..
            } => {
                let (keys, values) = (key_heads * key_dim, value_heads * value_dim);
                vec![
                    Projection::new(
                        "linear_attn.in_proj_qkvz",
                        hidden,
                        2 * keys + 2 * values,
                        Split::Column,
                    ),
                    Projection::new(
                        "linear_attn.in_proj_ba",
                        hidden,
                        2 * value_heads,
                        Split::Column,
                    ),
                    Projection::new("linear_attn.out_proj", values, hidden, Split::Row),
                ]
            }
            Self::Mamba2 {
                heads,
                head_dim,
                bias,
                ..
            } => {
                let inner = heads * head_dim;
                let outputs = inner + self.conv_channels() + heads;
                vec![
                    Projection::new("mixer.in_proj", hidden, outputs, Split::Column)
                        .with_bias(bias),
                    Projection::new("mixer.out_proj", inner, hidden, Split::Row).with_bias(bias),
                ]
            }
            Self::Mamba1 {
                inner,
                state,
                time_step_rank,
                ..
            } => vec![
                Projection::new("mamba.in_proj", hidden, 2 * inner, Split::Column),
                Projection::new(
                    "mamba.x_proj",
                    inner,
                    time_step_rank + 2 * state,
                    Split::Row,
                ),
                Projection::new("mamba.dt_proj", time_step_rank, inner, Split::Column)
                    .with_bias(true),
                Projection::new("mamba.out_proj", inner, hidden, Split::Row),
            ],
        }
    }

    /// Convolution, decay, skip, time-step bias and norms.
    pub(super) fn extra_params(&self) -> u64 {
        match *self {
            Self::GatedDelta {
                value_heads,
                value_dim,
                conv,
                ..
            } => self.conv_channels() * conv + 2 * value_heads + value_dim,
            Self::Mamba2 {
                heads,
                head_dim,
                conv,
                ..
            } => self.conv_channels() * (conv + 1) + 3 * heads + heads * head_dim,
            Self::Mamba1 {
                inner,
                state,
                time_step_rank,
                conv,
                inner_norms,
            } => {
                let norms = if inner_norms {
                    time_step_rank + 2 * state
                } else {
                    0
                };
                inner * (conv + 1) + inner * state + inner + norms
            }
        }
    }

    /// Elements of the recurrent state of one sequence.
    #[must_use]
    pub const fn state_elements(&self) -> u64 {
        match *self {
            Self::GatedDelta {
                value_heads,
                key_dim,
                value_dim,
                ..
            } => value_heads * key_dim * value_dim,
            Self::Mamba2 {
                heads,
                head_dim,
                state,
                ..
            } => heads * head_dim * state,
            Self::Mamba1 { inner, state, .. } => inner * state,
        }
    }

    /// Elements that the convolution remembers of one sequence: its last inputs but one.
    #[must_use]
    pub const fn conv_elements(&self) -> u64 {
        let (Self::GatedDelta { conv, .. } | Self::Mamba2 { conv, .. } | Self::Mamba1 { conv, .. }) =
            *self;
        self.conv_channels() * (conv - 1)
    }

    /// FLOPs per token of recurrence and convolution, approximate: 6 per state element of a delta rule or of Mamba-1, 4 of Mamba-2,
    /// 2 per channel and tap of the convolution.
    #[must_use]
    pub const fn flops_per_token(&self) -> u64 {
        let (per_element, conv) = match *self {
            Self::GatedDelta { conv, .. } | Self::Mamba1 { conv, .. } => (6, conv),
            Self::Mamba2 { conv, .. } => (4, conv),
        };
        per_element * self.state_elements() + 2 * self.conv_channels() * conv
    }

    const fn conv_channels(&self) -> u64 {
        match *self {
            Self::GatedDelta {
                key_heads,
                value_heads,
                key_dim,
                value_dim,
                ..
            } => 2 * key_heads * key_dim + value_heads * value_dim,
            Self::Mamba2 {
                heads,
                head_dim,
                state,
                groups,
                ..
            } => heads * head_dim + 2 * groups * state,
            Self::Mamba1 { inner, .. } => inner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_sizes_that_vllm_allocates() {
        let qwen3_next = Recurrent::GatedDelta {
            key_heads: 16,
            value_heads: 32,
            key_dim: 128,
            value_dim: 128,
            conv: 4,
        };
        assert_eq!(qwen3_next.state_elements(), 524_288);
        assert_eq!(qwen3_next.conv_elements(), 24_576);
        let nemotron = Recurrent::Mamba2 {
            heads: 64,
            head_dim: 64,
            state: 128,
            groups: 8,
            conv: 4,
            bias: false,
        };
        assert_eq!(nemotron.conv_elements(), 18_432);
        assert_eq!(nemotron.flops_per_token(), 2_146_304);
    }
}
