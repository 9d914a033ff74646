//! Plays the pages of a capture in a loop, as the recorded server exposed them.
//!
//! Later bodies of a capture contain samples without metadata, and the loop starts over: playback completes the pages, and counters keep
//! growing from round to round.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::read::Capture;
use crate::exposition::{ExpositionType, Line, Lines};
use crate::sample::engine::Gauge;

/// A line of the page: metadata and foreign series unchanged, vLLM's series grouped by name.
#[derive(Debug)]
enum RecordedLine {
    Fixed(String),
    Series(String),
}

/// The series of one recorded page, in its order, and by key.
#[derive(Debug, Default)]
struct RecordedPage {
    /// Seconds since the start of the recording.
    time: f64,
    keys: Vec<String>,
    values: HashMap<String, f64>,
}

/// The pages of a capture, playable in a loop.
#[derive(Debug)]
pub struct Pages {
    layout: Vec<RecordedLine>,
    /// Names of gauges; everything else that vLLM exports is a counter.
    gauges: HashSet<String>,
    moments: Vec<RecordedPage>,
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
            .map(|(time, body)| {
                let series: Vec<_> = body.lines().filter_map(series).collect();
                RecordedPage {
                    time: time - origin,
                    keys: series.iter().map(|(key, _)| key.clone()).collect(),
                    values: series.into_iter().collect(),
                }
            })
            .collect();
        let last = moments.last().map_or(0.0, |moment| moment.time);
        // One tick leads from the last reading back to the first.
        let tick = last / (moments.len().max(2) - 1) as f64;
        let first = recorded.first().map_or("", |(_, body)| body);
        Self {
            layout: layout(first),
            gauges: gauges(first),
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
        let last = self.moments.len() - 1;
        let next = self
            .moments
            .iter()
            .position(|moment| moment.time > within)
            .unwrap_or(last);
        let (before, after) = (&self.moments[next.saturating_sub(1)], &self.moments[next]);
        let span = (after.time - before.time).max(f64::MIN_POSITIVE);
        let share = ((within - before.time) / span).clamp(0.0, 1.0);
        let mut page = String::with_capacity(64 << 10);
        for line in &self.layout {
            match line {
                RecordedLine::Fixed(text) => page.extend([text, "\n"]),
                RecordedLine::Series(shared) => {
                    for key in before.keys.iter().filter(|key| name(key) == shared) {
                        let value = self.value(key, before, after, share, round);
                        // Writing to a String cannot fail.
                        let _ = writeln!(page, "{key} {value:?}");
                    }
                }
            }
        }
        page
    }

    /// A gauge as recorded; a counter interpolated between two recorded values, rounded down, plus the growth of earlier rounds.
    fn value(
        &self,
        key: &str,
        before: &RecordedPage,
        after: &RecordedPage,
        share: f64,
        round: f64,
    ) -> f64 {
        let from = before.values.get(key).copied().unwrap_or(0.0);
        if self.gauges.contains(name(key)) {
            return from;
        }
        let to = after.values.get(key).copied().unwrap_or(from);
        let end = |moment: Option<&RecordedPage>| {
            moment
                .and_then(|moment| moment.values.get(key))
                .copied()
                .unwrap_or(0.0)
        };
        let per_round = end(self.moments.last()) - end(self.moments.first());
        let value = from + (to - from) * share + per_round * round;
        // Counts are integers; sums of seconds are not.
        if key.contains("_seconds_sum") {
            value
        } else {
            value.floor()
        }
    }
}

/// The gauges on `page`, by its types or, where a recording has no types, by vLLM's known names.
fn gauges(page: &str) -> HashSet<String> {
    let lines = Lines::new(page).filter_map(Result::ok);
    let gauges = lines.filter_map(|line| match line {
        Line::Type {
            family,
            kind: ExpositionType::Gauge,
        } => Some(family.to_owned()),
        _ => None,
    });
    let known = Gauge::ALL.iter().flat_map(|gauge| gauge.metric().names());
    let known = known.map(|name| format!("vllm:{}", name.text));
    gauges.chain(known).collect()
}

fn series(line: &str) -> Option<(String, f64)> {
    let (key, value) = line.rsplit_once(' ')?;
    Some((
        key.to_owned(),
        value.parse().ok().filter(|_| key.starts_with("vllm:"))?,
    ))
}

/// The name of the series `key`.
fn name(key: &str) -> &str {
    key.split('{').next().unwrap_or(key)
}

/// The lines of `page`; series with the same name share one line of the layout, whatever labels appear later.
fn layout(page: &str) -> Vec<RecordedLine> {
    let mut lines: Vec<RecordedLine> = Vec::new();
    for line in page.lines() {
        match series(line) {
            None => lines.push(RecordedLine::Fixed(line.to_owned())),
            Some((key, _)) => {
                let shared = name(&key);
                let known = lines
                    .iter()
                    .any(|line| matches!(line, RecordedLine::Series(name) if name == shared));
                if !known {
                    lines.push(RecordedLine::Series(shared.to_owned()));
                }
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use crate::exposition::Exposition;

    use super::*;

    fn pages() -> Pages {
        Pages::of(&Capture::demo().unwrap())
    }

    #[test]
    fn a_gauge_without_a_type_is_still_one() {
        let names = gauges("vllm:kv_cache_usage_perc{engine=\"0\"} 0.98\n");
        assert!(names.contains("vllm:kv_cache_usage_perc"));
        assert!(!names.contains("vllm:generation_tokens_total"));
    }

    #[test]
    fn every_page_is_whole_and_well_formed() {
        let pages = pages();
        for second in [0.0, 5.3, 20.0, pages.length - 0.1, pages.length * 2.5] {
            let text = pages.at(second);
            let (page, errors) = Exposition::parse(&text);
            assert_eq!(errors, []);
            let steps = page.family("vllm:iteration_tokens_total").unwrap();
            assert_eq!(steps.kind, ExpositionType::Histogram);
            assert!(crate::sample::page::read(&text, roofline::units::Seconds(second)).is_ok());
        }
    }

    #[test]
    fn counters_grow_from_round_to_round() {
        let pages = pages();
        let generated = |second: f64| {
            let text = pages.at(second);
            let (page, _) = Exposition::parse(&text);
            page.value("vllm:generation_tokens_total", &[]).unwrap()
        };
        let mut before = 0.0;
        let mut tick = 0.0;
        while tick < pages.length * 2.2 {
            let now = generated(tick);
            assert!(now >= before, "second {tick}: {now} after {before}");
            before = now;
            tick += 1.0;
        }
        assert!(before > 1.5 * generated(pages.length * 0.99));
    }
}
