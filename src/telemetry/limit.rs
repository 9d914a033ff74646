//! Rate limit per log statement: answers of other servers, tick after tick, must not fill a disk. The first line after suppressed ones
//! states their number.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that one statement may log at once.
const BURST: u32 = 20;
/// Time until it may log one more line.
const ONE_MORE: Duration = Duration::from_secs(30);

/// Writes lines with `M`, within the limit of their statement.
#[derive(Clone, Debug)]
pub(super) struct Limited<M> {
    writer: M,
    places: Arc<Mutex<HashMap<Identifier, Allowance>>>,
}

/// The remaining lines of one statement.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    lines: u32,
    /// Time of the last increase.
    since: Instant,
    /// Suppressed lines since the last written one.
    left_out: u64,
}

impl<M> Limited<M> {
    pub(super) fn new(writer: M) -> Self {
        Self {
            writer,
            places: Arc::default(),
        }
    }
}

impl Allowance {
    fn full(now: Instant) -> Self {
        Self {
            lines: BURST,
            since: now,
            left_out: 0,
        }
    }

    /// Whether a line may be written at `now`, and how many were suppressed before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        while self.lines < BURST && now >= self.since + ONE_MORE {
            self.lines += 1;
            self.since += ONE_MORE;
        }
        if self.lines == BURST {
            self.since = now;
        }
        if self.lines == 0 {
            self.left_out += 1;
            return None;
        }
        self.lines -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Limited<M> {
    type Writer = LogLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        LogLine {
            writer: Some(self.writer.make_writer()),
            left_out: 0,
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        // Debug and trace lines are not limited: they are logged only on request.
        if *metadata.level() > Level::INFO {
            return self.make_writer();
        }
        let now = Instant::now();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = places
            .entry(metadata.callsite())
            .or_insert_with(|| Allowance::full(now));
        let taken = allowance.take(now);
        LogLine {
            writer: taken.map(|_| self.writer.make_writer_for(metadata)),
            left_out: taken.unwrap_or_default(),
        }
    }
}

/// One line, written at once, or discarded if suppressed.
#[derive(Debug)]
pub(super) struct LogLine<W> {
    writer: Option<W>,
    left_out: u64,
}

impl<W: Write> Write for LogLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(writer) = &mut self.writer else {
            return Ok(bytes.len());
        };
        let left_out = std::mem::take(&mut self.left_out);
        let line = bytes.trim_ascii_end();
        if left_out == 0 {
            writer.write_all(bytes)?;
        } else if let Some(json) = line
            .strip_suffix(b"}")
            .filter(|json| json.starts_with(b"{"))
        {
            writer.write_all(json)?;
            writeln!(writer, ",\"left_out\":{left_out}}}")?;
        } else {
            writer.write_all(line)?;
            writeln!(writer, " left_out={left_out}")?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_that_logs_on_and_on_is_cut_short_and_says_so() {
        let mut allowance = Allowance::full(Instant::now());
        let mut written = 0;
        for _ in 0..3600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            written += u64::from(allowance.take(Instant::now()).is_some());
        }
        assert_eq!(written, u64::from(BURST) + (3600 - 1) / 30);
        tokio::time::advance(ONE_MORE).await;
        assert_eq!(allowance.take(Instant::now()), Some(29));
        tokio::time::advance(ONE_MORE * 2 * BURST).await;
        let burst = (0..100).filter(|_| allowance.take(Instant::now()).is_some());
        assert_eq!(burst.count(), BURST as usize);
    }

    #[test]
    fn a_line_says_in_its_own_form_what_was_left_out() {
        for (line, expected) in [
            ("msg=a of={b}\n", "msg=a of={b} left_out=7\n"),
            ("{\"msg\":\"a\"}\n", "{\"msg\":\"a\",\"left_out\":7}\n"),
        ] {
            let mut written = Vec::new();
            let mut line_of = LogLine {
                writer: Some(&mut written),
                left_out: 7,
            };
            line_of.write_all(line.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
