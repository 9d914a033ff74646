//! Plays the pages of a capture in a loop, as the server that was recorded would have shown them.
//!
//! Later bodies of a capture hold samples without metadata, and the loop starts over: pages are made whole again, and counters keep
//! growing from round to round.

use std::collections::HashMap;
use std::fmt::Write;

use super::read::Capture;

/// Families that are values of the moment; everything else that vLLM exports only grows.
const GAUGES: [&str; 4] =
    ["vllm:num_requests", "vllm:engine_sleep_state", "vllm:kv_cache_usage", "vllm:cache_config_info"];

/// A line of the page: metadata and foreign series as they are, vLLM's series by their key.
#[derive(Debug)]
enum Line {
    Fixed(String),
    Series(String),
}

/// The pages of a capture, playable in a loop.
#[derive(Debug)]
pub struct Pages {
    layout: Vec<Line>,
    /// Seconds since the start of the recording, and the value of each series.
    moments: Vec<(f64, HashMap<String, f64>)>,
    /// Recorded time at which the loop starts.
    pub origin: f64,
    /// Length of the loop, seconds.
    pub length: f64,
}

impl Pages {
    /// The pages of `capture`.
    #[must_use]
    pub fn of(capture: &Capture) -> Self {
        let recorded: Vec<_> = capture
            .pages
            .iter()
            .filter_map(|line| Some((line.time().0, line.body.as_deref()?)))
            .collect();
        let origin = recorded.first().map_or(0.0, |(time, _)| *time);
        let moments: Vec<_> = recorded
            .iter()
            .map(|(time, body)| (time - origin, body.lines().filter_map(series).collect()))
            .collect();
        let last = moments.last().map_or(0.0, |(time, _)| *time);
        // One tick leads from the last moment back to the first.
        let tick = last / (moments.len().max(2) - 1) as f64;
        Self {
            layout: layout(recorded.first().map_or("", |(_, body)| body)),
            moments,
            origin,
            length: last + tick,
        }
    }

    /// The page `elapsed` seconds after the start of playing.
    #[must_use]
    pub fn at(&self, elapsed: f64) -> String {
        let round = (elapsed / self.length).floor().max(0.0);
        let within = elapsed - round * self.length;
        let next = self.moments.iter().position(|(time, _)| *time > within);
        let (before, after) = match next {
            Some(next) => (&self.moments[next.saturating_sub(1)], &self.moments[next]),
            None => (&self.moments[self.moments.len() - 1], &self.moments[self.moments.len() - 1]),
        };
        let span = (after.0 - before.0).max(f64::MIN_POSITIVE);
        let share = ((within - before.0) / span).clamp(0.0, 1.0);
        let mut page = String::with_capacity(64 << 10);
        for line in &self.layout {
            // Writing to a String cannot fail.
            let _ = match line {
                Line::Fixed(text) => writeln!(page, "{text}"),
                Line::Series(key) => {
                    writeln!(page, "{key} {:?}", self.value(key, &before.1, &after.1, share, round))
                }
            };
        }
        page
    }

    /// A gauge as it was recorded; a counter between two recorded values, rounded down, on top of what the rounds before added.
    fn value(
        &self,
        key: &str,
        before: &HashMap<String, f64>,
        after: &HashMap<String, f64>,
        share: f64,
        round: f64,
    ) -> f64 {
        let from = before.get(key).copied().unwrap_or(0.0);
        if GAUGES.iter().any(|gauge| key.starts_with(gauge)) {
            return from;
        }
        let to = after.get(key).copied().unwrap_or(from);
        let end = |place: Option<&(f64, HashMap<String, f64>)>| {
            place.and_then(|(_, values)| values.get(key)).copied().unwrap_or(0.0)
        };
        let per_round = end(self.moments.last()) - end(self.moments.first());
        let value = from + (to - from) * share + per_round * round;
        // Counts are whole; sums of seconds are not.
        if key.contains("_seconds_sum") { value } else { value.floor() }
    }
}

fn series(line: &str) -> Option<(String, f64)> {
    let (key, value) = line.rsplit_once(' ')?;
    Some((key.to_owned(), value.parse().ok().filter(|_| key.starts_with("vllm:"))?))
}

fn layout(page: &str) -> Vec<Line> {
    page.lines()
        .map(|line| match series(line) {
            Some((key, _)) => Line::Series(key),
            None => Line::Fixed(line.to_owned()),
        })
        .collect()
}
