//! The roofline model: the work of a step, the ceilings of the hardware, and the resulting time.
//!
//! Pure functions of a deployment and the requests of a step; the live path and the offline commands share them.

pub mod activation;
pub mod ceiling;
pub mod coefficients;
pub mod communication;
mod draft;
pub mod memory;
pub mod shard;
pub mod step;
pub mod timing;
