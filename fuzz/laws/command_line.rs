//! vLLM's command line: whatever it contains, it is a one-line error, or flags that mean the same after normalisation.

use roofline::spec::deployment::DeploymentFlags;
use roofline::spec::deployment::command_line::{LineOrigin, Takes, normalize};

/// `data` as words separated by zero bytes, as in /proc.
pub fn holds(data: &[u8]) {
    let words: Vec<_> = super::parts(data)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    match DeploymentFlags::from_vllm_command_line(&words) {
        Ok(flags) => super::is_json(&serde_json::to_string(&flags).expect("writable")),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
    for line in [LineOrigin::Vllm, LineOrigin::Ours { names_model: true }] {
        let once = normalize(line, words.iter().cloned(), takes).arguments;
        let again = normalize(line, once.iter().cloned(), takes).arguments;
        // The words after `vllm serve` are normalised; these words themselves are not.
        if line == LineOrigin::Vllm {
            assert_eq!(again, once);
        }
    }
}

fn takes(name: &str) -> Option<Takes> {
    Some(match name {
        "enforce-eager" | "enable-expert-parallel" | "enable-lora" => Takes::Nothing,
        "model" | "tensor-parallel-size" | "max-model-len" | "speculative-config" => Takes::Value,
        "results" => Takes::Values,
        _ => return None,
    })
}
