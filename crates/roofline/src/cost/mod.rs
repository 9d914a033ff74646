//! The roofline: what a step costs, what the hardware gives, and where the one meets the other.
//!
//! Pure functions of a deployment and the requests of a step; the live path and the offline commands share them.

pub mod activation;
pub mod ceiling;
pub mod coefficients;
pub mod communication;
pub mod memory;
pub mod shard;
pub mod step;
pub mod timing;
