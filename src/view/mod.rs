//! The view model that `top` and `diagnose` print: the JSON of a snapshot, and numbers as people write them.

pub mod snapshot;
pub mod text;
