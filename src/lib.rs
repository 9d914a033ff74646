//! The pipeline, in the order data flows through it.
//!
//! `sources → samples → window → work → verdict → families → HTTP`. The middle is pure: no clock, no socket, no environment.

pub mod command {
    //! What the program does, one module a command.
    pub mod gpus;
    pub mod output;
    pub mod static_roofline;
    pub mod usage;
}
pub mod config {
    //! Settings.
    pub mod duration;
}
pub mod predict;
pub mod roofline;
pub mod spec;
pub mod units;
