//! A place in one line, and the few moves that the grammar is made of.

use super::error::ErrorKind;

/// What is wrong at which byte of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Byte in the line, from 0.
    pub(super) at: usize,
    /// What is wrong there.
    pub(super) kind: ErrorKind,
}

/// A place in one line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The byte here, or `None` at the end.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Where this is, for [`since`](Self::since).
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// The text from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// All text that is left.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Moves `bytes` on.
    pub(super) const fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Moves over `byte` if it is here.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    /// Moves over blanks and tabs.
    pub(super) fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Moves over bytes that are `kept` and returns them.
    pub(super) fn take_while(&mut self, kept: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&kept) {
            self.at += 1;
        }
        self.since(start)
    }

    /// Moves over the text up to the next blank and returns it.
    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|byte| !matches!(byte, b' ' | b'\t'))
    }

    /// Moves over a metric name, which may have colons.
    pub(super) fn metric_name(&mut self) -> Result<&'a str, Fault> {
        let name = self.take_while(|byte| is_name(byte) || byte == b':');
        if starts_well(name) {
            Ok(name)
        } else {
            Err(self.fault_at(self.at - name.len(), ErrorKind::MetricName))
        }
    }

    /// Moves over a label name.
    pub(super) fn label_name(&mut self) -> Result<&'a str, Fault> {
        let name = self.take_while(is_name);
        if starts_well(name) {
            Ok(name)
        } else {
            Err(self.fault_at(self.at - name.len(), ErrorKind::LabelName))
        }
    }

    /// Moves behind the closing quote and returns what stands before it, escapes and all.
    pub(super) fn quoted(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        loop {
            self.take_while(|byte| !matches!(byte, b'"' | b'\\'));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at - 1]);
                }
                Some(_) => self.escape()?,
                None => return Err(self.fault_at(start - 1, ErrorKind::OpenQuote)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'\\' | b'"' | b'n') => self.at += 2,
            _ => return Err(self.fault(ErrorKind::Escape)),
        }
        Ok(())
    }

    /// A fault here.
    pub(super) const fn fault(&self, kind: ErrorKind) -> Fault {
        self.fault_at(self.at, kind)
    }

    /// A fault at byte `at`.
    #[expect(clippy::unused_self, reason = "reads as the fault of this line")]
    pub(super) const fn fault_at(&self, at: usize, kind: ErrorKind) -> Fault {
        Fault { at, kind }
    }
}

const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn starts_well(name: &str) -> bool {
    name.bytes()
        .next()
        .is_some_and(|first| !first.is_ascii_digit())
}
