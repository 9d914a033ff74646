//! Sources of readings. Every source has its own timeout and its own errors; a failing source affects only its own series.

pub mod discovery;
pub mod gpu;
pub mod http;
pub mod lookup;
pub mod models;
mod pace;
mod resolver;
pub mod share;
pub mod vllm;
