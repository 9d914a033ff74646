//! Export: a snapshot becomes metric families, and families become text.

pub mod catalogue;
pub mod families;
pub mod negotiate;
pub mod openmetrics;
pub mod page;
pub mod process;
pub mod snapshot_json;
pub mod timeline;
pub mod verdict_json;
