//! Recurrent layers: gated delta nets, Kimi's delta attention, Mamba-1 and Mamba-2, short convolutions. Their state has a constant size per sequence.

use super::projection::{Projection, Split};
use crate::spec::to_f64;

/// Tokens of a chunk of a gated delta net.
const DELTA_CHUNK: f64 = 64.0;

/// A layer with a recurrent state of fixed size instead of a growing cache.
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
    /// Kimi's delta attention, with a decay per channel.
    KimiDelta {
        /// Heads.
        heads: u64,
        /// Width of a head's key and value.
        dim: u64,
        /// Length of the causal convolution.
        conv: u64,
    },
    /// Mamba-2 (Nemotron-H, Bamba, Granite 4, Falcon-H1).
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
        /// Tokens of a chunk of the prompt scan.
        chunk: u64,
        /// Bias on the projections.
        bias: bool,
        /// A norm after the recurrence.
        norm: bool,
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
    /// A gated convolution over the last few tokens (LFM2).
    ShortConv {
        /// Channels.
        channels: u64,
        /// Length of the causal convolution.
        conv: u64,
    },
}

impl Recurrent {
    pub(super) fn projections(&self, hidden: u64) -> Vec<Projection> {
        let column =
            |module, inputs, outputs| Projection::new(module, inputs, outputs, Split::Column);
        let row = |module, inputs| Projection::new(module, inputs, hidden, Split::Row);
        match *self {
            Self::GatedDelta { value_heads, .. } => {
                let (keys, values) = self.key_and_value_width();
                vec![
                    column("linear_attn.in_proj_qkvz", hidden, 2 * keys + 2 * values),
                    column("linear_attn.in_proj_ba", hidden, 2 * value_heads),
                    row("linear_attn.out_proj", values),
                ]
            }
            Self::KimiDelta { heads, dim, .. } => {
                let width = heads * dim;
                let narrow = |module| Projection::new(module, hidden, dim, Split::Replicated);
                vec![
                    column("self_attn.q_proj", hidden, width),
                    column("self_attn.k_proj", hidden, width),
                    column("self_attn.v_proj", hidden, width),
                    column("self_attn.b_proj", hidden, heads),
                    narrow("self_attn.f_a_proj"),
                    column("self_attn.f_b_proj", dim, width),
                    narrow("self_attn.g_a_proj"),
                    column("self_attn.g_b_proj", dim, width),
                    row("self_attn.o_proj", width),
                ]
            }
            Self::ShortConv { channels, .. } => vec![
                column("conv.in_proj", hidden, 3 * channels),
                row("conv.out_proj", channels),
            ],
            Self::Mamba2 {
                heads,
                head_dim,
                bias,
                ..
            } => {
                let inner = heads * head_dim;
                let outputs = inner + self.conv_channels() + heads;
                vec![
                    column("mixer.in_proj", hidden, outputs).with_bias(bias),
                    row("mixer.out_proj", inner).with_bias(bias),
                ]
            }
            Self::Mamba1 {
                inner,
                state,
                time_step_rank: rank,
                ..
            } => vec![
                column("mamba.in_proj", hidden, 2 * inner),
                Projection::new("mamba.x_proj", inner, rank + 2 * state, Split::Row),
                column("mamba.dt_proj", rank, inner).with_bias(true),
                row("mamba.out_proj", inner),
            ],
        }
    }

