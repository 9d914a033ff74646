//! What is known of one engine: its model, its deployment, its GPUs, and the roofs over them.

mod facts;
mod roofs;

pub use facts::{EngineFacts, Missing, Served};
pub use roofs::Roof;
