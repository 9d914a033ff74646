//! The events of the last hour, and their effects.

use crate::snapshot::before_after::{BeforeAfter, ChangeOutcome, Moved};
use crate::view::text::clock;

use super::figures::duration;

/// An event, ready for display.
pub(super) struct EventView {
    pub(super) time: String,
    pub(super) sentence: String,
    pub(super) figures: Vec<MovedView>,
}

/// A figure before and after the event.
pub(super) struct MovedView {
    pub(super) name: &'static str,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) outcome: &'static str,
    pub(super) class: &'static str,
}

/// The events, newest first.
pub(super) fn views(events: &[BeforeAfter]) -> Vec<EventView> {
    let view = |happened: &BeforeAfter| EventView {
        time: clock(happened.event.time.0),
        sentence: happened.sentence(),
        figures: happened.figures.iter().map(moved).collect(),
    };
    events.iter().rev().map(view).collect()
}

fn moved(moved: &Moved) -> MovedView {
    let rate = |value: f64| format!("{value:.0}");
    let percent = |value: f64| format!("{:.0} %", value * 100.0);
    let watts = |value: f64| format!("{value:.0} W");
    let (name, show): (&'static str, &dyn Fn(f64) -> String) = match moved.figure {
        "output_tokens_per_second" => ("output tok/s", &rate),
        "ttft_mean_seconds" => ("TTFT mean", &duration),
        "tpot_mean_seconds" => ("TPOT mean", &duration),
        "kv_cache_usage" => ("KV cache used", &percent),
        "power_watts" => ("power", &watts),
        other => (other, &rate),
    };
    let with_noise = |value, noise| format!("{} ± {}", show(value), show(noise));
    MovedView {
        name,
        before: with_noise(moved.before, moved.before_plus_minus),
        after: with_noise(moved.after, moved.after_plus_minus),
        outcome: moved.outcome.as_str(),
        class: match moved.outcome {
            ChangeOutcome::Better => "good",
            ChangeOutcome::Worse => "bad",
            ChangeOutcome::Moved => "",
            ChangeOutcome::WithinNoise => "soft",
        },
    }
}
