//! The dashboards as code. Every metric and label in a query is looked up in the exporter's catalogue, or on a recorded vLLM page: an
//! unknown name fails the generator instead of leading to an empty panel.

mod basis;
mod chart;
mod dashboard;
mod fleet;
mod latency;
pub(crate) mod names;
mod panel;
mod roofline;
mod serving;
mod style;
mod verdict;

use dashboard::Dashboard;

/// File name and JSON of every dashboard.
///
/// # Errors
/// A query that names a metric or a label that does not exist.
pub(crate) fn dashboards() -> Result<Vec<(&'static str, String)>, String> {
    [
        ("roofline.json", roofline::dashboard()),
        ("serving-quality.json", serving::dashboard()),
        ("fleet.json", fleet::dashboard()),
    ]
    .into_iter()
    .map(|(name, dashboard): (_, Dashboard)| {
        let json = dashboard.json().map_err(|why| format!("{name}: {why}"))?;
        Ok((name, format!("{json:#}\n")))
    })
    .collect()
}
