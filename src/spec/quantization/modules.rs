//! `Pattern`: how quantisation configurations name modules, in targets and in ignore lists.

use regex_lite::Regex;
use serde_json::Value;

/// Names one module or many.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// `re:` and a regular expression.
    Regex(Regex),
    /// A run of dotted components, `*` standing for any text.
    Run(String),
}

impl Pattern {
    /// Covers all modules, the head among them.
    pub(super) fn everything() -> Self {
        Self::Run("*".to_owned())
    }

    /// Whether this is the class name that stands for every linear module.
    pub(super) fn is_any_linear(&self) -> bool {
        matches!(self, Self::Run(run) if run == "Linear")
    }

    /// Whether the module `name`, such as `layers.3.mlp.gate_proj`, is meant: it holds the pattern as a run of whole components.
    pub(super) fn covers(&self, name: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(&format!("model.{name}")) || regex.is_match(name),
            Self::Run(run) if run.contains('*') => {
                glob(run, name) || glob(&format!("{run}.*"), name)
            }
            Self::Run(run) => format!(".{name}.").contains(&format!(".{run}.")),
        }
    }

    fn parse(text: &str) -> Self {
        let regex = text.strip_prefix("re:").map(Regex::new);
        match regex {
            Some(Ok(regex)) => Self::Regex(regex),
            _ => {
                let bare = text.replace("language_model.", "");
                let bare = bare
                    .trim_start_matches("model.")
                    .trim_start_matches("backbone.");
                Self::Run(bare.to_owned())
            }
        }
    }
}

/// The patterns in a JSON list of strings.
pub(super) fn patterns(list: Option<&Value>) -> Vec<Pattern> {
    let texts = list
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    texts.map(Pattern::parse).collect()
}

/// Whether `name` is `pattern` with each `*` replaced by some text.
fn glob(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(head) else {
        return false;
    };
    (0..=rest.len())
        .filter(|start| rest.is_char_boundary(*start))
        .any(|start| glob(tail, &rest[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, covered: bool) {
        assert_eq!(
            Pattern::parse(pattern).covers(name),
            covered,
            "{pattern} {name}"
        );
    }

    #[test]
    fn ignore_lists_are_read_in_all_their_spellings() {
        check(
            "model.layers.*.self_attn",
            "layers.3.self_attn.q_proj",
            true,
        );
        check("model.layers.*.self_attn", "layers.3.mlp.up_proj", false);
        check("re:.*mlp.gate$", "layers.3.mlp.gate_proj", false);
        check("re:.*self_attn.*", "layers.3.self_attn.q_proj", true);
        check("lm_head", "layers.3.mlp.up_proj", false);
        check("mlp.gate", "layers.3.mlp.gate_proj", false);
        check("mlp.gate", "layers.3.mlp.gate", true);
        check("model.layers.3", "layers.3.mlp.up_proj", true);
        check("model.layers.3", "layers.31.mlp.up_proj", false);
        check(
            "model.language_model.layers.3.mlp",
            "layers.3.mlp.up_proj",
            true,
        );
        check(
            "*.shared_expert.*",
            "layers.1.mlp.shared_expert.up_proj",
            true,
        );
    }
}
