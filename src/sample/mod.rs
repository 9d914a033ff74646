//! The readings of one tick: the vocabulary between the sources and the core.
//!
//! Sources produce these values, the core consumes them; nothing else crosses that boundary.

pub mod engine;
pub mod gpu;
pub mod metrics;
pub mod page;
