//! The roofline as SVG: log-log, one line per roof, one point per phase with the trail of its earlier positions.
//!
//! Plain SVG text, coloured by CSS classes, so that the page decides on light and dark.

use std::fmt::Write;

use roofline::units::{FlopsPerSecond, Intensity};

/// Size of the drawing, in its own units; it scales to the width of the page.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Space for the axes.
const LEFT: f64 = 66.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 46.0;
/// Space for the label of a point.
const LABEL: f64 = 200.0;

/// A roof: memory-bound slope, ridge, compute-bound ceiling.
#[derive(Clone, Debug, PartialEq)]
pub struct RoofLine {
    /// `datasheet`, `attainable` or `current_clock`; also the CSS class.
    pub level: &'static str,
    /// Its label.
    pub label: &'static str,
    /// Intensity of the ridge point.
    pub ridge: Intensity,
    /// Compute ceiling.
    pub peak: FlopsPerSecond,
}

/// A point under the roof.
#[derive(Clone, Debug, PartialEq)]
pub struct ChartPoint {
    /// `prefill` or `decode`; also the CSS class.
    pub phase: &'static str,
    /// FLOPs per byte.
    pub intensity: f64,
    /// FLOPs per second.
    pub flops_per_second: f64,
    /// 1 for the present, towards 0 for older points.
    pub freshness: f64,
    /// A number inside the point, instead of the phase beside it.
    pub mark: Option<Mark>,
}

/// Distinguishes a point from others of the same phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its text.
    pub text: String,
    /// JSON path of its values, for tests of the page.
    pub path: String,
}

/// Draws `roofs` and `points`; `None` without a roof, which sets the scale.
#[must_use]
pub fn roofline(roofs: &[RoofLine], points: &[ChartPoint]) -> Option<String> {
    let highest = roofs
        .iter()
        .max_by(|one, other| one.peak.0.total_cmp(&other.peak.0))?;
    let axes = RooflineAxes::around(highest, points);
    let mut svg = String::with_capacity(8 << 10);
    // Writing to a String cannot fail.
    let _ = write!(
        svg,
        r#"<svg class="roofline" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
        description(points)
    );
    axes.draw(&mut svg);
    for roof in roofs {
        axes.draw_roof(&mut svg, roof);
    }
    for point in points {
        axes.draw_point(&mut svg, point);
    }
    svg.push_str("</svg>");
    Some(svg)
}

fn description(points: &[ChartPoint]) -> String {
    let now = points
        .iter()
        .filter(|point| point.freshness >= 1.0)
        .map(|point| {
            format!(
                "{} at {:.3} FLOP/byte and {}",
                point.phase,
                point.intensity,
                rate(point.flops_per_second)
            )
        });
    let descriptions: Vec<_> = now.collect();
    format!("Roofline chart. {}", descriptions.join(", "))
}

/// Ranges and scale of the axes.
struct RooflineAxes {
    x: (f64, f64),
    y: (f64, f64),
    peak: f64,
    bandwidth: f64,
}

/// How far from the ridge the slope and the ceiling extend at least.
const SLOPE: f64 = 10.0;
const CEILING: f64 = 4.0;
/// Margin around the drawn values.
const MARGIN: f64 = 1.6;

/// Whether a measured point can have this value: others do not widen the axes.
fn in_sight(value: &f64) -> bool {
    (1e-2..1e18).contains(value)
}

/// The exponent of the half decade at or below `value`.
fn half_decade_below(value: f64) -> f64 {
    (value.log10() * 2.0).floor() / 2.0
}

impl RooflineAxes {
    /// Axes that show `points`, the ridge of `roof` and part of its slope and ceiling. They start and end at half decades, so that they
    /// stay in place while points move a little.
    fn around(roof: &RoofLine, points: &[ChartPoint]) -> Self {
        let bandwidth = roof.peak.0 / roof.ridge.0;
        let places = || points.iter().map(|point| point.intensity).filter(in_sight);
        let heights = || {
            points
                .iter()
                .map(|point| point.flops_per_second)
                .filter(in_sight)
        };
        let left = places().fold(roof.ridge.0 / SLOPE, f64::min) / MARGIN;
        let right = places().fold(roof.ridge.0 * CEILING, f64::max) * MARGIN;
        let lowest = heights().fold(roof.peak.0 / SLOPE, f64::min) / MARGIN;
        Self {
            x: (half_decade_below(left), -half_decade_below(1.0 / right)),
            y: (
                half_decade_below(lowest.min(bandwidth * left)),
                (roof.peak.0 * MARGIN).log10(),
            ),
            peak: roof.peak.0,
            bandwidth,
        }
    }

