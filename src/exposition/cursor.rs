//! A position on a page, and the moves that the grammar uses.
//!
//! No move crosses the end of a line, and a failed move leaves the cursor at the error.

use memchr::memchr;

use super::error::ErrorKind;
use super::scan;

/// A position on a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The offset in bytes from the start.
    #[inline]
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// The byte at the cursor, or `None` at the end.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// All bytes from the cursor on.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The text from `start` to the cursor.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Whether the line ends here.
    #[inline]
    pub(super) fn at_line_end(&self) -> bool {
        match self.peek() {
            None | Some(b'\n') => true,
            Some(b'\r') => matches!(self.rest().get(1), None | Some(b'\n')),
            Some(_) => false,
        }
    }

    /// Whether the line, or a word of it, ends here.
    #[inline]
    pub(super) fn at_word_end(&self) -> bool {
        self.at_line_end() || matches!(self.peek(), Some(b' ' | b'\t'))
    }

    /// Moves over `bytes` that were already checked.
    #[inline]
    pub(super) const fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Moves over `byte` if it is at the cursor.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    /// Moves over `byte`, which must be at the cursor.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8, otherwise: ErrorKind) -> Result<(), ErrorKind> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(otherwise)
        }
    }

    /// Moves over spaces and tabs.
    #[inline]
    pub(super) fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Moves to the end of the line.
    #[inline]
    pub(super) fn skip_line(&mut self) {
        self.at += memchr(b'\n', self.rest()).unwrap_or(self.rest().len());
    }

    /// Moves to the end of the line and returns the text before it.
    pub(super) fn line(&mut self) -> &'a str {
        let start = self.at;
        self.skip_line();
        self.since(start).trim_end_matches('\r')
    }

    /// Moves from the end of a line to the start of the next.
    #[inline]
    pub(super) fn end_line(&mut self) {
        self.eat(b'\r');
        self.eat(b'\n');
    }

    /// Moves over the text up to the next space and returns it.
    pub(super) fn word(&mut self) -> &'a str {
        let start = self.at;
        let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let rest = self.rest();
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
        self.since(start)
    }

    /// Moves over a word and parses it with `read`.
    pub(super) fn parse_word<T>(
        &mut self,
        read: impl FnOnce(&'a str) -> Option<T>,
        otherwise: ErrorKind,
    ) -> Result<T, ErrorKind> {
        let start = self.at;
        read(self.word()).ok_or_else(|| {
            self.at = start;
            otherwise
        })
    }

    /// How many bytes at the cursor are known to be a name because they equal `name`: all of them or none.
    #[inline]
    pub(super) fn known(&self, name: &str) -> usize {
        if self.rest().starts_with(name.as_bytes()) {
            name.len()
        } else {
            0
        }
    }

    /// Moves over a metric name, which may contain colons, and whose first bytes are `known` to be part of it.
    #[inline]
    pub(super) fn metric_name(&mut self, known: usize) -> Result<&'a str, ErrorKind> {
        self.name::<true>(known).ok_or(ErrorKind::MetricName)
    }

    /// Moves over a label name.
    pub(super) fn label_name(&mut self) -> Result<&'a str, ErrorKind> {
        self.name::<false>(0).ok_or(ErrorKind::LabelName)
    }

    #[inline]
    fn name<const COLON: bool>(&mut self, known: usize) -> Option<&'a str> {
        if self.peek()?.is_ascii_digit() {
            return None;
        }
        let start = self.at;
        self.at += known;
        // The brace after a known name needs no search.
        if self.peek() != Some(b'{') {
            self.at = scan::name_end::<COLON>(self.text.as_bytes(), self.at);
        }
        (self.at > start).then(|| self.since(start))
    }

    /// Moves over a quoted text, and returns its content with its escapes.
    pub(super) fn quoted(&mut self) -> Result<&'a str, ErrorKind> {
        let quote = self.at;
        self.expect(b'"', ErrorKind::LabelValue)?;
        let start = self.at;
        loop {
            self.at = scan::value_end(self.text.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at - 1]);
                }
                Some(b'\\') => self.escape()?,
                _ => {
                    self.at = quote;
                    return Err(ErrorKind::ClosingQuote);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), ErrorKind> {
        match self.rest().get(1) {
            Some(b'\\' | b'"' | b'n') => {
                self.at += 2;
                Ok(())
            }
            _ => Err(ErrorKind::Escape),
        }
    }
}
