//! Charts as SVG text, coloured by CSS classes, so that the page decides on light and dark. No scripts, no external parts.

pub mod curves;
pub mod heatmap;
pub mod roofline;
