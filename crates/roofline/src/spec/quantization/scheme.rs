//! `Scheme`: bytes per weight of a storage format, and the arithmetic of its kernels.

use serde_json::Value;

/// Compute format of a matrix multiplication with weights of a scheme, where the GPU supports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Weights are widened to the activations' 16 bits.
    Activations,
    /// Both operands are 8-bit floating point.
    Fp8,
    /// Both are 8-bit integers.
    Int8,
    /// Both are 4-bit floating point.
    Fp4,
}

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scheme {
    /// Integers with a 16-bit scale, and often a packed zero point, per group of input channels (AWQ, GPTQ, W4A16).
    IntGroup {
        /// Bits per weight.
        bits: f64,
        /// Weights that share a scale; zero or negative for a whole column.
        group: f64,
        /// Whether zero points are stored.
        zero_points: bool,
    },
    /// 8-bit integers with a scale per channel.
    Int8 {
        /// Whether activations stay 16-bit.
        weight_only: bool,
    },
    /// 8-bit floating point with a scale per tensor or channel, or a 32-bit one per block.
    Fp8 {
        /// Rows and columns of a block.
        block: Option<(f64, f64)>,
    },
    /// 4-bit floating point, an 8-bit scale per 16 weights.
    Nvfp4 {
        /// Whether activations stay 16-bit.
        weight_only: bool,
    },
    /// 4-bit floating point, an 8-bit scale per 32 weights, 16-bit activations.
    Mxfp4,
    /// bitsandbytes' 4-bit normal float: a scale per 64 weights.
    Nf4 {
        /// Whether the scales are themselves 8-bit, with a 32-bit one per 256 of them.
        double_quantized: bool,
    },
}

impl Scheme {
    /// The meaning of `--quantization awq` or `gptq` without a configuration.
    pub(super) const INT4_GROUP_128: Self = Self::IntGroup {
        bits: 4.0,
        group: 128.0,
        zero_points: true,
    };

    /// Bytes per weight of a matrix with `inputs` input channels, scales and zero points included.
    #[must_use]
    pub(crate) fn bytes_per_weight(self, inputs: f64) -> f64 {
        match self {
            Self::IntGroup {
                bits,
                group,
                zero_points,
            } => {
                let group = if group > 0.0 { group } else { inputs };
                let zero_point = if zero_points { bits / 8.0 } else { 0.0 };
                bits / 8.0 + (2.0 + zero_point) / group
            }
            Self::Int8 { .. } | Self::Fp8 { block: None } => 1.0,
            Self::Fp8 {
                block: Some((rows, columns)),
            } => 1.0 + 4.0 / (rows * columns),
            Self::Nvfp4 { .. } => 0.5 + 1.0 / 16.0,
            Self::Mxfp4 => 0.5 + 1.0 / 32.0,
            Self::Nf4 {
                double_quantized: false,
            } => 0.5 + 4.0 / 64.0,
            Self::Nf4 {
                double_quantized: true,
            } => 0.5 + 1.0 / 64.0 + 4.0 / (64.0 * 256.0),
        }
    }

    /// The arithmetic of its kernels.
    #[must_use]
    pub const fn arithmetic(self) -> Arithmetic {
        match self {
            Self::IntGroup { .. }
            | Self::Int8 { weight_only: true }
            | Self::Mxfp4
            | Self::Nvfp4 { weight_only: true }
            | Self::Nf4 { .. } => Arithmetic::Activations,
            Self::Int8 { weight_only: false } => Arithmetic::Int8,
            Self::Fp8 { .. } => Arithmetic::Fp8,
            Self::Nvfp4 { weight_only: false } => Arithmetic::Fp4,
        }
    }

    /// Reads the `weights` and `input_activations` of a compressed-tensors group.
    pub(super) fn of_tensors(weights: &Value, activations: Option<&Value>) -> Option<Self> {
        let number = |name: &str| weights.get(name).and_then(Value::as_u64);
        let bits = number("num_bits")?;
        let group = number("group_size").map_or(0.0, size);
        let strategy = weights
            .get("strategy")
            .and_then(Value::as_str)
            .unwrap_or("channel");
        let weight_only = activations.is_none_or(Value::is_null);
        let floating = weights.get("type").and_then(Value::as_str) == Some("float");
        match (floating, bits) {
            (true, 8) if strategy == "block" => Some(Self::Fp8 {
                block: sizes(weights.get("block_structure")).or(Some((128.0, 128.0))),
            }),
            (true, 8) => Some(Self::Fp8 { block: None }),
            (true, 4) if number("group_size") == Some(32) => Some(Self::Mxfp4),
            (true, 4) => Some(Self::Nvfp4 { weight_only }),
            (true, _) => None,
            (false, 8) if !weight_only || strategy != "group" => Some(Self::Int8 { weight_only }),
            (false, bits) => Some(Self::IntGroup {
                bits: size(bits),
                group: if strategy == "group" { group } else { 0.0 },
                zero_points: weights.get("symmetric").and_then(Value::as_bool) == Some(false),
            }),
        }
    }
}

/// The two integers of a JSON list.
pub(super) fn sizes(list: Option<&Value>) -> Option<(f64, f64)> {
    let list = list?.as_array()?;
    Some((list.first()?.as_f64()?, list.get(1)?.as_f64()?))
}

#[expect(clippy::cast_precision_loss, reason = "bits and group sizes are small")]
const fn size(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_per_weight_include_scales() {
        for (scheme, bytes) in [
            (Scheme::INT4_GROUP_128, 0.519_531_25),
            (
                Scheme::IntGroup {
                    bits: 4.0,
                    group: 128.0,
                    zero_points: false,
                },
                0.515_625,
            ),
            (
                Scheme::IntGroup {
                    bits: 8.0,
                    group: 128.0,
                    zero_points: true,
                },
                1.023_437_5,
            ),
            (
                Scheme::Fp8 {
                    block: Some((128.0, 128.0)),
                },
                1.000_244_140_625,
            ),
            (Scheme::Nvfp4 { weight_only: false }, 0.5625),
            (Scheme::Mxfp4, 0.531_25),
            (
                Scheme::Nf4 {
                    double_quantized: true,
                },
                0.515_869_140_625,
            ),
        ] {
            assert!(
                (scheme.bytes_per_weight(4096.0) - bytes).abs() < 1e-12,
                "{scheme:?}"
            );
        }
    }
}
