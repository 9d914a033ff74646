//! List prices of GPUs from sellers' public pages.

use serde::{Deserialize, Serialize};

/// One seller's on-demand price of one GPU per hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListPrice {
    /// Dollars per GPU-hour.
    pub dollars_per_hour: f64,
    /// Name of the seller.
    pub seller: String,
    /// Date on which the page was read, `YYYY-MM-DD`.
    pub as_of: String,
    /// URL of the page.
    pub source: String,
}
