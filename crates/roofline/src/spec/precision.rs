//! Number formats: their width, and the peak that applies to a matrix multiplication in them.

use std::fmt;
use std::ops::Add;

use serde::{Deserialize, Serialize};

/// A number format for matrix multiplications on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point on the ordinary cores.
    Fp32,
    /// 32-bit storage, 19-bit multiplication on tensor cores.
    Tf32,
    /// IEEE half.
    Fp16,
    /// bfloat16.
    Bf16,
    /// 8-bit floating point, either exponent width.
    Fp8,
    /// 8-bit integer.
    Int8,
    /// 4-bit floating point (NVFP4, MXFP4).
    Fp4,
    /// 4-bit integer.
    Int4,
}

impl Precision {
    /// All formats, widest first.
    pub const ALL: [Self; 8] = [
        Self::Fp32,
        Self::Tf32,
        Self::Fp16,
        Self::Bf16,
        Self::Fp8,
        Self::Int8,
        Self::Fp4,
        Self::Int4,
    ];

    /// Bytes of one number, without scales.
    #[must_use]
    pub const fn bytes(self) -> f64 {
        match self {
            Self::Fp32 | Self::Tf32 => 4.0,
            Self::Fp16 | Self::Bf16 => 2.0,
            Self::Fp8 | Self::Int8 => 1.0,
            Self::Fp4 | Self::Int4 => 0.5,
        }
    }

    /// The name used in metrics, tables and the GPU file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Int8 => "int8",
            Self::Fp4 => "fp4",
            Self::Int4 => "int4",
        }
    }

    /// Parses a dtype in the spelling of `PyTorch` and vLLM: `bfloat16`, `torch.float16`, `half`, `float`.
    #[must_use]
    pub(crate) fn from_torch_name(name: &str) -> Option<Self> {
        match name.strip_prefix("torch.").unwrap_or(name) {
            "float32" | "float" | "fp32" => Some(Self::Fp32),
            "float16" | "half" | "fp16" => Some(Self::Fp16),
            "bfloat16" | "bf16" => Some(Self::Bf16),
            _ => None,
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A value for some of the precisions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ByPrecision<T>([Option<T>; Precision::ALL.len()]);

impl<T: Copy> ByPrecision<T> {
    /// The value at `precision`, if there is one.
    #[must_use]
    pub const fn get(&self, precision: Precision) -> Option<T> {
        self.0[precision.index()]
    }

    /// Sets the value at `precision`.
    pub const fn set(&mut self, precision: Precision, value: T) {
        self.0[precision.index()] = Some(value);
    }

    /// The precisions that have a value, widest first.
    pub fn iter(&self) -> impl Iterator<Item = (Precision, T)> + '_ {
        Precision::ALL
            .into_iter()
            .filter_map(|precision| Some((precision, self.get(precision)?)))
    }
}

impl<T: Copy + Default + Add<Output = T>> ByPrecision<T> {
    /// Adds `amount` to the value at `precision`, initially zero.
    pub fn add(&mut self, precision: Precision, amount: T) {
        let before = self.get(precision).unwrap_or_default();
        self.set(precision, before + amount);
    }
}

impl<T: Copy> FromIterator<(Precision, T)> for ByPrecision<T> {
    fn from_iter<I: IntoIterator<Item = (Precision, T)>>(pairs: I) -> Self {
        let mut values = Self([None; Precision::ALL.len()]);
        for (precision, value) in pairs {
            values.set(precision, value);
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torch_names_are_read_in_every_spelling() {
        assert_eq!(
            Precision::from_torch_name("torch.bfloat16"),
            Some(Precision::Bf16)
        );
        assert_eq!(Precision::from_torch_name("half"), Some(Precision::Fp16));
        assert_eq!(Precision::from_torch_name("auto"), None);
    }

    #[test]
    fn a_table_keeps_what_was_set_and_nothing_else() {
        let table: ByPrecision<f64> = [(Precision::Fp8, 2.0), (Precision::Fp16, 1.0)]
            .into_iter()
            .collect();
        assert_eq!(table.get(Precision::Bf16), None);
        let pairs: Vec<_> = table.iter().collect();
        assert_eq!(pairs, [(Precision::Fp16, 1.0), (Precision::Fp8, 2.0)]);
    }
}
