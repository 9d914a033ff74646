//! The effect of an event: the figures of the minutes before and after it, and which of them changed by more than noise.

use roofline::statistics::Mean;
use roofline::units::{Seconds, ratio};
use serde::Serialize;

use super::event::{Event, EventKind};
use super::history::{History, HistoryPoint};

/// Length of the compared time before and after an event.
const SPAN: Seconds = Seconds(300.0);
/// Time after an event until the trailing window no longer contains earlier time.
const SETTLING: Seconds = Seconds(10.0);
/// Minimum number of values on either side.
const LEAST: usize = 3;
/// Smaller changes have no practical effect, however certain they are.
const LEAST_CHANGE: f64 = 0.01;

/// An event with its effect.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BeforeAfter {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// The figures before and after; empty until there are enough values on both sides.
    pub figures: Vec<Moved>,
}

/// A figure before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// Name of the figure in the history.
    pub figure: &'static str,
    /// Its mean before.
    pub before: f64,
    /// Half-width of its 95 % interval.
    pub before_plus_minus: f64,
    /// Its mean after.
    pub after: f64,
    /// Half-width of its 95 % interval.
    pub after_plus_minus: f64,
    /// What the change means.
    pub outcome: ChangeOutcome,
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// Better for users.
    Better,
    /// Worse for users.
    Worse,
    /// Changed, neither better nor worse by itself.
    Moved,
    /// Within noise.
    WithinNoise,
}

impl ChangeOutcome {
    /// Label on the page.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Moved => "moved",
            Self::WithinNoise => "within noise",
        }
    }
}

/// A figure of the history, and whether a higher value is better for users; `None` for neither.
type HistoryFigure = (&'static str, fn(&HistoryPoint) -> Option<f32>, Option<bool>);

const FIGURES: [HistoryFigure; 7] = [
    (
        "output_tokens_per_second",
        |point| point.output_tokens_per_second,
        Some(true),
    ),
    (
        "ttft_mean_seconds",
        |point| point.ttft_mean_seconds,
        Some(false),
    ),
    (
        "tpot_mean_seconds",
        |point| point.tpot_mean_seconds,
        Some(false),
    ),
    ("kv_cache_usage", |point| point.kv_cache_usage, None),
    ("running", |point| point.running, None),
    ("waiting", |point| point.waiting, Some(false)),
    ("power_watts", |point| point.power_watts, None),
];

/// `events`, oldest first, each with its effect according to `history`.
pub(super) fn compared<'a>(
    history: &History,
    events: impl Iterator<Item = &'a Event>,
) -> Vec<BeforeAfter> {
    let events: Vec<&Event> = events.collect();
    let compare = |(place, event): (usize, &&Event)| {
        let previous = place.checked_sub(1).map(|before| events[before].time);
        let next = events.get(place + 1).map(|next| next.time);
        let start = (event.time - SPAN).max(previous.map_or(Seconds::ZERO, settled));
        let end = (event.time + SPAN).min(next.unwrap_or(Seconds(f64::INFINITY)));
        let before = busy(history, start, event.time - SETTLING * 0.5);
        let after = busy(history, settled(event.time), end);
        BeforeAfter {
            event: (*event).clone(),
            figures: FIGURES
                .iter()
                .filter_map(|figure| moved(figure, &before, &after))
                .collect(),
        }
    };
    events.iter().enumerate().map(compare).collect()
}

/// The time from which the window contains only time after `event`.
fn settled(event: Seconds) -> Seconds {
    event + SETTLING
}

/// Points of `from..to` with requests running, every second one, because windows overlap.
fn busy(history: &History, from: Seconds, to: Seconds) -> Vec<HistoryPoint> {
    let inside = |point: &&HistoryPoint| point.time >= from && point.time < to;
    let running = |point: &&HistoryPoint| point.running.is_some_and(|running| running > 0.0);
    let points = history.points().filter(inside).filter(running);
    points.step_by(2).copied().collect()
}

