//! `ProgressLine`: shows the progress of a long command on one terminal line; does nothing if stderr is not a terminal.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};

use loadtest::load::RunProgress;

/// A line that is overwritten with each update, and cleared on drop.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    label: String,
    shown: bool,
    before: Cell<RunProgress>,
}

impl ProgressLine {
    /// A line that begins with `label`.
    #[must_use]
    pub(crate) fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            shown: io::stderr().is_terminal(),
            before: Cell::default(),
        }
    }

    /// Shows `text` after the label.
    pub(crate) fn say(&self, text: &str) {
        if self.shown {
            // The cursor stays at the start, so that a log line overwrites it. Write errors are ignored.
            let _ = write!(io::stderr(), "\x1b[2K{}  {text}\r", self.label);
        }
    }

    /// Shows that `done` of `whole` seconds have passed, after `text`.
    pub(crate) fn time(&self, text: &str, done: f64, whole: f64) {
        self.say(&format!("{text}{}", time_left(done, whole)));
    }

    /// Shows the progress of a load, with its rates since the last update.
    pub(crate) fn load(&self, now: RunProgress) {
        self.say(&describe(&self.before.replace(now), &now));
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\x1b[2K");
        }
    }
}

fn time_left(done: f64, whole: f64) -> String {
    let share = (done / whole.max(1e-9)).clamp(0.0, 1.0);
    let left = (whole - done).max(0.0);
    format!("{:.0} % done, {left:.0} s left", share * 100.0)
}

fn describe(before: &RunProgress, now: &RunProgress) -> String {
    let seconds = (now.elapsed_seconds - before.elapsed_seconds).max(1e-3);
    let rate = |before: f64, now: f64| (now - before).max(0.0) / seconds;
    let tokens = rate(
        roofline::spec::to_f64(before.output_tokens),
        roofline::spec::to_f64(now.output_tokens),
    );
    let failed = if now.failed > 0 {
        format!(", {} failed", now.failed)
    } else {
        String::new()
    };
    format!(
        "{:.0} s: {} running, {} done{failed}, {:.1} requests/s, {tokens:.0} tokens/s",
        now.elapsed_seconds,
        now.running,
        now.completed,
        rate(before.completed.into(), now.completed.into()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_and_the_rest_of_the_time_stay_within_the_whole() {
        assert_eq!(time_left(15.0, 60.0), "25 % done, 45 s left");
        assert_eq!(time_left(61.0, 60.0), "100 % done, 0 s left");
        assert_eq!(time_left(0.0, 0.0), "0 % done, 0 s left");
    }

    #[test]
    fn rates_are_those_since_the_last_line() {
        let before = RunProgress {
            elapsed_seconds: 1.0,
            completed: 10,
            output_tokens: 1000,
            ..RunProgress::default()
        };
        let now = RunProgress {
            elapsed_seconds: 1.5,
            running: 8,
            completed: 12,
            failed: 1,
            output_tokens: 1100,
        };
        assert_eq!(
            describe(&before, &now),
            "2 s: 8 running, 12 done, 1 failed, 4.0 requests/s, 200 tokens/s"
        );
    }
}
