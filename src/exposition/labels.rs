//! The labels of one sample, parsed on demand.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::error::ErrorKind;
use super::scan;

/// The labels of one sample: the text between its braces, known to be well-formed.
///
/// Two `Labels` are equal if their texts are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels<'a> {
    text: &'a str,
    /// Whether it has the form that client libraries write: `name="value",name="value"`, without escapes.
    plain: bool,
}

/// The first plain labels of the previous line, each with the comma or brace after it. Most of them recur.
pub(super) type PreviousLabels<'a> = [&'a [u8]; 4];

impl<'a> Labels<'a> {
    /// Parses `{…}`, if there is one, and moves past it.
    #[inline]
    pub(super) fn read(
        cursor: &mut Cursor<'a>,
        previous: &mut PreviousLabels<'a>,
    ) -> Result<Self, ErrorKind> {
        if !cursor.eat(b'{') {
            return Ok(Self::default());
        }
        let start = cursor.at();
        let plain = plain_end(cursor.rest(), previous)
            .map(|end| cursor.skip(end))
            .is_some();
        if !plain {
            while next_label(cursor)?.is_some() {}
        }
        let text = cursor.since(start);
        cursor.expect(b'}', ErrorKind::LabelEnd)?;
        Ok(Self { text, plain })
    }

    /// Names and values in the order of the page. A value is copied only if it has escapes.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        self.raw()
            .map(move |(name, value)| (name, self.value(value)))
    }

    /// The value of the first label called `name`.
    #[must_use]
    #[inline]
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        if self.plain {
            return plain_value(self.text, name).map(Cow::Borrowed);
        }
        self.iter()
            .find(|(label, _)| *label == name)
            .map(|(_, value)| value)
    }

    /// Whether there are no labels.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.raw().next().is_none()
    }

    /// Names and values with their escapes.
    #[inline]
    pub(super) fn raw(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut cursor = Cursor::new(self.text);
        let mut rest = self.text;
        std::iter::from_fn(move || {
            if self.plain {
                next_plain(&mut rest)
            } else {
                next_label(&mut cursor).ok().flatten()
            }
        })
    }

    #[inline]
    fn value(self, raw: &'a str) -> Cow<'a, str> {
        if self.plain {
            Cow::Borrowed(raw)
        } else {
            unescape(raw)
        }
    }
}

/// Moves over one label and the comma after it; `None` where no label begins.
fn next_label<'a>(cursor: &mut Cursor<'a>) -> Result<Option<(&'a str, &'a str)>, ErrorKind> {
    cursor.blanks();
    if at_end(cursor) {
        return Ok(None);
    }
    let name = cursor.label_name()?;
    cursor.blanks();
    cursor.expect(b'=', ErrorKind::LabelValue)?;
    cursor.blanks();
    let value = cursor.quoted()?;
    cursor.blanks();
    if cursor.eat(b',') || at_end(cursor) {
        Ok(Some((name, value)))
    } else {
        Err(ErrorKind::LabelEnd)
    }
}

/// Whether the labels end here: at a brace, or where no label follows.
fn at_end(cursor: &Cursor<'_>) -> bool {
    cursor.peek() == Some(b'}') || cursor.at_line_end()
}

/// The position of the closing brace, if all labels before it are plain.
#[inline]
fn plain_end<'a>(text: &'a [u8], previous: &mut PreviousLabels<'a>) -> Option<usize> {
    let mut at = 0;
    let mut previous = previous.iter_mut();
    loop {
        let rest = &text[at..];
        at += match previous.next() {
            Some(label) if !label.is_empty() && rest.starts_with(label) => label.len(),
            Some(label) => {
                *label = plain_label(rest)?;
                label.len()
            }
            None => plain_label(rest)?.len(),
        };
        if text[at - 1] == b'}' {
            return Some(at - 1);
        }
    }
}

/// The plain label at the start of `text`, and the comma or brace after it.
#[inline]
fn plain_label(text: &[u8]) -> Option<&[u8]> {
    let name = scan::name_end::<false>(text, 0);
    if name == 0 || text[0].is_ascii_digit() || !text[name..].starts_with(b"=\"") {
        return None;
    }
    let value = scan::value_end(text, name + 2);
    matches!(text.get(value..value + 2), Some(b"\"," | b"\"}")).then(|| &text[..value + 2])
}

/// The value of the first plain label called `name`.
#[inline]
fn plain_value<'a>(mut labels: &'a str, name: &str) -> Option<&'a str> {
    loop {
        let named = labels.strip_prefix(name);
        if let Some(value) = named.and_then(|rest| rest.strip_prefix("=\"")) {
            return value.get(..scan::byte(b'"', value.as_bytes(), 0));
        }
        next_plain(&mut labels)?;
    }
}

/// Splits off the first plain label.
#[inline]
fn next_plain<'a>(labels: &mut &'a str) -> Option<(&'a str, &'a str)> {
    let text = *labels;
    let name = scan::byte(b'=', text.as_bytes(), 0);
    let value = name + 2;
    let end = scan::byte(b'"', text.as_bytes(), value);
    *labels = text.get(end + 2..).unwrap_or_default();
    Some((text.get(..name)?, text.get(value..end)?))
}

/// `text` with `\\`, `\"` and `\n` resolved.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    let Some((before, mut rest)) = text.split_once('\\') else {
        return Cow::Borrowed(text);
    };
    let mut plain = String::with_capacity(text.len());
    plain.push_str(before);
    loop {
        let mut chars = rest.chars();
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some(quoted @ ('\\' | '"')) => plain.push(quoted),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
        let Some((before, behind)) = chars.as_str().split_once('\\') else {
            plain.push_str(chars.as_str());
            return Cow::Owned(plain);
        };
        plain.push_str(before);
        rest = behind;
    }
}