fn moved(
    (figure, pick, more_is_better): &HistoryFigure,
    before: &[HistoryPoint],
    after: &[HistoryPoint],
) -> Option<Moved> {
    let mean = |points: &[HistoryPoint]| {
        let values: Vec<f64> = points.iter().filter_map(pick).map(f64::from).collect();
        Mean::of(&values).filter(|_| values.len() >= LEAST)
    };
    let (before, after) = (mean(before)?, mean(after)?);
    let change = after.value - before.value;
    let noise = before.plus_minus.hypot(after.plus_minus);
    let large = ratio(change.abs(), before.value.abs()).is_none_or(|share| share >= LEAST_CHANGE);
    let outcome = if change.abs() <= noise || !large {
        ChangeOutcome::WithinNoise
    } else {
        match more_is_better {
            None => ChangeOutcome::Moved,
            Some(more) if (change > 0.0) == *more => ChangeOutcome::Better,
            Some(_) => ChangeOutcome::Worse,
        }
    };
    Some(Moved {
        figure,
        before: before.value,
        before_plus_minus: before.plus_minus,
        after: after.value,
        after_plus_minus: after.plus_minus,
        outcome,
    })
}

impl BeforeAfter {
    /// The event and its effect as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let changed = self.event.changed.iter();
        let changed: Vec<String> = changed
            .map(|change| format!("{} {} → {}", change.setting, change.before, change.after))
            .collect();
        match (self.event.kind, changed.is_empty()) {
            (EventKind::Restart, true) => {
                format!("{}, deployed as before", self.event.kind.as_str())
            }
            (kind, _) => format!("{}: {}", kind.as_str(), changed.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roofline::bound::Bound;

    /// A point of a load of about `rate` tokens per second.
    fn point(time: f64, rate: f32) -> HistoryPoint {
        let unevenness = if (time / 5.0) % 3.0 < 1.0 { 0.98 } else { 1.01 };
        HistoryPoint {
            output_tokens_per_second: Some(rate * unevenness),
            tpot_mean_seconds: Some(8.0 / rate),
            running: Some(8.0),
            ..HistoryPoint::at(Seconds(time), Bound::MemoryBandwidth)
        }
    }

    fn figures(rate: impl Fn(f64) -> f32, until: f64) -> Vec<(&'static str, ChangeOutcome)> {
        let mut history = History::default();
        let mut time = 0.0;
        while time < until {
            history.push(point(time, rate(time)), Seconds(5.0));
            time += 5.0;
        }
        let event = Event {
            time: Seconds(600.0),
            kind: EventKind::Restart,
            changed: Vec::new(),
        };
        let [found] = compared(&history, std::iter::once(&event))
            .try_into()
            .unwrap();
        let figures = found.figures.iter();
        figures.map(|moved| (moved.figure, moved.outcome)).collect()
    }

    #[test]
    fn what_moved_by_more_than_noise_is_told() {
        let faster = figures(|time| if time < 600.0 { 1000.0 } else { 1500.0 }, 900.0);
        assert_eq!(
            faster,
            [
                ("output_tokens_per_second", ChangeOutcome::Better),
                ("tpot_mean_seconds", ChangeOutcome::Better),
                ("running", ChangeOutcome::WithinNoise),
            ]
        );
        let slower = figures(|time| if time < 600.0 { 1000.0 } else { 700.0 }, 900.0);
        assert_eq!(
            slower[0],
            ("output_tokens_per_second", ChangeOutcome::Worse)
        );
        let same = figures(|_| 1000.0, 900.0);
        assert_eq!(
            same[0],
            ("output_tokens_per_second", ChangeOutcome::WithinNoise)
        );
    }

    #[test]
    fn before_there_is_enough_nothing_is_told() {
        assert_eq!(figures(|_| 1000.0, 615.0), []);
    }
}
