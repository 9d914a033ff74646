//! Feed-forward blocks: dense MLPs and mixtures of experts.

use super::projection::{Projection, Split};

/// A dense MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mlp {
    /// Intermediate width.
    pub width: u64,
    /// Gated (SwiGLU, GeGLU): three matrices instead of two.
    pub gated: bool,
    /// Biases on its matrices.
    pub bias: bool,
}

impl Mlp {
    pub(super) fn projections(&self, hidden: u64) -> Vec<Projection> {
        let mut projections = Vec::with_capacity(3);
        if self.gated {
            projections.push(
                Projection::new("mlp.gate_proj", hidden, self.width, Split::Column)
                    .with_bias(self.bias),
            );
        }
        projections.extend([
            Projection::new("mlp.up_proj", hidden, self.width, Split::Column).with_bias(self.bias),
            Projection::new("mlp.down_proj", self.width, hidden, Split::Row).with_bias(self.bias),
        ]);
        projections
    }
}

/// A mixture of experts: each token goes through `top_k` of `experts`, and through the shared expert if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moe {
    /// Routed experts.
    pub experts: u64,
    /// Experts per token.
    pub top_k: u64,
    /// Intermediate width of a routed expert.
    pub expert_width: u64,
    /// Input and output width of a routed expert: the hidden size, or a latent size below it.
    pub expert_inputs: u64,
    /// Gated experts.
    pub gated: bool,
    /// Biases on the experts' matrices (gpt-oss).
    pub expert_bias: bool,
    /// Vectors of one element per expert besides the router's matrix: its bias, its load-balancing correction.
    pub router_vectors: u64,
    /// Total intermediate width of the shared experts, 0 without.
    pub shared_width: u64,
    /// A learned gate on the shared expert (Qwen2-MoE, Qwen3-Next).
    pub shared_gate: bool,
}

impl Moe {
    /// Name of the first routed expert's first matrix, for ignore lists.
    pub(crate) const EXPERT_MODULE: &'static str = "mlp.experts.0.up_proj";

    /// Projections of every token: shared experts, and those into and out of a latent width.
    pub(super) fn shared_projections(&self, hidden: u64) -> Vec<Projection> {
        let mut projections = Vec::new();
        if self.shared_width > 0 {
            if self.gated {
                projections.push(Projection::new(
                    "mlp.shared_expert.gate_proj",
                    hidden,
                    self.shared_width,
                    Split::Column,
                ));
            }
            projections.extend([
                Projection::new(
                    "mlp.shared_expert.up_proj",
                    hidden,
                    self.shared_width,
                    Split::Column,
                ),
                Projection::new(
                    "mlp.shared_expert.down_proj",
                    self.shared_width,
                    hidden,
                    Split::Row,
                ),
            ]);
        }
        if self.expert_inputs != hidden {
            projections.extend([
                Projection::new(
                    "mlp.fc1_latent_proj",
                    hidden,
                    self.expert_inputs,
                    Split::Replicated,
                ),
                Projection::new(
                    "mlp.fc2_latent_proj",
                    self.expert_inputs,
                    hidden,
                    Split::Replicated,
                ),
            ]);
        }
        projections
    }

    /// Elements of the matrices of one routed expert.
    #[must_use]
    pub(crate) const fn weights_per_expert(&self) -> u64 {
        let matrices = if self.gated { 3 } else { 2 };
        matrices * self.expert_inputs * self.expert_width
    }

    /// Elements of the biases of one routed expert.
    #[must_use]
    pub(crate) const fn biases_per_expert(&self) -> u64 {
        let inner = if self.gated {
            2 * self.expert_width
        } else {
            self.expert_width
        };
        if self.expert_bias {
            inner + self.expert_inputs
        } else {
            0
        }
    }

    /// Parameters of one routed expert.
    #[must_use]
    pub(crate) const fn params_per_expert(&self) -> u64 {
        self.weights_per_expert() + self.biases_per_expert()
    }

    /// Elements of the router's matrix.
    #[must_use]
    pub(crate) const fn router_weights(&self, hidden: u64) -> u64 {
        hidden * self.experts
    }

    /// Router vectors and the gate of the shared expert.
    #[must_use]
    pub(crate) const fn extra_params(&self, hidden: u64) -> u64 {
        let gate = if self.shared_gate { hidden } else { 0 };
        self.router_vectors * self.experts + gate
    }
}