    /// The roof at an intensity.
    fn roof_at(&self, intensity: f64) -> f64 {
        (self.bandwidth * intensity).min(self.peak)
    }

    fn place_x(&self, value: f64) -> f64 {
        let share = (value.log10() - self.x.0) / (self.x.1 - self.x.0);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn place_y(&self, value: f64) -> f64 {
        let share = (value.log10() - self.y.0) / (self.y.1 - self.y.0);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, svg: &mut String) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for value in ticks(self.x) {
            let x = self.place_x(value);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 16.0,
                short(value)
            );
        }
        for value in ticks(self.y) {
            let y = self.place_y(value);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{right}" y2="{y:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 6.0,
                y + 4.0,
                short(value)
            );
        }
        let _ = write!(
            svg,
            r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">arithmetic intensity, FLOP per HBM byte</text><text class="axis" transform="translate(14 {:.1}) rotate(-90)" text-anchor="middle">FLOP/s</text>"#,
            f64::midpoint(LEFT, right),
            HEIGHT - 8.0,
            f64::midpoint(TOP, bottom)
        );
    }

    fn draw_roof(&self, svg: &mut String, roof: &RoofLine) {
        let bandwidth = roof.peak.0 / roof.ridge.0;
        // The slope starts where it enters the drawing: at the left edge, or at the bottom.
        let start = 10_f64.powf(self.x.0).max(10_f64.powf(self.y.0) / bandwidth);
        let _ = write!(
            svg,
            r#"<polyline class="roof {}" points="{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}"><title>{}: ridge at {:.0} FLOP/byte, {}</title></polyline>"#,
            roof.level,
            self.place_x(start),
            self.place_y(start * bandwidth),
            self.place_x(roof.ridge.0),
            self.place_y(roof.peak.0),
            self.place_x(10_f64.powf(self.x.1)),
            self.place_y(roof.peak.0),
            roof.label,
            roof.ridge.0,
            rate(roof.peak.0)
        );
    }

    fn draw_point(&self, svg: &mut String, point: &ChartPoint) {
        let (x, y) = (
            self.place_x(point.intensity),
            self.place_y(point.flops_per_second),
        );
        let ChartPoint {
            phase, freshness, ..
        } = point;
        if *freshness < 1.0 {
            let _ = write!(
                svg,
                r#"<circle class="trail {phase}" cx="{x:.1}" cy="{y:.1}" r="3" opacity="{:.2}"/>"#,
                0.1 + 0.5 * freshness
            );
            return;
        }
        let roof = self.roof_at(point.intensity).max(f64::MIN_POSITIVE);
        let share = 100.0 * point.flops_per_second / roof;
        let (origin, label) = match &point.mark {
            // Below the point: all roofs are above it.
            None => (
                String::new(),
                format!(
                    r#"<text class="label {phase}" x="{:.1}" y="{:.1}">{phase} {share:.0} % of roof</text>"#,
                    (x + 8.0).min(WIDTH - RIGHT - LABEL),
                    (y + 20.0).min(HEIGHT - BOTTOM - 4.0)
                ),
            ),
            Some(mark) => (
                format!(r#" data-path="{}""#, mark.path),
                format!(
                    r#"<text class="mark" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                    y + 4.0,
                    mark.text
                ),
            ),
        };
        let radius = if point.mark.is_some() { 9 } else { 7 };
        let _ = write!(
            svg,
            r#"<circle class="point {phase}" data-phase="{phase}" data-intensity="{:.4}" data-flops="{:.4e}"{origin} cx="{x:.1}" cy="{y:.1}" r="{radius}"><title>{phase}: {:.1} FLOP/byte, {}, {share:.0} % of the roof</title></circle>{label}"#,
            point.intensity,
            point.flops_per_second,
            point.intensity,
            rate(point.flops_per_second),
        );
    }
}

