//! Output formats of results.

pub mod fit;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use comfy_table::{LineStyle, Row, Table, TableStyle};
use serde::Serialize;

use super::usage::UsageError;

/// Writes text to a terminal: characters from external input that a terminal would obey are shown, not executed.
#[derive(Debug)]
pub(crate) struct Printable<W>(pub W);

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some((length, shown)) = obeyed(bytes) {
            self.0.write_all(shown.as_bytes())?;
            return Ok(length);
        }
        let rest = 1..bytes.len();
        let end = rest.into_iter().find(|&at| obeyed(&bytes[at..]).is_some());
        self.0.write(&bytes[..end.unwrap_or(bytes.len())])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// The length of the character at the start of `bytes`, and how it is shown, if a terminal would obey it: a control character, of the
/// second set too (xterm takes U+009B for ESC [), or one that reverses what follows. JSON knows the longer form.
fn obeyed(bytes: &[u8]) -> Option<(usize, String)> {
    match *bytes {
        [b'\n' | b'\t', ..] => None,
        [byte, ..] if byte.is_ascii_control() => Some((1, format!("\\x{byte:02x}"))),
        [0xc2, byte @ 0x80..=0x9f, ..] => Some((2, format!("\\u00{byte:02x}"))),
        [0xe2, 0x80, byte @ 0xaa..=0xae, ..] => Some((3, format!("\\u20{:02x}", byte - 0x80))),
        [0xe2, 0x81, byte @ 0xa6..=0xa9, ..] => Some((3, format!("\\u20{:02x}", byte - 0x40))),
        _ => None,
    }
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For programs; carries `schema`.
    Json,
}

/// A header with a line below it, and no other line.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// An empty table under `header`.
pub fn table(header: impl Into<Row>) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header);
    table
}

/// Prints `table` and an empty line.
///
/// # Errors
/// When writing to `out` fails.
pub(crate) fn write_table(table: &Table, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{}\n", fit::fitted(table))
}

/// Prints `value` as JSON.
///
/// # Errors
/// When writing to `out` fails.
pub(crate) fn write_json(value: &impl Serialize, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// A file for a result. It is opened before the result is computed, so that an invalid name fails early, and its content stays until there
/// is a result to write.
#[derive(Debug)]
pub(crate) struct ResultFile {
    path: PathBuf,
    file: File,
}

impl ResultFile {
    /// Opens the file at `path`, and creates it if necessary.
    ///
    /// # Errors
    /// A [`UsageError`] that names the file.
    pub(crate) fn open(path: &Path) -> Result<Self, UsageError> {
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let file = opened
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(UsageError::new)?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Replaces the content with `text`.
    ///
    /// # Errors
    /// When the disk is full, with the file's name.
    pub(crate) fn write(mut self, text: &str) -> anyhow::Result<()> {
        // A device has no length, but can be written.
        let emptied = match self.file.metadata() {
            Ok(metadata) if metadata.is_file() => self.file.set_len(0),
            _ => Ok(()),
        };
        emptied
            .and_then(|()| self.file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Writes `value` as indented JSON.
    ///
    /// # Errors
    /// As [`ResultFile::write`].
    pub(crate) fn write_pretty_json(self, value: &impl Serialize) -> anyhow::Result<()> {
        self.write(&(serde_json::to_string_pretty(value)? + "\n"))
    }

    /// Writes `value` as JSON on one line, for programs.
    ///
    /// # Errors
    /// As [`ResultFile::write`].
    pub(crate) fn write_json(self, value: &impl Serialize) -> anyhow::Result<()> {
        self.write(&serde_json::to_string(value)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        let mut out = Printable(Vec::new());
        writeln!(out, "a\u{1b}[2Jb\r\tc é").unwrap();
        assert_eq!(String::from_utf8(out.0).unwrap(), "a\\x1b[2Jb\\x0d\tc é\n");

        let mut out = Printable(Vec::new());
        let name = serde_json::json!("\u{9b}2J é\u{202e}\u{2066}…");
        write!(out, "{name}").unwrap();
        let shown = String::from_utf8(out.0).unwrap();
        assert_eq!(shown, r#""\u009b2J é\u202e\u2066…""#);
        assert_eq!(serde_json::from_str(&shown).ok(), Some(name));
    }
}
