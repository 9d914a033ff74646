//! `Projection`: one weight matrix of a layer, and how tensor parallelism splits it.

/// How a matrix is shared among tensor-parallel ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Outputs are split.
    Column,
    /// Inputs are split; the results are summed over the ranks.
    Row,
    /// Outputs are split by KV heads; with more ranks than heads, heads are replicated.
    KvHeads(u64),
    /// Every rank holds the whole matrix.
    Replicated,
}

impl Split {
    /// Number of parts into which `tensor_parallel` ranks split the matrix.
    #[must_use]
    pub fn ways(self, tensor_parallel: u64) -> u64 {
        match self {
            Self::Column | Self::Row => tensor_parallel,
            Self::KvHeads(heads) => tensor_parallel.min(heads),
            Self::Replicated => 1,
        }
    }
}

/// One weight matrix that every token of a step is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projection {
    /// Name below `model.layers.N.`, as in quantisation ignore lists.
    pub module: &'static str,
    /// Input width.
    pub inputs: u64,
    /// Output width.
    pub outputs: u64,
    /// Whether it has a bias of the output's width.
    pub bias: bool,
    /// How ranks share it.
    pub split: Split,
}

impl Projection {
    /// A matrix without bias.
    #[must_use]
    pub const fn new(module: &'static str, inputs: u64, outputs: u64, split: Split) -> Self {
        Self {
            module,
            inputs,
            outputs,
            bias: false,
            split,
        }
    }

    /// The same, with a bias if `bias` is true.
    #[must_use]
    pub(crate) const fn with_bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// Elements of the matrix.
    #[must_use]
    pub const fn weights(&self) -> u64 {
        self.inputs.saturating_mul(self.outputs)
    }

    /// Elements of the bias.
    #[must_use]
    pub(crate) const fn biases(&self) -> u64 {
        if self.bias { self.outputs } else { 0 }
    }

    /// All parameters.
    #[must_use]
    pub const fn params(&self) -> u64 {
        self.weights().saturating_add(self.biases())
    }
}
