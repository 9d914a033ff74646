//! `NumberCell`: a number on the page, with the JSON path of its value.

use std::fmt;

/// A formatted number, and the JSON path of its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NumberCell {
    text: String,
    class: &'static str,
    source: Option<(String, f64)>,
}

/// Makes cells of one analysis (`0`, `1`, …) or of the prediction (`static`), below a JSON pointer.
#[derive(Clone, Debug)]
pub(super) struct CellPath {
    pointer: String,
}

impl CellPath {
    pub(super) fn new(document: impl fmt::Display) -> Self {
        Self {
            pointer: format!("{document}:"),
        }
    }

    /// The path of `pointer` below this one.
    pub(super) fn at(&self, pointer: impl fmt::Display) -> Self {
        Self {
            pointer: format!("{}/{pointer}", self.pointer),
        }
    }

    /// The path in the document, as `data-path` holds it.
    pub(super) fn path(&self, pointer: impl fmt::Display) -> String {
        format!("{}/{pointer}", self.pointer)
    }

    /// The value at `pointer`, formatted by `show`; a dash where it is unknown.
    pub(super) fn cell(
        &self,
        pointer: &str,
        value: impl Into<Option<f64>>,
        show: impl Fn(f64) -> String,
    ) -> NumberCell {
        value
            .into()
            .map_or_else(NumberCell::dash, |value| NumberCell {
                text: show(value),
                class: "",
                source: Some((self.path(pointer), value)),
            })
    }
}

impl NumberCell {
    /// An unknown value.
    pub(super) fn dash() -> Self {
        Self::words("–")
    }

    /// Words, or a number that is in no document.
    pub(super) fn words(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Adds a CSS class.
    pub(super) fn with_class(self, class: &'static str) -> Self {
        Self { class, ..self }
    }
}

impl fmt::Display for NumberCell {
    /// Renders an HTML element, which the template does not escape.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<span")?;
        if !self.class.is_empty() {
            write!(formatter, " class=\"{}\"", self.class)?;
        }
        if let Some((path, value)) = &self.source {
            write!(formatter, " data-path=\"{path}\" data-value=\"{value}\"")?;
        }
        write!(formatter, ">{}</span>", escaped(&self.text))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
