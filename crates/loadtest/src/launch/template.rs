//! `Template`: the command line of a server, with placeholders for what a sweep varies.

use roofline::spec::deployment::DeploymentFlags;

/// A parameter that a sweep can vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VariedParameter {
    /// `{batch}`.
    Batch,
    /// `{gpu_memory_utilization}`.
    GpuMemoryUtilization,
    /// `{max_num_batched_tokens}`.
    MaxNumBatchedTokens,
}

impl VariedParameter {
    /// The placeholder as written in a template. Other braces, such as those of JSON, are left alone.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Batch => "{batch}",
            Self::GpuMemoryUtilization => "{gpu_memory_utilization}",
            Self::MaxNumBatchedTokens => "{max_num_batched_tokens}",
        }
    }
}

/// The command line of a server, with placeholders for what a sweep varies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// A template.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it contains `place`.
    #[must_use]
    pub fn has(&self, place: VariedParameter) -> bool {
        self.0.contains(place.text())
    }

    /// The command line with `values` in place of the placeholders.
    #[must_use]
    pub fn filled(&self, values: &[(VariedParameter, String)]) -> String {
        values.iter().fold(self.0.clone(), |line, (place, value)| {
            line.replace(place.text(), value)
        })
    }
}

/// The deployment that a command line describes, if it contains vLLM's `serve`. Words are split as a shell does; variables are not
/// expanded.
#[must_use]
pub fn deployment_of(line: &str) -> DeploymentFlags {
    let words = shlex::split(line).unwrap_or_default();
    let serve = words
        .iter()
        .position(|word| word == "serve" || word.ends_with("/serve"));
    let arguments = serve.map_or(&words[..], |serve| &words[serve..]);
    // vLLM itself refuses invalid flags, with a better message.
    DeploymentFlags::from_vllm_command_line(arguments).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_places_are_filled() {
        let template = Template::new(
            "vllm serve m --max-num-seqs {batch} --speculative-config '{\"method\":\"ngram\"}'",
        );
        assert!(
            template.has(VariedParameter::Batch)
                && !template.has(VariedParameter::MaxNumBatchedTokens)
        );
        let line = template.filled(&[(VariedParameter::Batch, "8".to_owned())]);
        assert_eq!(
            line,
            "vllm serve m --max-num-seqs 8 --speculative-config '{\"method\":\"ngram\"}'"
        );
    }

    #[test]
    fn the_deployment_is_read_from_the_line() {
        let line = "PORT=1 vllm serve 'my model' --max-num-seqs 8 -tp 2 --port 8000";
        let flags = deployment_of(line);
        assert_eq!(flags.model.as_deref(), Some("my model"));
        assert_eq!(flags.max_num_seqs, Some(8));
        assert_eq!(flags.tensor_parallel_size, Some(2));
        assert_eq!(
            deployment_of("./start.sh {batch}"),
            DeploymentFlags::default()
        );
    }
}
