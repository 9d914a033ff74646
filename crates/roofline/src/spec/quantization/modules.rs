//! `Modules`: the modules that a quantisation configuration lists as targets or to ignore.
//!
//! Configurations list hundreds of modules, layer by layer, so patterns that name one layer are indexed by its number. Checkpoints use
//! different names for the same module; all spellings are tried.

use std::collections::HashMap;

use regex_lite::Regex;
use serde_json::Value;

/// A set of modules.
#[derive(Clone, Debug, Default)]
pub(super) struct Modules {
    by_layer: HashMap<u64, Vec<Pattern>>,
    anywhere: Vec<Pattern>,
}

impl Modules {
    /// The modules that `names` denote.
    pub(super) fn named<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut modules = Self::default();
        for name in names {
            let pattern = Pattern::parse(name);
            match pattern.layer() {
                Some(layer) => modules.by_layer.entry(layer).or_default().push(pattern),
                None => modules.anywhere.push(pattern),
            }
        }
        modules
    }

    /// The modules in a JSON list of strings.
    pub(super) fn listed(list: Option<&Value>) -> Self {
        let names = list.and_then(Value::as_array).into_iter().flatten();
        Self::named(names.filter_map(Value::as_str))
    }

    /// All modules, including the head.
    pub(super) fn everything() -> Self {
        Self {
            anywhere: vec![Pattern::Run("*".to_owned())],
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_layer.is_empty() && self.anywhere.is_empty()
    }

    /// Whether it contains the class name that denotes every linear module.
    pub(super) fn has_any_linear(&self) -> bool {
        let is_class = |pattern: &Pattern| matches!(pattern, Pattern::Run(run) if run == "Linear");
        self.anywhere.iter().any(is_class)
    }

    /// Adds the modules of `other`.
    pub(super) fn join(&mut self, other: Self) {
        self.anywhere.extend(other.anywhere);
        for (layer, patterns) in other.by_layer {
            self.by_layer.entry(layer).or_default().extend(patterns);
        }
    }

    /// Whether it contains `module` of layer `layer`, in any spelling.
    pub(super) fn hold(&self, layer: u64, module: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        let own = self.by_layer.get(&layer).map_or(&[][..], Vec::as_slice);
        spellings(module).iter().any(|module| {
            let name = format!("layers.{layer}.{module}");
            own.iter()
                .chain(&self.anywhere)
                .any(|pattern| pattern.covers(&name))
        })
    }

    /// Whether it contains the module `name` outside the layers.
    pub(super) fn hold_outside(&self, name: &str) -> bool {
        self.anywhere.iter().any(|pattern| pattern.covers(name))
    }
}

/// The names that checkpoints use for `module`.
fn spellings(module: &str) -> Vec<String> {
    const PREFIXES: [(&str, &[&str]); 5] = [
        (
            "mlp.shared_expert.",
            &[
                "mlp.shared_experts.",
                "mixer.shared_experts.",
                "block_sparse_moe.shared_experts.",
                "feed_forward.shared_expert.",
            ],
        ),
        (
            "mlp.experts.0.up_proj",
            &[
                "mixer.experts.0.up_proj",
                "block_sparse_moe.experts.0.w1",
                "feed_forward.experts.0.up_proj",
                "ffn.experts.0.w1",
            ],
        ),
        (
            "linear_attn.in_proj_qkvz",
            &["linear_attn.in_proj_qkv", "linear_attn.in_proj_z"],
        ),
        ("mlp.", &["mixer.", "feed_forward."]),
        ("self_attn.", &["mixer.", "attn.", "attention."]),
    ];
    let known = PREFIXES
        .iter()
        .find_map(|(prefix, others)| Some((module.strip_prefix(prefix)?, *others)));
    let (rest, others) = known.unwrap_or((module, &[]));
    let mut spellings = vec![module.to_owned()];
    spellings.extend(others.iter().map(|prefix| format!("{prefix}{rest}")));
    spellings
}

/// A pattern for one or many modules.
#[derive(Clone, Debug)]
enum Pattern {
    /// `re:` and a regular expression.
    Regex(Regex),
    /// A sequence of dotted components; `*` stands for any text.
    Run(String),
}

impl Pattern {
    /// The layer that it names, if any.
    fn layer(&self) -> Option<u64> {
        let Self::Run(run) = self else {
            return None;
        };
        let number = run.strip_prefix("layers.")?.split('.').next()?;
        number.parse().ok()
    }

    /// Whether it matches the module `name`, such as `layers.3.mlp.gate_proj`: the name contains the pattern as whole components.
    fn covers(&self, name: &str) -> bool {
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

/// Whether `name` matches `pattern`, in which each `*` stands for some text.
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

    #[test]
    fn modules_are_found_by_layer_and_in_every_spelling() {
        let modules = Modules::named(
            [
                "model.layers.10.mlp.shared_experts*",
                "backbone.layers.4.mixer.in_proj",
                "model.layers.1*",
                "lm_head",
            ]
            .into_iter(),
        );
        assert!(modules.hold(10, "mlp.shared_expert.up_proj"));
        assert!(modules.hold(4, "mixer.in_proj"));
        assert!(!modules.hold(5, "mixer.in_proj"));
        assert!(modules.hold(17, "mlp.up_proj"));
        assert!(!modules.hold(20, "mlp.up_proj"));
        assert!(modules.hold_outside("lm_head"));
        assert!(!Modules::default().hold(0, "mlp.up_proj"));
        let nemotron = Modules::named(["backbone.layers.5.mixer.q_proj"].into_iter());
        assert!(nemotron.hold(5, "self_attn.q_proj"));
    }
}
