//! The screen: from 80×24 up, drawn from top to bottom.

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::app::App;
use super::palette::{Palette, Role};
use super::{figures, headline, history, list, roofline};
use crate::view::snapshot::{SnapshotEngine, SnapshotView};
use crate::view::text::{clock, fit};

/// Width of the figures beside the chart.
const FIGURES: u16 = 34;
/// Lines of the list of engines, its header included, at most a quarter of the screen.
const LIST: u16 = 12;

/// Draws the state of `app`.
pub fn draw(app: &App, palette: Palette, frame: &mut Frame<'_>) {
    let area = frame.area();
    let engines = u16::try_from(app.engines().len()).unwrap_or(u16::MAX);
    let list_height = if engines > 1 {
        (engines.saturating_add(1)).min(LIST).min(area.height / 4)
    } else {
        0
    };
    let most = usize::from(area.height.saturating_sub(21)).clamp(3, 12);
    let headline = headline::lines(app, palette, area.width.into(), most);
    let headline_height = u16::try_from(headline.len()).unwrap_or(1);
    let past = if area.height >= 40 { 5 } else { 3 };
    let [title, list, verdict, body, time, before, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(list_height),
        Constraint::Length(headline_height),
        Constraint::Fill(1),
        Constraint::Length(2),
        Constraint::Length(past),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_title(app, palette, frame, title);
    if list_height > 0 {
        list::draw(app, palette, frame, list);
    }
    frame.render_widget(Text::from(headline), verdict);
    if let Some((engine, snapshot)) = app.engine().zip(app.shown.as_ref()) {
        draw_body(engine, snapshot, palette, frame, body);
        history::draw_time(engine, palette, frame, time);
        history::draw_past(app, engine, palette, frame, before);
    }
    draw_footer(app, palette, frame, footer);
    if app.help {
        draw_help(frame, area);
    }
}

/// The screen of `width` × `height` as lines of text, without colours.
#[must_use]
pub fn text(app: &App, width: u16, height: u16) -> Vec<String> {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| draw(app, Palette::Plain, frame));
    let buffer = terminal.backend().buffer();
    let row = |y| -> String {
        let cells = (0..width).filter_map(|x| buffer.cell((x, y)));
        cells.map(ratatui::buffer::Cell::symbol).collect()
    };
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

fn draw_title(app: &App, palette: Palette, frame: &mut Frame<'_>, area: Rect) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let faint = palette.style(Role::Faint);
    let Some(snapshot) = &app.shown else {
        frame.render_widget(Line::styled("vllm-roofline-exporter top", bold), area);
        return;
    };
    let engine = app.engine();
    let model = engine.map_or_else(String::new, |engine| engine.model_name.clone());
    let target = engine
        .and_then(|engine| engine.target.as_ref())
        .unwrap_or(&snapshot.vllm_url);
    let right = format!(
        "{}{} UTC",
        if app.paused { "paused  " } else { "" },
        clock(snapshot.time)
    );
    let left = [model, hardware(engine, snapshot), target.clone()];
    let left: Vec<_> = left.into_iter().filter(|part| !part.is_empty()).collect();
    let room = usize::from(area.width).saturating_sub(right.chars().count() + 2);
    let [left_area, right_area] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width(&right))]).areas(area);
    frame.render_widget(Line::styled(fit(&left.join(" · "), room), bold), left_area);
    frame.render_widget(Line::styled(right, faint), right_area);
}

fn width(text: &str) -> u16 {
    u16::try_from(text.chars().count()).unwrap_or(u16::MAX)
}

/// The GPUs of `engine`: `2 × NVIDIA H100 80GB HBM3`.
fn hardware(engine: Option<&SnapshotEngine>, snapshot: &SnapshotView) -> String {
    let own = |uuid: &String| engine.is_some_and(|engine| engine.gpus.contains(uuid));
    let names: Vec<_> = snapshot
        .gpus
        .iter()
        .filter(|gpu| own(&gpu.uuid))
        .map(|gpu| gpu.name.trim_start_matches("NVIDIA "))
        .collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first, ..] => format!("{} × {first}", names.len()),
    }
}

fn draw_body(
    engine: &SnapshotEngine,
    snapshot: &SnapshotView,
    palette: Palette,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let [chart, _, beside] = Layout::horizontal([
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(FIGURES),
    ])
    .areas(area);
    roofline::draw(engine, palette, frame, chart);
    let mut lines = figures::lines(engine, snapshot, palette);
    let caveats = engine.window.iter().flat_map(|window| &window.caveats);
    lines.extend(caveats.flat_map(|caveat| {
        crate::view::text::wrap(caveat, FIGURES.into())
            .into_iter()
            .map(|line| Line::styled(line, palette.style(Role::Faint)))
    }));
    frame.render_widget(Text::from(lines), beside);
}

fn draw_footer(app: &App, palette: Palette, frame: &mut Frame<'_>, area: Rect) {
    let failing = app.shown.iter().flat_map(|snapshot| &snapshot.sources);
    let failing = failing
        .filter(|source| source.success == Some(false))
        .find_map(|source| source.error.as_ref());
    let width = usize::from(area.width);
    let (text, style) = match (&app.problem, &app.notice, failing) {
        (Some(problem), _, _) => (problem.as_str(), palette.style(Role::Bad)),
        (None, Some(notice), _) => (notice.as_str(), Style::new()),
        (None, None, Some(error)) => (error.as_str(), palette.style(Role::Bad)),
        (None, None, None) => {
            frame.render_widget(keys(app, palette), area);
            return;
        }
    };
    frame.render_widget(Line::styled(fit(text, width), style), area);
}

fn keys(app: &App, palette: Palette) -> Line<'static> {
    let faint = palette.style(Role::Faint);
    let hold = if app.paused { "go on" } else { "pause" };
    let mut keys = vec![("q", "quit"), ("h", "help"), ("p", hold), ("e", "export")];
    if app.engines().len() > 1 {
        keys.extend([("s", "sort"), ("↑↓", "select")]);
    }
    let mut spans = Vec::new();
    for (key, what) in keys {
        spans.push(Span::styled(key, Style::new().add_modifier(Modifier::BOLD)));
        spans.push(Span::styled(format!(" {what}   "), faint));
    }
    spans.push(Span::styled("~ modelled, else measured", faint));
    Line::from(spans)
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let letters: Vec<_> = history::LETTERS
        .iter()
        .map(|(bound, letter, _)| format!("{letter} {bound}"))
        .collect();
    let text = format!(
        "q       quit\n\
         h, ?    this help\n\
         p       hold the screen; history goes on\n\
         e       write the snapshot to a JSON file here\n\
         s       sort engines by waste, tok/s, queue, name\n\
         ↑ ↓     select an engine\n\n\
         ~ is modelled, what has none is measured.\n\
         Roofs: data sheet, attainable, current clock.\n\
         Bounds: {}\n        {}",
        letters[..4].join(", "),
        letters[4..].join(", "),
    );
    let height = u16::try_from(text.lines().count() + 2).unwrap_or(12);
    let width = 68.min(area.width);
    let place = Rect {
        x: (area.width - width) / 2,
        y: area.height.saturating_sub(height) / 2,
        width,
        height: height.min(area.height),
    };
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(" help, h closes it ");
    frame.render_widget(Paragraph::new(text).block(block), place);
}
