//! Facts about one engine: its model, its deployment, its GPUs, and their roofs.

mod facts;
mod roofs;

pub use facts::{EngineFacts, MissingFact, Served};
pub use roofs::EngineRoof;
