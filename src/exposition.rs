//! Parser of the Prometheus text format 0.0.4. Lines borrow from the page.
//!
//! [`Lines`] is the hot path: it yields one line at a time and allocates nothing for a valid one. An invalid line is an error with its
//! position, and parsing continues after it. [`Exposition`] groups a whole page into families. The parser does not interpret samples.
//!
//! ```
//! use vllm_roofline_exporter::exposition::{Line, Lines};
//!
//! let page = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\"} 3.0\n";
//! for line in Lines::new(page).only(&["vllm:"]) {
//!     let Line::Sample(sample) = line? else { continue };
//!     assert_eq!(sample.labels.get("engine").as_deref(), Some("0"));
//!     assert_eq!(sample.value, 3.0);
//! }
//! # Ok::<(), vllm_roofline_exporter::exposition::ParseError>(())
//! ```

mod cursor;
mod error;
mod family;
mod labels;
mod line;
mod number;
mod print;
mod scan;
#[cfg(test)]
mod tests;

use self::cursor::Cursor;
pub use self::error::{ErrorKind, ParseError};
pub use self::family::{Exposition, Family};
pub use self::labels::Labels;
use self::line::Previous;
pub use self::line::{ExpositionType, Line, Sample};
pub use self::print::{escape_help, escape_label_value};

/// Limits of a page; parsing stops where it exceeds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Bytes of the whole page.
    pub page_bytes: usize,
    /// Bytes of one line, without its end.
    pub line_bytes: usize,
    /// Series, counted together with metadata and bad lines, so that memory is bounded whatever a page contains.
    pub series: usize,
}

impl Default for PageLimits {
    fn default() -> Self {
        Self {
            page_bytes: 16 << 20,
            line_bytes: 64 << 10,
            series: 200_000,
        }
    }
}

/// The meaningful lines of a page: metadata, samples and errors, in order.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    cursor: Cursor<'a>,
    previous: Previous<'a>,
    /// The number of the current line, from 1, and its start.
    line: usize,
    line_start: usize,
    yielded: usize,
    only: Option<&'a [&'a str]>,
    limits: PageLimits,
}

impl<'a> Lines<'a> {
    /// All lines of `page`, within the default [`PageLimits`].
    #[must_use]
    pub fn new(page: &'a str) -> Self {
        Self {
            cursor: Cursor::new(page),
            previous: Previous::default(),
            line: 0,
            line_start: 0,
            yielded: 0,
            only: None,
            limits: PageLimits::default(),
        }
    }

    /// Only the samples whose names start with one of `prefixes`; all other lines are skipped unparsed, including metadata and errors.
    #[must_use]
    pub const fn only(self, prefixes: &'a [&'a str]) -> Self {
        Self {
            only: Some(prefixes),
            ..self
        }
    }

    /// The same lines within other limits.
    #[must_use]
    pub const fn within(self, limits: PageLimits) -> Self {
        Self { limits, ..self }
    }

    /// Whether there is a requested sample at the cursor.
    #[inline]
    fn wants(&self) -> bool {
        let rest = self.cursor.rest();
        let asked_for = |prefix: &&str| rest.starts_with(prefix.as_bytes());
        !self.cursor.at_line_end()
            && self
                .only
                .is_none_or(|prefixes| prefixes.iter().any(asked_for))
    }

    /// Parses a sample whose name is `known` up to the cursor.
    #[inline]
    fn sample(&mut self, known: usize) -> Result<Line<'a>, ParseError> {
        let sample = line::sample(&mut self.cursor, &mut self.previous, known)
            .map_err(|kind| self.fault(kind))?;
        self.count_line()?;
        Ok(Line::Sample(sample))
    }

    /// Parses a line that begins with `#`.
    fn comment(&mut self) -> Result<Option<Line<'a>>, ParseError> {
        let comment =
            line::comment(&mut self.cursor, &mut self.previous).map_err(|kind| self.fault(kind))?;
        match comment {
            Some(_) => self.count_line()?,
            None => self.end_line()?,
        }
        Ok(comment)
    }

    #[inline]
    fn skip(&mut self) -> Result<Option<Line<'a>>, ParseError> {
        self.cursor.skip_line();
        self.end_line()?;
        Ok(None)
    }

    /// Moves from the end of a meaningful line to the next line.
    #[inline]
    fn count_line(&mut self) -> Result<(), ParseError> {
        self.yielded += 1;
        let limit = self.limits.series;
        if self.yielded > limit {
            return Err(self.stop(ErrorKind::TooManySeries, self.yielded, limit));
        }
        self.end_line()
    }

    /// Moves from the end of a line to the next line.
    #[inline]
    fn end_line(&mut self) -> Result<(), ParseError> {
        let length = self.cursor.at() - self.line_start;
        let limit = self.limits.line_bytes;
        if length > limit {
            return Err(self.stop(ErrorKind::LineTooLong, length, limit));
        }
        self.cursor.end_line();
        Ok(())
    }

    /// The error at the cursor; moves to the next line.
    #[cold]
    fn fault(&mut self, kind: ErrorKind) -> ParseError {
        let fault = ParseError {
            line: self.line,
            column: 1 + self.cursor.at() - self.line_start,
            kind,
            found: error::excerpt(self.cursor.line()),
        };
        self.count_line().err().unwrap_or(fault)
    }

    /// Stops at a limit that the page exceeds.
    #[cold]
    fn stop(&mut self, kind: ErrorKind, found: usize, limit: usize) -> ParseError {
        self.cursor = Cursor::new("");
        ParseError {
            line: self.line.max(1),
            column: 1,
            kind,
            found: format!("{found} where {limit} are allowed").into(),
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, ParseError>;

    // A sample has its own `return`: merged with the other lines it would be copied, which costs a third of the speed.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (page, limit) = (self.cursor.rest().len(), self.limits.page_bytes);
        if self.line == 0 && page > limit {
            return Some(Err(self.stop(ErrorKind::PageTooLarge, page, limit)));
        }
        while self.cursor.peek().is_some() {
            self.line += 1;
            self.line_start = self.cursor.at();
            self.cursor.blanks();
            let other = match self.cursor.peek() {
                Some(b'#') if self.only.is_none() => self.comment(),
                Some(b'#') => self.skip(),
                _ => {
                    let known = self.cursor.known(self.previous.name);
                    if known > 0 || self.wants() {
                        return Some(self.sample(known));
                    }
                    self.skip()
                }
            };
            if let Some(line) = other.transpose() {
                return Some(line);
            }
        }
        None
    }
}

/// The text of a page, or the position where it stops being UTF-8.
///
/// # Errors
///
/// [`ErrorKind::NotUtf8`] at the first invalid byte.
pub fn utf8(page: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(page).map_err(|error| {
        let good = &page[..error.valid_up_to()];
        let line_start = memchr::memrchr(b'\n', good).map_or(0, |end| end + 1);
        ParseError {
            line: 1 + memchr::memchr_iter(b'\n', good).count(),
            column: 1 + good.len() - line_start,
            kind: ErrorKind::NotUtf8,
            found: format!("byte 0x{:02x}", page[good.len()]).into(),
        }
    })
}
