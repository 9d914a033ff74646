//! Reads a Hugging Face `config.json`: nested text parts, alternative field names, class defaults, bare `Infinity`.

use serde_json::{Map, Value};
use thiserror::Error;

/// Why a `config.json` does not describe a predictable model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelError {
    /// Invalid JSON.
    #[error("config.json is not valid JSON: {0}")]
    Json(String),
    /// JSON, but not an object.
    #[error("config.json holds no JSON object")]
    NotAnObject,
    /// A required field of the architecture is absent.
    #[error(
        "config.json of {architecture} lacks {field}; add it, or point --model at the complete file"
    )]
    MissingField {
        /// Architecture named by the file.
        architecture: String,
        /// The field, with its accepted names.
        field: String,
    },
    /// A field has an invalid value.
    #[error("config.json of {architecture}: {field} {problem}")]
    BadField {
        /// Architecture named by the file.
        architecture: String,
        /// The field.
        field: String,
        /// The problem.
        problem: String,
    },
    /// A known architecture that is out of scope.
    #[error("{architecture} is not modelled: {reason}")]
    NotModelled {
        /// Architecture named by the file.
        architecture: String,
        /// Why its steps are not modelled.
        reason: String,
    },
}

/// Parses `text`, taking the bare `Infinity` and `NaN` that Python's `json` writes (Nemotron-H) as null.
pub(super) fn parse_lenient(text: &str) -> Result<Value, ModelError> {
    serde_json::from_str(text).or_else(|strict_error| {
        serde_json::from_str(&nulled_non_finite(text))
            .map_err(|_| ModelError::Json(strict_error.to_string()))
    })
}

/// `text` with `Infinity`, `-Infinity` and `NaN` outside strings replaced by `null`.
fn nulled_non_finite(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(letter) = rest.chars().next() {
        let literal = ["-Infinity", "Infinity", "NaN"]
            .into_iter()
            .find(|literal| !in_string && rest.starts_with(literal));
        if let Some(literal) = literal {
            out.push_str("null");
            rest = &rest[literal.len()..];
            continue;
        }
        let escaped = in_string && letter == '\\';
        let taken = rest
            .chars()
            .take(1 + usize::from(escaped))
            .map(char::len_utf8)
            .sum();
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
        in_string ^= letter == '"';
    }
    out
}

/// Upper limit of every factor: heads, experts, widths, vocabulary. A product of three stays within 64 bits.
pub(super) const LARGEST: u64 = 1 << 20;

/// The fields of one configuration: first the text part, then the outer object, then the class's defaults.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfigFields<'a> {
    text: &'a Map<String, Value>,
    outer: &'a Map<String, Value>,
    defaults: &'static [(&'static str, u64)],
}

impl<'a> ConfigFields<'a> {
    /// Finds the text part of `config`: itself, or the nested object of vision, audio and omni models.
    pub(super) fn of(config: &'a Value) -> Result<Self, ModelError> {
        let outer = config.as_object().ok_or(ModelError::NotAnObject)?;
        let mut text = outer;
        while let Some(nested) = [
            "text_config",
            "llm_config",
            "language_config",
            "thinker_config",
        ]
        .iter()
        .find_map(|name| text.get(*name)?.as_object())
        {
            text = nested;
        }
        Ok(Self {
            text,
            outer,
            defaults: &[],
        })
    }

