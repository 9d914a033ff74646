//! A heatmap over time: one row per quantity, one cell per interval, darker for higher values.

use std::fmt::Write;

/// Size of the drawing, in its own units; it scales to the width of the page.
const WIDTH: f64 = 640.0;
const LEFT: f64 = 118.0;
const RIGHT: f64 = 8.0;
const ROW: f64 = 26.0;
const GAP: f64 = 4.0;
const BOTTOM: f64 = 34.0;

/// One quantity over time.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatmapRow {
    /// Its label.
    pub label: &'static str,
    /// Its cells.
    pub cells: Vec<HeatmapCell>,
}

/// A quantity in one interval.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatmapCell {
    /// Seconds since the start.
    pub start: f64,
    /// Its length.
    pub seconds: f64,
    /// A share, 0..=1; higher values are drawn as 1.
    pub share: f64,
    /// JSON path of its value, for tests of the page.
    pub path: String,
}

/// Draws `rows` over a common time axis; `None` where no row has a cell.
#[must_use]
pub fn heatmap(rows: &[HeatmapRow]) -> Option<String> {
    let cells = || rows.iter().flat_map(|row| &row.cells);
    let start = cells().map(|cell| cell.start).reduce(f64::min)?;
    let end = cells()
        .map(|cell| cell.start + cell.seconds)
        .reduce(f64::max)?;
    let scale = (WIDTH - LEFT - RIGHT) / (end - start).max(f64::MIN_POSITIVE);
    let place = |time: f64| LEFT + (time - start) * scale;
    let bottom = rows.len() as f64 * (ROW + GAP);
    let mut svg = format!(
        r#"<svg class="heatmap" viewBox="0 0 {WIDTH} {}" role="img" aria-label="utilisation over time">"#,
        bottom + BOTTOM
    );
    for (number, row) in rows.iter().enumerate() {
        let top = number as f64 * (ROW + GAP);
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text><rect class="blank" x="{LEFT}" y="{top}" width="{:.1}" height="{ROW}"/>"#,
            LEFT - 8.0,
            top + ROW / 2.0 + 4.0,
            row.label,
            WIDTH - LEFT - RIGHT
        );
        for cell in &row.cells {
            draw(
                &mut svg,
                row,
                cell,
                place(cell.start),
                cell.seconds * scale,
                top,
            );
        }
    }
    for time in ticks(start, end) {
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="middle">{time:.0}</text>"#,
            place(time),
            bottom + 14.0
        );
    }
    let _ = write!(
        svg,
        r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">seconds</text></svg>"#,
        f64::midpoint(LEFT, WIDTH - RIGHT),
        bottom + 30.0
    );
    Some(svg)
}

fn draw(svg: &mut String, row: &HeatmapRow, cell: &HeatmapCell, x: f64, width: f64, top: f64) {
    let _ = write!(
        svg,
        r#"<rect class="heat" x="{x:.1}" y="{top}" width="{:.1}" height="{ROW}" fill-opacity="{:.3}" data-path="{}" data-value="{}"><title>{} at {:.0} s: {:.1} %</title></rect>"#,
        (width - 0.6).max(0.4),
        cell.share.clamp(0.0, 1.0),
        cell.path,
        cell.share,
        row.label,
        cell.start,
        cell.share * 100.0
    );
}

/// About six round times.
fn ticks(start: f64, end: f64) -> impl Iterator<Item = f64> {
    let rough = (end - start) / 6.0;
    let decade = 10_f64.powf(rough.max(1e-3).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * decade)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * decade)
        .max(1.0);
    let mut time = (start / step).ceil() * step;
    std::iter::from_fn(move || {
        (time <= end).then(|| {
            time += step;
            time - step
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_drawn_with_its_value() {
        let cells = [0.25, 1.4]
            .iter()
            .enumerate()
            .map(|(place, share)| HeatmapCell {
                start: place as f64 * 2.0,
                seconds: 2.0,
                share: *share,
                path: format!("/timeline/{place}/mfu"),
            });
        let svg = heatmap(&[HeatmapRow {
            label: "MFU",
            cells: cells.collect(),
        }])
        .unwrap();
        assert_eq!(svg.matches("class=\"heat\"").count(), 2);
        assert!(
            svg.contains(r#"fill-opacity="0.250" data-path="/timeline/0/mfu" data-value="0.25""#)
        );
        assert!(
            svg.contains(r#"fill-opacity="1.000" data-path="/timeline/1/mfu" data-value="1.4""#)
        );
        assert_eq!(heatmap(&[]), None);
    }
}
