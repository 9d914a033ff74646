//! Quantiles of samples, and Prometheus histograms.

mod histogram;
mod quantile;
mod student;

pub use histogram::Histogram;
pub use quantile::{quantile, quantile_of};
pub use student::Mean;
