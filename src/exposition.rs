//! The Prometheus text format 0.0.4: a page becomes lines that borrow from it.
//!
//! [`Lines`] is the hot path: it pulls one line at a time and allocates nothing for a good one. A bad line is an error with
//! its place, and reading goes on behind it. [`Exposition`] gathers a whole page into families, for who wants to look around.
//! What the samples mean is not known here.

mod cursor;
mod error;
mod family;
mod labels;
mod line;
mod number;
mod print;

use memchr::memchr;

use self::cursor::Fault;
pub use self::error::{ErrorKind, ParseError};
pub use self::family::{Exposition, Family};
pub use self::labels::Labels;
pub use self::line::{Kind, Line, Sample};
pub use self::print::{escape_help, escape_label_value};

/// What a page may hold before reading it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole page.
    pub page_bytes: usize,
    /// Bytes of one line, its end not counted.
    pub line_bytes: usize,
    /// Series, counted together with metadata and bad lines, so that whatever a page is made of, what is kept of it is bounded.
    pub series: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            page_bytes: 16 << 20,
            line_bytes: 64 << 10,
            series: 200_000,
        }
    }
}

/// The lines of a page that say something: metadata, samples and errors, in their order.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a str,
    number: usize,
    yielded: usize,
    only: Option<&'a [&'a str]>,
    limits: Limits,
}

impl<'a> Lines<'a> {
    /// All lines of `page`, within the default [`Limits`].
    #[must_use]
    pub fn new(page: &'a str) -> Self {
        Self {
            rest: page,
            number: 0,
            yielded: 0,
            only: None,
            limits: Limits::default(),
        }
    }

    /// Only the samples whose names start with one of `prefixes`; all other lines are skipped unread, metadata and faults too.
    #[must_use]
    pub const fn only(self, prefixes: &'a [&'a str]) -> Self {
        Self {
            only: Some(prefixes),
            ..self
        }
    }

    /// The same lines within other limits.
    #[must_use]
    pub const fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The next line without its end, or `None` behind the last one.
    fn next_line(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = match memchr(b'\n', self.rest.as_bytes()) {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, ""),
        };
        self.rest = rest;
        self.number += 1;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }

    fn wants(&self, line: &str) -> bool {
        self.only.is_none_or(|prefixes| {
            let name = line.trim_start_matches([' ', '\t']);
            prefixes.iter().any(|prefix| name.starts_with(prefix))
        })
    }

    fn fault(&self, fault: Fault) -> ParseError {
        ParseError {
            line: self.number,
            column: fault.at + 1,
            kind: fault.kind,
        }
    }

    /// Ends the page with the limit that it broke.
    fn stop(&mut self, kind: ErrorKind) -> ParseError {
        self.rest = "";
        ParseError {
            line: self.number.max(1),
            column: 1,
            kind,
        }
    }

    /// The limit that a page at `line` breaks, if any.
    fn broken_limit(&self, line: &str) -> Option<ErrorKind> {
        let Limits {
            line_bytes, series, ..
        } = self.limits;
        if line.len() > line_bytes {
            Some(ErrorKind::LineTooLong { limit: line_bytes })
        } else if self.yielded >= series {
            Some(ErrorKind::TooManySeries { limit: series })
        } else {
            None
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.number == 0 && self.rest.len() > self.limits.page_bytes {
            let limit = self.limits.page_bytes;
            return Some(Err(self.stop(ErrorKind::PageTooLarge { limit })));
        }
        loop {
            let line = self.next_line()?;
            if !self.wants(line) {
                continue;
            }
            if let Some(kind) = self.broken_limit(line) {
                return Some(Err(self.stop(kind)));
            }
            if let Some(read) = line::read(line).transpose() {
                self.yielded += 1;
                return Some(read.map_err(|fault| self.fault(fault)));
            }
        }
    }
}

/// The text of a page, or where it stops being UTF-8.
///
/// # Errors
///
/// [`ErrorKind::NotUtf8`] at the first byte that is not.
pub fn utf8(page: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(page).map_err(|error| {
        let good = &page[..error.valid_up_to()];
        let line_start = memchr::memrchr(b'\n', good).map_or(0, |end| end + 1);
        ParseError {
            line: 1 + memchr::memchr_iter(b'\n', good).count(),
            column: 1 + good.len() - line_start,
            kind: ErrorKind::NotUtf8,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `page` and compares what each line says, or what is wrong with it, with `expected`, a line each.
    #[track_caller]
    fn check(page: &str, expected: &[&str]) {
        let read: Vec<_> = Lines::new(page).map(told).collect();
        assert_eq!(read, expected);
    }

    fn told(line: Result<Line<'_>, ParseError>) -> String {
        line.map_or_else(|error| format!("! {error}"), |line| line.to_string())
    }

    #[test]
    fn reads_metadata_and_samples() {
        check(
            "# HELP vllm:a_total Tokens, all of them.\n# TYPE vllm:a_total counter\nvllm:a_total{engine=\"0\",model=\"m\"} 12.0\n",
            &[
                "# HELP vllm:a_total Tokens, all of them.",
                "# TYPE vllm:a_total counter",
                "vllm:a_total{engine=\"0\",model=\"m\"} 12.0",
            ],
        );
    }

    #[test]
    fn labels_may_be_empty_spaced_or_end_in_a_comma() {
        check("a 1", &["a 1.0"]);
        check("a{} 1", &["a 1.0"]);
        check("a { } 1", &["a 1.0"]);
        check("a{b=\"\"} 1", &["a{b=\"\"} 1.0"]);
        check(
            "a\t{ b = \"c\" ,\td=\"e\" , } 1",
            &["a{b=\"c\",d=\"e\"} 1.0"],
        );
        check("a{b=\"{},=\"}1", &["a{b=\"{},=\"} 1.0"]);
    }
}