    /// Widths of all keys and of all values of a gated delta net.
    const fn key_and_value_width(&self) -> (u64, u64) {
        match *self {
            Self::GatedDelta {
                key_heads,
                value_heads,
                key_dim,
                value_dim,
                ..
            } => (key_heads * key_dim, value_heads * value_dim),
            _ => (0, 0),
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
            Self::KimiDelta { heads, dim, conv } => {
                self.conv_channels() * conv + heads + heads * dim + dim
            }
            Self::ShortConv { channels, conv } => channels * conv,
            Self::Mamba2 {
                heads,
                head_dim,
                conv,
                norm,
                ..
            } => {
                let norm = if norm { heads * head_dim } else { 0 };
                self.conv_channels() * (conv + 1) + 3 * heads + norm
            }
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
    pub(crate) const fn state_elements(&self) -> u64 {
        match *self {
            Self::GatedDelta {
                value_heads,
                key_dim,
                value_dim,
                ..
            } => value_heads * key_dim * value_dim,
            Self::KimiDelta { heads, dim, .. } => heads * dim * dim,
            Self::ShortConv { .. } => 0,
            Self::Mamba2 {
                heads,
                head_dim,
                state,
                ..
            } => heads * head_dim * state,
            Self::Mamba1 { inner, state, .. } => inner * state,
        }
    }

    /// Elements that the convolution keeps of one sequence: its last inputs except one.
    #[must_use]
    pub(crate) const fn conv_elements(&self) -> u64 {
        self.conv_channels() * self.conv().saturating_sub(1)
    }

    const fn conv(&self) -> u64 {
        let (Self::GatedDelta { conv, .. }
        | Self::KimiDelta { conv, .. }
        | Self::Mamba2 { conv, .. }
        | Self::Mamba1 { conv, .. }
        | Self::ShortConv { conv, .. }) = *self;
        conv
    }

    /// Elements per token that its kernels read (half of them, because each reads what another wrote) and that they write.
    #[must_use]
    pub const fn widths(&self) -> (u64, u64) {
        match *self {
            Self::GatedDelta { .. } => {
                let (keys, values) = self.key_and_value_width();
                (2 * keys + 2 * values, 2 * keys + 3 * values)
            }
            Self::KimiDelta { heads, dim, .. } => (5 * heads * dim, 5 * heads * dim),
            Self::Mamba2 {
                heads,
                head_dim,
                groups,
                state,
                ..
            } => {
                // The convolution, the states of chunks, the products of B and C, the scan, the gated norm.
                let (inner, shared) = (heads * head_dim, groups * state);
                ((5 * inner + 6 * shared) / 2, 3 * inner + 2 * shared)
            }
            Self::Mamba1 { inner, .. } => (2 * inner, 3 * inner),
            Self::ShortConv { channels, .. } => (3 * channels, 2 * channels),
        }
    }

    /// Additional bytes per token that the kernels of a chunked prompt scan write and read, with activations of `width` bytes and states of
    /// `state_width`. A prompt is split into chunks that are computed in parallel; their links go through memory:
    ///
    /// * Mamba-2 (`mamba_chunk_scan_combined_varlen` of vLLM): the state that each chunk adds, 32-bit; the state at its start; the products
    ///   of B and C, 32-bit.
    /// * Gated delta nets (`chunk_gated_delta_rule` of flash-linear-attention), in chunks of 64: the products of keys, 32-bit, and their
    ///   inverse; keys and values that these transform; the state at the start of each chunk.
    #[must_use]
    pub(crate) fn scan_bytes(&self, width: f64, state_width: f64) -> f64 {
        match *self {
            Self::Mamba2 { groups, chunk, .. } => {
                let states = to_f64(self.state_elements()) / to_f64(chunk);
                states * (4.0 + state_width) + to_f64(groups * chunk) * 4.0
            }
            Self::GatedDelta {
                value_heads,
                key_dim,
                value_dim,
                ..
            } => {
                let states = to_f64(self.state_elements()) / DELTA_CHUNK;
                let products = to_f64(value_heads) * DELTA_CHUNK * (4.0 + width);
                products + (states + to_f64(value_heads * (key_dim + 2 * value_dim))) * width
            }
            _ => 0.0,
        }
    }

    /// FLOPs per token of recurrence and convolution, approximate: 6 per state element of a delta rule or of Mamba-1, 4 of Mamba-2,
    /// 2 per channel and tap of the convolution.
    #[must_use]
    pub(crate) const fn flops_per_token(&self) -> u64 {
        let per_element = match *self {
            Self::Mamba2 { .. } => 4,
            _ => 6,
        };
        per_element * self.state_elements() + 2 * self.conv_channels() * self.conv()
    }

    const fn conv_channels(&self) -> u64 {
        match *self {
            Self::GatedDelta { .. } => {
                let (keys, values) = self.key_and_value_width();
                2 * keys + values
            }
            Self::Mamba2 {
                heads,
                head_dim,
                state,
                groups,
                ..
            } => heads * head_dim + 2 * groups * state,
            Self::KimiDelta { heads, dim, .. } => 3 * heads * dim,
            Self::Mamba1 { inner, .. } => inner,
            Self::ShortConv { channels, .. } => channels,
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
            chunk: 128,
            bias: false,
            norm: true,
        };
        assert_eq!(nemotron.conv_elements(), 18_432);
        assert_eq!(nemotron.flops_per_token(), 2_146_304);
    }
}
