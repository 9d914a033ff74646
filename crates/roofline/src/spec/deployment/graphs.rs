//! Which steps run as CUDA graphs, decided from vLLM's flags as vLLM does.

use serde::Deserialize;

use super::{DeploymentError, DeploymentFlags, speculative_tokens};

/// vLLM captures graphs for up to `2 · max_num_seqs` tokens, at most 512 (`_set_cudagraph_sizes` of `config/vllm.py`, 0.10 to 0.32).
const LARGEST_BY_DEFAULT: u64 = 512;

/// Which steps vLLM captures CUDA graphs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphLimit {
    /// No graphs, and no compilation.
    Eager,
    /// Steps of up to this many tokens; larger ones run the compiled model piece by piece.
    Tokens(u64),
}

/// The members of `--compilation-config` that affect graphs.
#[derive(Default, Deserialize)]
struct Compilation {
    cudagraph_mode: Option<String>,
    cudagraph_capture_sizes: Option<Vec<u64>>,
    max_cudagraph_capture_size: Option<u64>,
}

impl GraphLimit {
    /// # Errors
    /// When the compilation configuration is not a JSON object as vLLM accepts it.
    pub(super) fn read(
        flags: &DeploymentFlags,
        max_num_seqs: u64,
    ) -> Result<Self, DeploymentError> {
        if flags.enforce_eager {
            return Ok(Self::Eager);
        }
        let compilation = compilation(flags.compilation_config.as_deref())?;
        let off = compilation
            .cudagraph_mode
            .is_some_and(|mode| mode.eq_ignore_ascii_case("none"));
        let listed = compilation
            .cudagraph_capture_sizes
            .map(|sizes| sizes.into_iter().max().unwrap_or(0));
        let stated = listed
            .or(flags.max_cudagraph_capture_size)
            .or(compilation.max_cudagraph_capture_size);
        let proposed = speculative_tokens(flags.speculative_config.as_deref())?;
        let by_default = max_num_seqs
            .saturating_mul(2 * (1 + proposed))
            .min(LARGEST_BY_DEFAULT);
        Ok(Self::Tokens(if off {
            0
        } else {
            stated.unwrap_or(by_default)
        }))
    }
}

fn compilation(config: Option<&str>) -> Result<Compilation, DeploymentError> {
    let Some(config) = config else {
        return Ok(Compilation::default());
    };
    // A bare number is the optimisation level.
    if config.parse::<u8>().is_ok() {
        return Ok(Compilation::default());
    }
    serde_json::from_str(config).map_err(|error| DeploymentError::BadFlag {
        flag: "--compilation-config",
        value: config.to_owned(),
        problem: format!("must be a JSON object as vLLM reads it ({error})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(flags: &DeploymentFlags, max_num_seqs: u64) -> GraphLimit {
        GraphLimit::read(flags, max_num_seqs).expect("readable")
    }

    #[test]
    fn graphs_follow_the_flags_as_in_vllm() {
        let with = |config: &str| DeploymentFlags {
            compilation_config: Some(config.to_owned()),
            ..DeploymentFlags::default()
        };
        for (flags, seqs, expected) in [
            (DeploymentFlags::default(), 1024, GraphLimit::Tokens(512)),
            (DeploymentFlags::default(), 4, GraphLimit::Tokens(8)),
            (
                with(r#"{"cudagraph_mode": "NONE"}"#),
                64,
                GraphLimit::Tokens(0),
            ),
            (
                with(r#"{"cudagraph_capture_sizes": [1, 256, 8]}"#),
                64,
                GraphLimit::Tokens(256),
            ),
            (
                with(r#"{"max_cudagraph_capture_size": 2048, "mode": 3}"#),
                64,
                GraphLimit::Tokens(2048),
            ),
            (with("3"), 64, GraphLimit::Tokens(128)),
            (
                DeploymentFlags {
                    enforce_eager: true,
                    ..with(r#"{"mode": 3}"#)
                },
                64,
                GraphLimit::Eager,
            ),
            (
                DeploymentFlags {
                    max_cudagraph_capture_size: Some(1024),
                    ..DeploymentFlags::default()
                },
                64,
                GraphLimit::Tokens(1024),
            ),
        ] {
            assert_eq!(limit(&flags, seqs), expected, "{flags:?}");
        }
        let error = GraphLimit::read(&with("{"), 8).expect_err("no JSON");
        assert!(error.to_string().contains("--compilation-config"));
    }
}
