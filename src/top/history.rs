//! Draws the current time by component, and the history of throughput and bound.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Sparkline;

use super::app::{App, EngineMoment};
use super::figures::cells;
use super::palette::{Palette, Role};
use crate::view::snapshot::SnapshotEngine;
use crate::view::text::{percent, thousands};

/// Width of the names on the left.
const NAMES: u16 = 7;

/// The window's seconds as one bar, and its legend below.
pub(super) fn draw_time(
    engine: &SnapshotEngine,
    palette: Palette,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let shares = engine.shares();
    if shares.is_empty() {
        let why = "time   not known: it takes model and GPU";
        frame.render_widget(Line::styled(why, palette.style(Role::Faint)), area);
        return;
    }
    let width = usize::from(area.width.saturating_sub(NAMES));
    let mut bar = vec![Span::raw(format!("{:<7}", "time"))];
    let mut legend = vec![Span::raw(" ".repeat(NAMES.into()))];
    // Cells follow the cumulative shares, so that they fill the bar exactly.
    let (mut sum, mut drawn) = (0.0, 0);
    for (name, share) in shares {
        sum += share;
        let end = cells(sum, width);
        let style = palette.style(Role::Component(name));
        bar.push(Span::styled(fill(name).repeat(end - drawn), style));
        legend.push(Span::styled(
            format!("{} {name} {}  ", fill(name), percent(share)),
            style,
        ));
        drawn = end;
    }
    let lines = [Line::from(bar), Line::from(legend)];
    for (line, row) in lines.into_iter().zip(area.rows()) {
        frame.render_widget(line, row);
    }
}

/// The character of a component: distinguishable without colours.
fn fill(component: &str) -> &'static str {
    match component {
        "memory" => "█",
        "compute" => "▓",
        "communication" => "▞",
        "host" => "▒",
        "kernel_latency" => "▚",
        "overhead" => "░",
        "stalled" => "!",
        _ => "·",
    }
}

/// Throughput over time, and the bound at each time below.
pub(super) fn draw_past(
    app: &App,
    engine: &SnapshotEngine,
    palette: Palette,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let [names, plot] =
        Layout::horizontal([Constraint::Length(NAMES), Constraint::Fill(1)]).areas(area);
    let [line, strip] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(plot);
    let all = app.history(engine);
    let skipped = all.len().saturating_sub(plot.width.into());
    let moments: Vec<&EngineMoment> = all.skip(skipped).collect();
    let rates: Vec<Option<u64>> = moments
        .iter()
        .map(|moment| moment.rate.map(whole))
        .collect();
    let highest = moments
        .iter()
        .filter_map(|moment| moment.rate)
        .fold(0.0, f64::max);
    let sparkline = Sparkline::default()
        .data(rates)
        .style(palette.style(Role::Decode));
    frame.render_widget(sparkline, line);
    let letters: Vec<Span<'_>> = moments.iter().map(|m| letter(&m.bound, palette)).collect();
    frame.render_widget(Line::from(letters), strip);
    let mut rows = names.rows();
    if let Some(row) = rows.next() {
        frame.render_widget("tok/s", row);
    }
    if let Some(row) = rows.next().filter(|_| area.height > 2) {
        let most = format!("≤{}", compact(highest));
        frame.render_widget(Line::styled(most, palette.style(Role::Faint)), row);
    }
    if let Some(row) = names.rows().next_back().filter(|_| area.height > 1) {
        frame.render_widget("bound", row);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate of tokens is far below 2^64 and not negative"
)]
fn whole(rate: f64) -> u64 {
    rate.max(0.0).round() as u64
}

fn compact(rate: f64) -> String {
    if rate < 10_000.0 {
        thousands(rate)
    } else {
        crate::view::text::si(rate)
    }
}

/// The letter of each bound in the history, and its colour.
pub(super) const LETTERS: [(&str, &str, &str); 8] = [
    ("compute", "C", "compute"),
    ("memory_bandwidth", "M", "memory"),
    ("interconnect", "I", "communication"),
    ("host", "H", "host"),
    ("kernel_latency", "K", "kernel_latency"),
    ("overhead", "O", "overhead"),
    ("idle", "·", "idle"),
    ("unknown", "?", "idle"),
];

fn letter(bound: &str, palette: Palette) -> Span<'static> {
    let known = LETTERS.iter().find(|(name, _, _)| *name == bound);
    let (_, letter, component) = known.unwrap_or(&LETTERS[7]);
    Span::styled(*letter, palette.style(Role::Component(component)))
}
