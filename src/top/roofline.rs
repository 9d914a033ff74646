//! The roofline in braille: roofs, the trail of each phase, and the current positions of the phases.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::canvas::{self, Canvas, Context, Points};

use super::palette::{Palette, Role};
use crate::view::snapshot::{SnapshotEngine, SnapshotRoof, SnapshotTrailPoint};
use crate::view::text::si;

/// The decades that the chart shows: log10 of FLOPs per byte, and of FLOP/s.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Frame10 {
    x: [f64; 2],
    y: [f64; 2],
}

/// Draws the chart, or the reason why there is none.
pub(super) fn draw(engine: &SnapshotEngine, palette: Palette, frame: &mut Frame<'_>, area: Rect) {
    let [title, plot, axis] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let Some(bounds) = bounds(engine) else {
        let missing = engine.missing.first();
        let why = missing.map_or("no roof is known yet".to_owned(), |missing| {
            format!("no roofline: {}: {}", missing.fact, missing.why)
        });
        let lines = crate::view::text::wrap(&why, area.width.into());
        let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
        frame.render_widget(ratatui::text::Text::from(lines), area);
        return;
    };
    frame.render_widget(
        Line::styled(heading(engine), palette.style(Role::Faint)),
        title,
    );
    let canvas = Canvas::default()
        .marker(Marker::Braille)
        .x_bounds(bounds.x)
        .y_bounds(bounds.y)
        .paint(|context| paint(engine, palette, bounds, plot, context));
    frame.render_widget(canvas, plot);
    draw_axis(bounds, palette, frame, axis);
}

/// The title of the chart.
fn heading(engine: &SnapshotEngine) -> String {
    let sheet = engine.roofs.first();
    sheet.map_or_else(String::new, |roof| {
        format!(
            "roof {}FLOP/s, {}B/s, ridge {:.0} FLOP/B",
            si(roof.peak_flops_per_second),
            si(roof.hbm_bytes_per_second),
            ridge(roof),
        )
    })
}

fn ridge(roof: &SnapshotRoof) -> f64 {
    roof.peak_flops_per_second / roof.hbm_bytes_per_second
}

/// The roofs that can be drawn.
fn roofs(engine: &SnapshotEngine) -> impl Iterator<Item = &SnapshotRoof> + Clone {
    let drawable =
        |roof: &&SnapshotRoof| roof.peak_flops_per_second > 0.0 && roof.hbm_bytes_per_second > 0.0;
    engine.roofs.iter().filter(drawable)
}

/// The points that can be drawn: x, y, and their phase.
fn points(
    engine: &SnapshotEngine,
) -> impl Iterator<Item = (f64, f64, &SnapshotTrailPoint)> + Clone {
    let drawable =
        |point: &&SnapshotTrailPoint| point.intensity > 0.0 && point.flops_per_second > 0.0;
    let placed = |point| {
        (
            SnapshotTrailPoint::intensity10(point),
            SnapshotTrailPoint::flops10(point),
            point,
        )
    };
    engine.trail.iter().filter(drawable).map(placed)
}

impl SnapshotTrailPoint {
    fn intensity10(&self) -> f64 {
        self.intensity.log10()
    }

    fn flops10(&self) -> f64 {
        self.flops_per_second.log10()
    }
}

/// Two decades left of the ridge and half of one right of it, extended to contain all points.
fn bounds(engine: &SnapshotEngine) -> Option<Frame10> {
    let first = roofs(engine).next()?;
    let bend = ridge(first).log10();
    let low = points(engine)
        .map(|(x, _, _)| x - 0.2)
        .fold(bend - 2.0, f64::min);
    let high = points(engine)
        .map(|(x, _, _)| x + 0.4)
        .fold(bend + 0.6, f64::max);
    let top = roofs(engine)
        .map(|roof| roof.peak_flops_per_second.log10())
        .fold(f64::MIN, f64::max);
    let slope = first.hbm_bytes_per_second.log10();
    let bottom = points(engine)
        .map(|(_, y, _)| y - 0.2)
        .fold(slope + low, f64::min);
    Some(Frame10 {
        x: [low, high],
        y: [bottom.max(top - 8.0), top + 0.2],
    })
}