    /// The same fields with the class's defaults for absent ones.
    pub(super) const fn with_defaults(self, defaults: &'static [(&'static str, u64)]) -> Self {
        Self { defaults, ..self }
    }

    /// Whether the text part is nested in a multimodal configuration.
    pub(super) fn is_nested(&self) -> bool {
        !std::ptr::eq(self.text, self.outer)
    }

    /// The first of `architectures`, otherwise the model type.
    pub(super) fn architecture(&self) -> String {
        let declared = [self.outer, self.text]
            .iter()
            .find_map(|fields| fields.get("architectures")?.as_array()?.first()?.as_str());
        declared.unwrap_or_else(|| self.model_type()).to_owned()
    }

    /// `model_type` of the text part, otherwise of the outer object.
    pub(super) fn model_type(&self) -> &'a str {
        let inner = self.text.get("model_type").and_then(Value::as_str);
        let outer = self.outer.get("model_type").and_then(Value::as_str);
        inner.or(outer).unwrap_or("unknown")
    }

    /// `model_type` of the text part and of the outer object.
    pub(super) fn model_types(&self) -> Vec<&'a str> {
        let stated = [self.text, self.outer].into_iter();
        stated
            .filter_map(|fields| fields.get("model_type")?.as_str())
            .collect()
    }

    /// The value of `name`, with null as absent; for DBRX-like files also from the parts for attention and MLP.
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        let parts = ["attn_config", "ffn_config"]
            .into_iter()
            .filter_map(|part| self.text.get(part)?.as_object());
        [self.text, self.outer]
            .into_iter()
            .chain(parts)
            .find_map(|fields| fields.get(name).filter(|value| !value.is_null()))
    }

    /// The fields of the object `name` inside this configuration.
    pub(super) fn inside(&self, name: &str) -> Option<Self> {
        let part = self.text.get(name)?.as_object()?;
        Some(Self {
            text: part,
            outer: part,
            ..*self
        })
    }

    /// The first of `names` with an integer, otherwise the class's default of one of them. Values above the limit count as absent.
    pub(super) fn count(&self, names: &[&str]) -> Option<u64> {
        let stated = self.stated(names).filter(|value| *value <= LARGEST);
        stated.or_else(|| {
            let default = self.defaults.iter().find(|(name, _)| names.contains(name));
            default.map(|(_, value)| *value)
        })
    }

    /// The first of `names` with an integer, such as a length, of any size.
    pub(super) fn stated(&self, names: &[&str]) -> Option<u64> {
        names.iter().find_map(|name| whole(self.value(name)?))
    }

    /// Like [`ConfigFields::count`], with an error that names the field if it is absent, zero, or above the limit.
    pub(super) fn need(&self, names: &[&str]) -> Result<u64, ModelError> {
        match self.count(names) {
            Some(0) => Err(self.bad(names[0], "must not be zero")),
            Some(value) => Ok(value),
            None if self.stated(names).is_some() => {
                Err(self.bad(names[0], format!("must be at most {LARGEST}")))
            }
            None => Err(ModelError::MissingField {
                architecture: self.architecture(),
                field: alternatives(names),
            }),
        }
    }

    /// The boolean `name`.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.value(name)?.as_bool()
    }

    /// The string `name`.
    pub(super) fn string(&self, name: &str) -> Option<&'a str> {
        self.value(name)?.as_str()
    }

    /// The list `name`.
    pub(super) fn list(&self, name: &str) -> Option<&'a [Value]> {
        self.value(name)?.as_array().map(Vec::as_slice)
    }

    /// The integers in the list `name`.
    pub(super) fn counts(&self, name: &str) -> Option<Vec<u64>> {
        let listed = self.list(name)?.iter().filter_map(whole);
        Some(listed.map(|value| value.min(LARGEST)).collect())
    }

    /// The strings in the list `name`.
    pub(super) fn strings(&self, name: &str) -> Option<Vec<&'a str>> {
        Some(self.list(name)?.iter().filter_map(Value::as_str).collect())
    }

    /// An error about `field`.
    pub(super) fn bad(&self, field: &str, problem: impl Into<String>) -> ModelError {
        ModelError::BadField {
            architecture: self.architecture(),
            field: field.to_owned(),
            problem: problem.into(),
        }
    }
}

/// The first name, with the others in parentheses.
fn alternatives(names: &[&str]) -> String {
    match names {
        [only] => (*only).to_owned(),
        [first, others @ ..] => format!("{first} (or {})", others.join(", ")),
        [] => String::new(),
    }
}

/// A non-negative integer; the first one of a list (one value per layer).
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Array(values) => whole(values.first()?),
        number => number.as_u64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_infinity_is_read_and_strings_are_left_alone() {
        let value = parse_lenient(
            r#"{"a": [0.0, Infinity], "b": "say \"Infinity\"", "c": -Infinity, "d": NaN}"#,
        )
        .expect("lenient");
        assert_eq!(value["a"][1], Value::Null);
        assert_eq!(value["b"], "say \"Infinity\"");
        assert!(value["d"].is_null());
        assert!(matches!(parse_lenient("{"), Err(ModelError::Json(_))));
    }

    #[test]
    fn the_text_part_wins_and_null_is_absent() {
        let config = serde_json::json!({"hidden_size": 1, "vocab_size": 9, "text_config": {"hidden_size": 2, "head_dim": null}});
        let fields = ConfigFields::of(&config)
            .expect("object")
            .with_defaults(&[("head_dim", 256)]);
        assert_eq!(fields.count(&["hidden_size"]), Some(2));
        assert_eq!(fields.count(&["vocab_size"]), Some(9));
        assert_eq!(fields.count(&["head_dim"]), Some(256));
        let missing = fields
            .need(&["num_hidden_layers", "n_layer"])
            .expect_err("absent");
        assert!(
            missing
                .to_string()
                .contains("num_hidden_layers (or n_layer)"),
            "{missing}"
        );
    }
}
