//! The verdict as the headline: what holds the engine back, and what to do about it.

use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use super::app::App;
use super::palette::{Palette, Role};
use super::snapshot::{Effect, Engine, Remedy};
use super::text::{duration, thousands, wrap};

/// The headline in at most `most` lines of `width`: the first finding, then its best remedies, then what says so.
pub(super) fn lines(app: &App, palette: Palette, width: usize, most: usize) -> Vec<Line<'static>> {
    let Some(engine) = app.engine() else {
        return nothing(app, palette, width, most);
    };
    let Some(first) = engine.finding() else {
        let sentence = without_verdict(engine);
        return block("", sentence, width, bold(palette, severity("info")));
    };
    let role = severity(&first.severity);
    let mut lines = block("", &first.finding, width, bold(palette, role));
    let remedies = if most < 6 { 1 } else { 3 };
    for remedy in first.remedies.iter().take(remedies) {
        let text = format!("{}{}", remedy.r#do, effect(remedy, engine));
        lines.extend(block("→ ", &text, width, Style::new()));
    }
    let faint = palette.style(Role::Faint);
    for evidence in &first.evidence {
        lines.extend(block("· ", evidence, width, faint));
    }
    let others = engine.window.iter().flat_map(|window| &window.verdict);
    for other in others.skip(1) {
        let style = palette.style(severity(&other.severity));
        lines.extend(block("", &other.finding, width, style));
    }
    lines.truncate(most);
    lines
}

/// Before the first answer, or beside a vLLM that shows no engine.
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

/// What an exporter says that knows of no verdict.
fn without_verdict(engine: &Engine) -> &'static str {
    match (engine.engine_state.as_str(), engine.bound.as_str()) {
        ("unreachable", _) => "vLLM's metrics cannot be read: nothing here is current.",
        ("stalled", _) => "Requests are in the engine and nothing moves: look at vLLM's log.",
        ("sleeping", _) => "The engine sleeps: its weights are off the GPU.",
        (_, "idle") => "No request is running.",
        (_, "compute") => "The tensor cores are the limit.",
        (_, "memory_bandwidth") => "HBM bandwidth is the limit.",
        (_, "interconnect") => "The links between the GPUs are the limit.",
        (_, "host") => "The GPU waits for the host.",
        (_, "kernel_latency" | "overhead") => "The roofline does not explain most of busy time.",
        _ => "Not enough is known or measured yet to name the bound.",
    }
}

/// What the predictor says of a remedy, beside what is measured now.
fn effect(remedy: &Remedy, engine: &Engine) -> String {
    let Effect {
        output_tokens_per_second,
        ttft_seconds,
        tpot_seconds,
    } = remedy.predicted;
    let gain = output_tokens_per_second.map(|rate| {
        let change = engine.rate().filter(|now| *now > 0.0);
        let change = change.map(|now| format!(" ({:+.0} %)", (rate / now - 1.0) * 100.0));
        format!("{} tok/s{}", thousands(rate), change.unwrap_or_default())
    });
    let latency = |name: &str, value: Option<f64>| value.map(|v| format!("{name} {}", duration(v)));
    let parts: Vec<_> = [
        gain,
        latency("TTFT", ttft_seconds),
        latency("TPOT", tpot_seconds),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(" — predicted {}", parts.join(", "))
    }
}

/// How a finding of `severity` looks.
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

/// `text` in lines, the first behind `mark` and the others below its text.
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
