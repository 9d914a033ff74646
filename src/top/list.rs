//! The list of several engines, one line each.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Text;
use ratatui::widgets::{Row, Table, TableState};

use super::app::{App, Order};
use super::headline::severity;
use super::palette::{Palette, Role};
use crate::view::snapshot::SnapshotEngine;
use crate::view::text::thousands;

/// Draws the engines in the order that `app` lists them.
pub(super) fn draw(app: &App, palette: Palette, frame: &mut Frame<'_>, area: Rect) {
    let engines = app.engines();
    let current = app.engine().map(SnapshotEngine::name);
    let selected = engines
        .iter()
        .position(|engine| Some(engine.name()) == current);
    let name = |title: &str, order: Order| {
        let mark = if app.order == order { "▾" } else { "" };
        format!("{title}{mark}")
    };
    let header = Row::new([
        name("engine", Order::Name),
        "bound".to_owned(),
        name("tok/s", Order::Rate),
        name("wait", Order::Queue),
        name("waste", Order::Waste),
    ]);
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(16),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(7),
    ];
    let table = Table::new(engines.iter().map(|engine| row(engine, palette)), widths)
        .header(header.style(palette.style(Role::Faint)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
}

fn row(engine: &SnapshotEngine, palette: Palette) -> Row<'static> {
    let number = |value: Option<f64>, unit: &str| {
        let text = value.map_or_else(|| "–".to_owned(), |value| thousands(value) + unit);
        Text::from(text).right_aligned()
    };
    let role = engine
        .findings()
        .first()
        .map_or(Role::Faint, |finding| severity(&finding.severity));
    let state = match engine.engine_state.as_str() {
        "running" | "idle" => engine.bound.clone(),
        state => state.to_owned(),
    };
    Row::new([
        Text::from(engine.name()),
        Text::styled(state, palette.style(role)),
        number(engine.rate(), ""),
        number(engine.waiting(), ""),
        number(engine.waste().map(|share| share * 100.0), " %"),
    ])
}
