//! The terminal of `top`: redraws on updates, and handles keys.

use std::io::Write;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use anyhow::Context;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::top::app::{Action, App};
use crate::top::palette::Palette;
use crate::top::screen;
use crate::view::snapshot::SnapshotView;
use crate::view::text::{clock, thousands};

use super::feed::Update;

/// Poll interval of keys and updates.
const LOOK: Duration = Duration::from_millis(100);

/// Shows `updates` until a key or a signal ends it.
///
/// # Errors
/// A terminal that cannot be used.
pub(super) fn show(updates: &Receiver<Update>, palette: Palette) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init().context("cannot use this terminal; try --once")?;
    let shown = watch(updates, palette, &mut terminal);
    ratatui::restore();
    shown
}

fn watch(
    updates: &Receiver<Update>,
    palette: Palette,
    terminal: &mut DefaultTerminal,
) -> anyhow::Result<()> {
    let mut app = App::default();
    let mut stale = true;
    loop {
        loop {
            match updates.try_recv() {
                Ok(Update::Answer(answer)) => app.take(*answer),
                Ok(Update::Stop) | Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => break,
            }
            stale = true;
        }
        if stale {
            terminal.draw(|frame| screen::draw(&app, palette, frame))?;
        }
        stale = event::poll(LOOK)?;
        if !stale {
            continue;
        }
        if let Event::Key(key) = event::read()? {
            match action(key) {
                Some(Action::Quit) => return Ok(()),
                Some(Action::Export) => app.notice = Some(export(app.shown.as_ref())),
                Some(action) => app.act(action),
                None => {}
            }
        }
    }
}

/// The action of `key`.
fn action(key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Action::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Action::Quit),
        KeyCode::Char('h' | '?') | KeyCode::F(1) => Some(Action::Help),
        KeyCode::Char('p' | ' ') => Some(Action::Pause),
        KeyCode::Char('e') => Some(Action::Export),
        KeyCode::Char('s') => Some(Action::Sort),
        KeyCode::Down | KeyCode::Char('j') => Some(Action::Down),
        KeyCode::Up | KeyCode::Char('k') => Some(Action::Up),
        _ => None,
    }
}

/// Writes the shown snapshot to a file in the working directory, and reports its name.
fn export(shown: Option<&SnapshotView>) -> String {
    let Some(snapshot) = shown else {
        return "nothing to export yet".to_owned();
    };
    let name = format!("vllm-roofline-{:.0}.json", snapshot.time);
    let written = serde_json::to_vec_pretty(snapshot)
        .map_err(std::io::Error::from)
        .and_then(|text| std::fs::write(&name, text));
    match written {
        Ok(()) => format!("wrote {name}"),
        Err(error) => format!("cannot write {name}: {error}"),
    }
}

/// Prints a line per engine and answer, for terminals that cannot be drawn on.
///
/// # Errors
/// When writing to `out` fails.
pub(super) fn lines(updates: &Receiver<Update>, out: &mut impl Write) -> anyhow::Result<()> {
    while let Ok(Update::Answer(answer)) = updates.recv() {
        match *answer {
            Err(problem) => writeln!(out, "{problem}")?,
            Ok(snapshot) => {
                for engine in &snapshot.engines {
                    let rate = engine.rate().map_or_else(|| "–".to_owned(), thousands);
                    let finding = engine.headline();
                    let (time, name) = (clock(snapshot.time), engine.name());
                    writeln!(out, "{time}  {name}  {rate} tok/s  {finding}")?;
                }
            }
        }
        out.flush()?;
    }
    Ok(())
}
