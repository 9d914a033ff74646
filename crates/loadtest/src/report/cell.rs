//! `NumberCell`: a number on the page, with the place in the JSON that it comes from.

use std::fmt;

/// A number as people read it, and where it comes from.
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

    /// What is below this by `pointer`.
    pub(super) fn at(&self, pointer: impl fmt::Display) -> Self {
        Self {
            pointer: format!("{}/{pointer}", self.pointer),
        }
    }

    /// The place in the document, as `data-path` has it.
    pub(super) fn path(&self, pointer: impl fmt::Display) -> String {
        format!("{}/{pointer}", self.pointer)
    }

    /// The value of `pointer`, shown by `show`; a dash where it is not known.
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
    /// What is not known.
    pub(super) fn dash() -> Self {
        Self::words("–")
    }

    /// Words, or a number that stands in no document.
    pub(super) fn words(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// The same with a CSS class.
    pub(super) fn with_class(self, class: &'static str) -> Self {
        Self { class, ..self }
    }
}

impl fmt::Display for NumberCell {
    /// As an element of HTML, which the template takes as it is.
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
