//! The state of the screen besides the newest snapshot: history, selection, effects of keys. No clock, no terminal.

use std::collections::{BTreeMap, VecDeque};

use crate::view::snapshot::{SnapshotEngine, SnapshotView};

/// Points of history kept per engine.
const HISTORY: usize = 600;

/// The state of an engine at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineMoment {
    /// Output tokens per second.
    pub rate: Option<f64>,
    /// Its bound.
    pub bound: String,
}

/// The order of the list of engines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The largest waste first.
    #[default]
    Waste,
    /// The fastest first.
    Rate,
    /// The longest queue first.
    Queue,
    /// By name.
    Name,
}

impl Order {
    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Waste => Self::Rate,
            Self::Rate => Self::Queue,
            Self::Queue => Self::Name,
            Self::Name => Self::Waste,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waste => "waste",
            Self::Rate => "tok/s",
            Self::Queue => "queue",
            Self::Name => "name",
        }
    }
}

/// The action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Shows the help, or hides it.
    Help,
    /// Pauses or resumes the screen.
    Pause,
    /// Writes the snapshot to a file.
    Export,
    /// Lists engines in another order.
    Sort,
    /// Selects the next engine.
    Down,
    /// Selects the one before.
    Up,
    /// Ends.
    Quit,
}

/// The state of the screen.
#[derive(Debug, Default)]
pub struct App {
    /// The shown snapshot; `None` before the first answer.
    pub shown: Option<SnapshotView>,
    /// Why there is no newer snapshot, if that is so.
    pub problem: Option<String>,
    /// A message about the last key.
    pub notice: Option<String>,
    /// Whether the screen is paused.
    pub paused: bool,
    /// Whether the help is shown.
    pub help: bool,
    /// The order of the list.
    pub order: Order,
    selected: Option<String>,
    history: BTreeMap<String, VecDeque<EngineMoment>>,
}

impl App {
    /// Takes the newest answer of the source. History continues while the screen is paused.
    pub fn take(&mut self, answer: Result<SnapshotView, String>) {
        let snapshot = match answer {
            Ok(snapshot) => snapshot,
            Err(problem) => {
                self.problem = Some(problem);
                return;
            }
        };
        self.problem = None;
        for engine in &snapshot.engines {
            let moments = self.history.entry(engine.name()).or_default();
            moments.push_back(EngineMoment {
                rate: engine.rate(),
                bound: engine.bound.clone(),
            });
            if moments.len() > HISTORY {
                moments.pop_front();
            }
        }
        if !self.paused {
            self.shown = Some(snapshot);
        }
    }

    /// The engines in the order of the list.
    #[must_use]
    pub fn engines(&self) -> Vec<&SnapshotEngine> {
        let mut engines: Vec<&SnapshotEngine> =
            self.shown.iter().flat_map(|s| &s.engines).collect();
        engines.sort_by_key(|engine| engine.name());
        let most_first = |of: fn(&SnapshotEngine) -> Option<f64>| {
            move |a: &&SnapshotEngine, b: &&SnapshotEngine| {
                let value = |engine| of(engine).unwrap_or(f64::NEG_INFINITY);
                value(b).total_cmp(&value(a))
            }
        };
        match self.order {
            Order::Waste => engines.sort_by(most_first(SnapshotEngine::waste)),
            Order::Rate => engines.sort_by(most_first(SnapshotEngine::rate)),
            Order::Queue => engines.sort_by(most_first(SnapshotEngine::waiting)),
            Order::Name => {}
        }
        engines
    }

    /// The engine shown in detail: the selected one, otherwise the first of the list.
    #[must_use]
    pub fn engine(&self) -> Option<&SnapshotEngine> {
        let engines = self.engines();
        let selected = engines
            .iter()
            .find(|engine| Some(engine.name()) == self.selected);
        selected.or(engines.first()).copied()
    }

    /// The history of `engine`, oldest first.
    pub fn history(&self, engine: &SnapshotEngine) -> impl ExactSizeIterator<Item = &EngineMoment> {
        static NONE: VecDeque<EngineMoment> = VecDeque::new();
        self.history.get(&engine.name()).unwrap_or(&NONE).iter()
    }

    /// Applies an action, as far as it affects only the screen.
    pub(crate) fn act(&mut self, action: Action) {
        self.notice = None;
        match action {
            Action::Help => self.help = !self.help,
            Action::Pause => self.paused = !self.paused,
            Action::Sort => {
                self.order = self.order.next();
                self.notice = Some(format!("sorted by {}", self.order.as_str()));
            }
            Action::Down => self.select(1),
            Action::Up => self.select(-1),
            Action::Export | Action::Quit => {}
        }
    }

    fn select(&mut self, step: isize) {
        let names: Vec<_> = self.engines().iter().map(|engine| engine.name()).collect();
        let Some(current) = self.engine().map(SnapshotEngine::name) else {
            return;
        };
        let place = names.iter().position(|name| *name == current).unwrap_or(0);
        let place = place
            .saturating_add_signed(step)
            .min(names.len().saturating_sub(1));
        self.selected = names.get(place).cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(engines: &[(&str, f64, f64)]) -> SnapshotView {
        let engines: Vec<_> = engines
            .iter()
            .map(|(name, rate, idle)| {
                serde_json::json!({
                    "model_name": name, "engine": "0", "bound": "idle",
                    "window": {"output_tokens_per_second": rate, "time_seconds": {"memory": 10.0 - idle, "idle": idle, "host": null}},
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({"schema": 1, "engines": engines})).unwrap()
    }

    fn names(app: &App) -> Vec<&str> {
        let engines = app.engines();
        engines.iter().map(|e| e.model_name.as_str()).collect()
    }

    #[test]
    fn engines_are_listed_by_waste_and_the_selection_stays_with_its_engine() {
        let mut app = App::default();
        app.take(Ok(snapshot(&[("a", 5.0, 1.0), ("b", 1.0, 9.0)])));
        assert_eq!(names(&app), ["b", "a"]);
        assert_eq!(app.engine().unwrap().model_name, "b");
        app.act(Action::Down);
        assert_eq!(app.engine().unwrap().model_name, "a");
        app.act(Action::Down);
        assert_eq!(app.engine().unwrap().model_name, "a");
        app.act(Action::Sort);
        assert_eq!(names(&app), ["a", "b"]);
        assert_eq!(app.engine().unwrap().model_name, "a");
        app.act(Action::Up);
        assert_eq!(app.engine().unwrap().model_name, "a");
    }

    #[test]
    fn a_held_screen_stays_and_its_history_goes_on() {
        let mut app = App::default();
        app.take(Ok(snapshot(&[("a", 1.0, 0.0)])));
        app.act(Action::Pause);
        app.take(Ok(snapshot(&[("a", 2.0, 0.0)])));
        assert_eq!(app.engine().unwrap().rate(), Some(1.0));
        assert_eq!(app.history(app.engine().unwrap()).len(), 2);
        app.act(Action::Pause);
        app.take(Ok(snapshot(&[("a", 3.0, 0.0)])));
        assert_eq!(app.engine().unwrap().rate(), Some(3.0));
    }

    #[test]
    fn a_failure_keeps_what_is_shown_and_says_so() {
        let mut app = App::default();
        app.take(Ok(snapshot(&[("a", 1.0, 0.0)])));
        app.take(Err("connection refused".to_owned()));
        assert!(app.engine().is_some());
        assert_eq!(app.problem.as_deref(), Some("connection refused"));
        app.take(Ok(snapshot(&[])));
        assert_eq!(app.problem, None);
        assert!(app.engine().is_none());
    }
}