fn paint(
    engine: &SnapshotEngine,
    palette: Palette,
    bounds: Frame10,
    plot: Rect,
    context: &mut Context<'_>,
) {
    let [left, right] = bounds.x;
    for roof in roofs(engine) {
        let colour = match roof.level.as_str() {
            "datasheet" => ratatui::style::Color::Reset,
            "current_clock" => palette.colour(Role::Warning),
            _ => palette.colour(Role::Faint),
        };
        let (bend, peak) = (ridge(roof).log10(), roof.peak_flops_per_second.log10());
        let start = roof.hbm_bytes_per_second.log10() + left;
        context.draw(&canvas::Line::new(left, start, bend, peak, colour));
        context.draw(&canvas::Line::new(bend, peak, right, peak, colour));
    }
    for (phase, role) in [("prefill", Role::Prefill), ("decode", Role::Decode)] {
        let trail = points(engine).filter(|(_, _, point)| point.phase == phase);
        let coords: Vec<_> = trail.clone().map(|(x, y, _)| (x, y)).collect();
        context.draw(&Points::new(&coords, palette.colour(role)));
    }
    context.layer();
    let width = f64::from(plot.width.max(1));
    let cell = (right - left) / width;
    for decade in decades(bounds.y) {
        let label = Line::styled(si(10_f64.powf(decade)), palette.style(Role::Faint));
        context.print(left, decade, label);
    }
    let newest = engine.trail.last().map_or(0.0, |point| point.time);
    for (phase, role) in [("prefill", Role::Prefill), ("decode", Role::Decode)] {
        let now = points(engine)
            .filter(|(_, _, point)| point.phase == phase && point.time >= newest)
            .last();
        if let Some((x, y, _)) = now {
            let style = palette.style(role).add_modifier(Modifier::BOLD);
            let after = x + cell * 10.0 < right;
            let (text, start) = if after {
                (format!("● {phase}"), x)
            } else {
                (
                    format!("{phase} ●"),
                    x - cell * f64::from(plot.width.min(9)),
                )
            };
            context.print(start, y, Line::styled(text, style));
        }
    }
}

/// The whole decades within `range`.
fn decades(range: [f64; 2]) -> impl Iterator<Item = f64> {
    let [low, high] = range;
    std::iter::successors(Some(low.ceil()), |decade| Some(decade + 1.0))
        .take_while(move |decade| *decade <= high)
}

/// The decades of intensity below the plot.
fn draw_axis(bounds: Frame10, palette: Palette, frame: &mut Frame<'_>, area: Rect) {
    let style: Style = palette.style(Role::Faint);
    let [low, high] = bounds.x;
    let width = usize::from(area.width);
    for decade in decades(bounds.x) {
        let text = si(10_f64.powf(decade).round().max(0.1));
        let text = if decade < 0.0 {
            format!("{:.1}", 10_f64.powf(decade))
        } else {
            text
        };
        let place = super::figures::cells((decade - low) / (high - low), width);
        let place = u16::try_from(place).unwrap_or(0);
        let room = area.width.saturating_sub(place);
        if usize::from(room) >= text.len() {
            let cell = Rect {
                x: area.x + place,
                width: room,
                ..area
            };
            frame.render_widget(Line::styled(text, style), cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_holds_the_ridge_and_every_point() {
        let engine: SnapshotEngine = serde_json::from_value(serde_json::json!({
            "roofs": [{"level": "datasheet", "peak_flops_per_second": 1e15, "hbm_bytes_per_second": 1e12}],
            "trail": [
                {"time": 1.0, "phase": "decode", "intensity": 2.0, "flops_per_second": 1e12},
                {"time": 1.0, "phase": "prefill", "intensity": 20_000.0, "flops_per_second": 5e14},
                {"time": 1.0, "phase": "decode", "intensity": 0.0, "flops_per_second": 0.0},
            ],
        }))
        .unwrap();
        let Frame10 { x, y } = bounds(&engine).unwrap();
        assert!(x[0] < 2_f64.log10() && x[1] > 20_000_f64.log10());
        assert!(y[0] < 12.0 && y[1] > 15.0);
        assert_eq!(bounds(&SnapshotEngine::default()), None);
        assert_eq!(decades([0.3, 3.1]).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    }
}
