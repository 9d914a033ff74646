//! What is known before anything runs: GPUs, models, quantisation and how a model is deployed on GPUs.

pub mod deployment;
pub mod gpu;
pub mod model;
pub mod precision;
pub mod quantization;
