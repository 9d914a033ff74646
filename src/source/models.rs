//! Parses the answer of `/v1/models`. Members that are not needed are skipped, so a hostile answer costs no memory.

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Maximum number of models of one server: the base model and its adapters.
const MOST_MODELS: usize = 1024;
/// Maximum bytes of a name or a path. They appear in the log.
const LONGEST_NAME: usize = 1024;

/// The models of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Models {
    #[serde(default, deserialize_with = "bounded")]
    data: Vec<Model>,
}

/// A served model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Model {
    id: BoundedName,
    /// Hugging Face id, or path on the server.
    root: Option<BoundedName>,
    max_model_len: Option<u64>,
}

/// A name; empty if it exceeds the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "std::borrow::Cow<'_, str>")]
struct BoundedName(String);

impl From<std::borrow::Cow<'_, str>> for BoundedName {
    fn from(name: std::borrow::Cow<'_, str>) -> Self {
        if name.len() > LONGEST_NAME {
            Self::default()
        } else {
            Self(name.into_owned())
        }
    }
}

impl Models {
    /// Maximum bytes of an answer: a thousand adapters have a few hundred thousand.
    pub const LARGEST: usize = 1 << 20;

    /// Parses an answer.
    ///
    /// # Errors
    /// An answer that differs from vLLM's format.
    pub fn read(answer: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(answer)
    }

    /// The `root` of the model served as `name`, otherwise of the first.
    #[must_use]
    pub(crate) fn root_of(&self, name: &str) -> Option<&str> {
        let named = self.data.iter().find(|model| model.id.0 == name);
        let root = &named.or(self.data.first())?.root.as_ref()?.0;
        (!root.is_empty()).then_some(root)
    }
}

/// The first [`MOST_MODELS`]; the rest is skipped.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Model>, D::Error> {
    struct Bounded;

    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<Model>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a list of models")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Model>, A::Error> {
            let mut models = Vec::new();
            while models.len() < MOST_MODELS {
                match list.next_element()? {
                    Some(model) => models.push(model),
                    None => return Ok(models),
                }
            }
            while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(models)
        }
    }
    deserializer.deserialize_seq(Bounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_that_of_the_served_name() {
        let answer = serde_json::json!({"object": "list", "data": [
            {"id": "adapter", "root": "/adapters/a", "permission": [{}]},
            {"id": "llama", "root": "/models/llama"},
        ]});
        let models = Models::read(answer.to_string().as_bytes()).unwrap();
        assert_eq!(models.root_of("llama"), Some("/models/llama"));
        assert_eq!(models.root_of("other"), Some("/adapters/a"));
        assert_eq!(Models::read(b"{}").unwrap().root_of("llama"), None);
    }

    #[test]
    fn more_than_a_server_has_is_left_out() {
        let one = |root: &str| format!("{{\"id\": \"m\", \"root\": \"{root}\"}}");
        let read = |answer: String| Models::read(answer.as_bytes()).unwrap();
        let many = vec![one("a"); 5000].join(",");
        assert_eq!(
            read(format!("{{\"data\": [{many}]}}")).data.len(),
            MOST_MODELS
        );
        let long = one(&"/a".repeat(LONGEST_NAME));
        assert_eq!(read(format!("{{\"data\": [{long}]}}")).root_of("m"), None);
    }
}
