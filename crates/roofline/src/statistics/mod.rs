//! Quantiles of samples, and histograms as Prometheus has them.

mod histogram;
mod quantile;

pub use histogram::Histogram;
pub use quantile::{quantile, quantile_of};
