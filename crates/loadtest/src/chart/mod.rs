//! Charts as SVG text, coloured by CSS classes, so that the page decides on light and dark. No scripts, no external parts.

pub mod curves;
pub mod heatmap;
pub mod roofline;

/// The corners of the first line of `svg`.
#[cfg(test)]
fn corners(svg: &str) -> Vec<(f64, f64)> {
    let line = svg.split_once("points=\"").unwrap().1;
    let corners = line.split_once('"').unwrap().0.split(' ');
    corners
        .map(|corner| corner.split_once(',').unwrap())
        .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
        .collect()
}
