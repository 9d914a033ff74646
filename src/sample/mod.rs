//! What one tick saw: the vocabulary between the sources and the core.
//!
//! Sources make these values, the core eats them; nothing else crosses that line.

pub mod engine;
pub mod gpu;
pub mod metrics;
pub mod page;
