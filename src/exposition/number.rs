//! Sample values.

/// The float that `word` writes, or `None` if it is not one.
pub(super) fn float(word: &str) -> Option<f64> {
    word.parse().ok()
}
