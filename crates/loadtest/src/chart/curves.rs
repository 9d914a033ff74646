//! Cumulative distributions: the share of requests served within a time, on a logarithmic time axis.

use std::fmt::Write;

/// Size of the drawing, in its own units; it scales to the width of the page.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// Number of colours; further curves reuse them, dashed.
const COLOURS: usize = 6;

/// One distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its label.
    pub label: String,
    /// `[share, seconds]`, ascending.
    pub points: Vec<[f64; 2]>,
    /// Its median and the JSON path of that value, for tests of the page.
    pub median: Option<(f64, String)>,
}

/// Draws `curves`; `None` where no curve has a point. The n-th curve has the class `line n`.
#[must_use]
pub fn curves(curves: &[Curve], axis: &str) -> Option<String> {
    let times = || {
        curves
            .iter()
            .flat_map(|curve| &curve.points)
            .map(|point| point[1])
    };
    let positive = || times().filter(|seconds| *seconds > 0.0);
    let (low, high) = (positive().reduce(f64::min)?, positive().reduce(f64::max)?);
    let axes = CurveAxes {
        low: (low / 1.15).log10(),
        high: (high * 1.15).log10(),
    };
    let mut svg = format!(
        r#"<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{axis}, cumulative">"#
    );
    axes.draw(&mut svg, axis);
    for (number, curve) in curves.iter().enumerate() {
        axes.draw_curve(&mut svg, number, curve);
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// The CSS classes of the n-th curve.
#[must_use]
pub(crate) fn class_of(number: usize) -> String {
    let dashed = if number >= COLOURS { " dashed" } else { "" };
    format!("line-{}{dashed}", number % COLOURS)
}

struct CurveAxes {
    low: f64,
    high: f64,
}

impl CurveAxes {
    fn x(&self, seconds: f64) -> f64 {
        let share = (seconds.max(f64::MIN_POSITIVE).log10() - self.low) / (self.high - self.low);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(share: f64) -> f64 {
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, svg: &mut String, axis: &str) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for percent in [0, 25, 50, 75, 90, 99] {
            let y = Self::y(f64::from(percent) / 100.0);
            // Writing to a String cannot fail.
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{right}" y2="{y:.1}"/>"#
            );
            if percent != 99 {
                let _ = write!(
                    svg,
                    r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{percent} %</text>"#,
                    LEFT - 5.0,
                    y + 4.0
                );
            }
        }
        for seconds in self.ticks() {
            let x = self.x(seconds);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 15.0,
                short(seconds)
            );
        }
        let _ = write!(
            svg,
            r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{axis}</text>"#,
            f64::midpoint(LEFT, right),
            HEIGHT - 8.0
        );
    }

    /// 1, 2 and 5 of each decade; over many decades the 1s alone.
    fn ticks(&self) -> Vec<f64> {
        let factors: &[f64] = if self.high - self.low > 2.2 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let mut ticks = Vec::new();
        let mut exponent = self.low.floor();
        while exponent <= self.high {
            ticks.extend(factors.iter().map(|factor| factor * 10_f64.powf(exponent)));
            exponent += 1.0;
        }
        ticks.retain(|tick| (self.low..=self.high).contains(&tick.log10()));
        ticks
    }

    fn draw_curve(&self, svg: &mut String, number: usize, curve: &Curve) {
        let class = class_of(number);
        let corners: Vec<String> = curve
            .points
            .iter()
            .map(|[share, seconds]| format!("{:.1},{:.1}", self.x(*seconds), Self::y(*share)))
            .collect();
        let _ = write!(
            svg,
            r#"<polyline class="curve {class}" points="{}"><title>{}</title></polyline>"#,
            corners.join(" "),
            escape(&curve.label)
        );
        if let Some((median, path)) = &curve.median {
            let _ = write!(
                svg,
                r#"<circle class="median {class}" cx="{:.1}" cy="{:.1}" r="4" data-path="{path}" data-value="{median}"/>"#,
                self.x(*median),
                Self::y(0.5)
            );
        }
    }
}

fn short(seconds: f64) -> String {
    if seconds >= 0.9995 {
        format!("{seconds:.0} s")
    } else if seconds >= 0.000_999_5 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{:.0} µs", seconds * 1e6)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::corners;
    use super::*;

    #[test]
    fn curves_rise_to_the_right_and_names_are_harmless() {
        let curve = Curve {
            label: "<a & b>".to_owned(),
            points: vec![[0.1, 0.01], [0.5, 0.02], [0.99, 0.2]],
            median: Some((0.02, "/runs/0".to_owned())),
        };
        let svg = curves(&[curve], "time").unwrap();
        let corners = corners(&svg);
        assert!(
            corners
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 > pair[1].1)
        );
        assert!(svg.contains("&lt;a &amp; b>") && !svg.contains("<a "));
        assert_eq!(curves(&[], "time"), None);
    }

    #[test]
    fn colours_repeat_dashed() {
        assert_eq!(class_of(1), "line-1");
        assert_eq!(class_of(7), "line-1 dashed");
    }

    /// A single value has no width; its axes must still be drawn.
    #[test]
    fn a_single_value_has_axes() {
        let curve = Curve {
            label: "one".to_owned(),
            points: vec![[0.5, 0.02]],
            median: None,
        };
        assert!(curves(&[curve], "time").unwrap().contains("20 ms"));
    }
}