/// The powers of ten within `range` of exponents, and three times each.
fn ticks(range: (f64, f64)) -> impl Iterator<Item = f64> {
    let (mut exponent, last) = (range.0.floor(), range.1.floor());
    let decades = std::iter::from_fn(move || {
        (exponent <= last).then(|| {
            exponent += 1.0;
            10_f64.powf(exponent - 1.0)
        })
    });
    let within = move |value: &f64| (range.0 - 1e-9..=range.1 + 1e-9).contains(&value.log10());
    decades
        .flat_map(|decade| [decade, 3.0 * decade])
        .filter(within)
}

const PREFIXES: [(f64, &str); 5] = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];

/// `1000` is `1k`, `2e12` is `2T`.
fn short(value: f64) -> String {
    PREFIXES
        .iter()
        .find(|(size, _)| value >= size * 0.999)
        .map_or_else(
            || format!("{value}"),
            |(size, prefix)| format!("{:.0}{prefix}", value / size),
        )
}

/// `2.5e12` is `2.50 TFLOP/s`.
#[must_use]
pub fn rate(flops_per_second: f64) -> String {
    let (size, prefix) = PREFIXES
        .into_iter()
        .find(|&(size, _)| flops_per_second >= size)
        .unwrap_or((1.0, ""));
    format!("{:.3} {prefix}FLOP/s", flops_per_second / size)
}

#[cfg(test)]
mod tests {
    use super::super::corners;
    use super::*;

    fn h100() -> RoofLine {
        RoofLine {
            level: "datasheet",
            label: "datasheet",
            ridge: Intensity(295.0),
            peak: FlopsPerSecond(989e12),
        }
    }

    #[test]
    fn the_ridge_is_where_slope_and_ceiling_meet() {
        let svg = roofline(&[h100()], &[]).unwrap();
        let corners = corners(&svg);
        let [start, ridge, end] = corners[..] else {
            panic!("{corners:?}")
        };
        assert!(start.0 < ridge.0 && ridge.0 < end.0);
        assert!(start.1 > ridge.1 && (ridge.1 - end.1).abs() < 1e-9);
    }

    #[test]
    fn points_on_the_slope_lie_on_the_roof() {
        let axes = RooflineAxes::around(&h100(), &[]);
        let bandwidth = 989e12 / 295.0;
        let slope = (axes.place_y(10.0 * bandwidth) - axes.place_y(100.0 * bandwidth))
            / (axes.place_x(100.0) - axes.place_x(10.0));
        let drawn = (axes.place_y(bandwidth * 29.5) - axes.place_y(989e12))
            / (axes.place_x(295.0) - axes.place_x(29.5));
        assert!((slope - drawn).abs() < 1e-9);
    }

    #[test]
    fn the_frame_holds_every_point_and_little_else() {
        let point = |intensity: f64, share: f64| ChartPoint {
            phase: "decode",
            intensity,
            flops_per_second: share * (989e12 / 295.0) * intensity,
            freshness: 1.0,
            mark: None,
        };
        for intensity in [0.3, 1.0, 8.0, 60.0] {
            let points = [point(intensity, 0.05), point(intensity, 0.9)];
            let axes = RooflineAxes::around(&h100(), &points);
            for point in &points {
                let (x, y) = (point.intensity.log10(), point.flops_per_second.log10());
                assert!(axes.x.0 < x && x < axes.x.1 && axes.y.0 < y && y < axes.y.1);
            }
            assert!(
                x_of(&axes, intensity) < 0.5 && axes.x.1 < 4.0,
                "{intensity}"
            );
            let svg = roofline(&[h100()], &points).unwrap();
            assert!(svg.contains("decode 90 % of roof"), "{svg}");
        }
    }

    /// Horizontal position of a value.
    fn x_of(axes: &RooflineAxes, value: f64) -> f64 {
        (axes.place_x(value) - LEFT) / (WIDTH - LEFT - RIGHT)
    }

    #[test]
    fn without_a_roof_there_is_no_chart() {
        assert_eq!(roofline(&[], &[]), None);
    }

    #[test]
    fn values_beyond_the_axes_stay_on_the_drawing() {
        let odd = ChartPoint {
            phase: "decode",
            intensity: 1e-9,
            flops_per_second: 1e30,
            freshness: 1.0,
            mark: None,
        };
        let svg = roofline(&[h100()], &[odd]).unwrap();
        assert!(svg.contains(&format!("cx=\"{LEFT:.1}\" cy=\"{TOP:.1}\"")));
    }
}
