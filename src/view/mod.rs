//! The view model of `top` and `diagnose`: the JSON of a snapshot, and formatted numbers.

pub mod snapshot;
pub mod text;
