//! The pipeline, in the order data flows through it.
//!
//! `sources → samples → window → work → verdict → families → HTTP`. The middle is pure: no clock, no socket, no environment.

pub mod roofline;
pub mod spec;
pub mod units;
