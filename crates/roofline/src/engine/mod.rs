//! Facts about one engine: its model, its deployment, its GPUs, and their roofs.

mod facts;
mod price;
mod roofs;

pub use facts::{EngineFacts, MissingFact, Served};
pub use price::GpuHourPrice;
pub use roofs::EngineRoof;
