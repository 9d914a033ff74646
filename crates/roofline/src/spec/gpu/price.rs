//! List prices: what a seller's public page asks for a GPU.

use serde::{Deserialize, Serialize};

/// What one seller asks for one GPU for an hour, on demand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListPrice {
    /// Dollars per GPU-hour.
    pub dollars_per_hour: f64,
    /// Who asks for it.
    pub seller: String,
    /// Day on which the page was read, `YYYY-MM-DD`.
    pub as_of: String,
    /// The page.
    pub source: String,
}
