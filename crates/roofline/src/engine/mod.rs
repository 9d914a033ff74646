//! What is known of one engine: its model, its deployment, its GPUs, and the roofs over them.

mod facts;
mod roofs;

pub use facts::{EngineFacts, MissingFact, Served};
pub use roofs::EngineRoof;
