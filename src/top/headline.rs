//! The verdict as the headline: what holds the engine back, and what to do about it.

use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use super::app::App;
use super::palette::{Palette, Role};
use crate::view::text::wrap;

/// The headline in at most `most` lines of `width`: the first finding, then its best remedies, then the evidence.
pub(super) fn lines(app: &App, palette: Palette, width: usize, most: usize) -> Vec<Line<'static>> {
    let Some(engine) = app.engine() else {
        return nothing(app, palette, width, most);
    };
    let [first, others @ ..] = engine.findings() else {
        return block("", engine.headline(), width, bold(palette, Role::Good));
    };
    let mut lines = block(
        "",
        &first.finding,
        width,
        bold(palette, severity(&first.severity)),
    );
    let remedies = if most < 6 { 1 } else { 3 };
    for remedy in first.remedies.iter().take(remedies) {
        let effect = remedy.effect(engine.rate());
        let joint = if effect.is_empty() {
            ""
        } else {
            " — predicted "
        };
        let text = format!("{}{joint}{effect}", remedy.r#do);
        lines.extend(block("→ ", &text, width, Style::new()));
    }
    let faint = palette.style(Role::Faint);
    for evidence in &first.evidence {
        lines.extend(block("· ", evidence, width, faint));
    }
    for other in others {
        let style = palette.style(severity(&other.severity));
        lines.extend(block("", &other.finding, width, style));
    }
    lines.truncate(most);
    lines
}

/// The text before the first answer, or for a vLLM without engines.
fn nothing(app: &App, palette: Palette, width: usize, most: usize) -> Vec<Line<'static>> {
    let sources = app.shown.iter().flat_map(|snapshot| &snapshot.sources);
    let failed = sources
        .clone()
        .find_map(|source| source.error.as_ref())
        .or(app.problem.as_ref());
    let mut lines = match failed {
        Some(problem) => block("", problem, width, bold(palette, Role::Bad)),
        None => block("", "waiting for the first answer", width, Style::new()),
    };
    lines.truncate(most);
    lines
}

/// The style of a finding of `severity`.
pub(super) fn severity(severity: &str) -> Role {
    match severity {
        "critical" => Role::Bad,
        "warning" => Role::Warning,
        _ => Role::Good,
    }
}

fn bold(palette: Palette, role: Role) -> Style {
    palette.style(role).add_modifier(Modifier::BOLD)
}

/// `text` in lines, the first after `mark` and the others aligned below its text.
fn block(mark: &str, text: &str, width: usize, style: Style) -> Vec<Line<'static>> {
    let indent = mark.chars().count();
    let room = width.saturating_sub(indent).max(10);
    let mark_or_blank = |place| {
        if place == 0 {
            mark.to_owned()
        } else {
            " ".repeat(indent)
        }
    };
    wrap(text, room)
        .into_iter()
        .enumerate()
        .map(|(place, line)| Line::styled(mark_or_blank(place) + &line, style))
        .collect()
}
