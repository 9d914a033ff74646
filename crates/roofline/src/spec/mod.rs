//! Specifications: GPUs, models, quantisation, and how a model is deployed on GPUs.

pub mod deployment;
pub mod gpu;
pub mod model;
pub mod precision;
pub mod quantization;

/// A count as a floating-point number.
#[expect(
    clippy::cast_precision_loss,
    reason = "parameter and token counts stay below 2^53"
)]
pub const fn to_f64(count: u64) -> f64 {
    count as f64
}

/// A length as a count.
pub(crate) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
