//! The labels of one sample, read when they are asked for.

use std::borrow::Cow;

use super::cursor::{Cursor, Fault};
use super::error::ErrorKind;

/// The labels of one sample: the text between its braces, known to be well formed.
///
/// Two `Labels` are equal if they are written alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels<'a>(&'a str);

impl<'a> Labels<'a> {
    /// Reads `{…}`, if there is one, and moves behind it.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Fault> {
        if !cursor.eat(b'{') {
            return Ok(Self::default());
        }
        let start = cursor.at();
        while next_label(cursor)?.is_some() {}
        let labels = cursor.since(start);
        if cursor.eat(b'}') {
            Ok(Self(labels))
        } else {
            Err(cursor.fault(ErrorKind::LabelEnd))
        }
    }

    /// Names and values in the order of the page. A value is copied only if it has escapes.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        self.raw().map(|(name, value)| (name, unescape(value)))
    }

    /// The value of the first label called `name`.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.raw()
            .find(|(label, _)| *label == name)
            .map(|(_, value)| unescape(value))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.raw().next().is_none()
    }

    /// Names and values with their escapes.
    pub(super) fn raw(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut cursor = Cursor::new(self.0);
        std::iter::from_fn(move || next_label(&mut cursor).ok().flatten())
    }
}

/// Moves over one label and the comma behind it; `None` where no label begins.
fn next_label<'a>(cursor: &mut Cursor<'a>) -> Result<Option<(&'a str, &'a str)>, Fault> {
    cursor.blanks();
    if matches!(cursor.peek(), None | Some(b'}')) {
        return Ok(None);
    }
    let name = cursor.label_name()?;
    cursor.blanks();
    if !cursor.eat(b'=') {
        return Err(cursor.fault(ErrorKind::LabelValue));
    }
    cursor.blanks();
    if !cursor.eat(b'"') {
        return Err(cursor.fault(ErrorKind::LabelValue));
    }
    let value = cursor.quoted()?;
    cursor.blanks();
    if !cursor.eat(b',') && !matches!(cursor.peek(), None | Some(b'}')) {
        return Err(cursor.fault(ErrorKind::LabelEnd));
    }
    Ok(Some((name, value)))
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
