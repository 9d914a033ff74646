//! Invalid input: each mistake has its own message and remedy.

use serde_json::json;

use crate::static_cli::support::*;

/// Invalid flags for a valid model, and part of the error.
const BAD_FLAGS: [(&str, &str); 17] = [
    (
        "--gpu H1000",
        "unknown GPU \"H1000\"; did you mean h100-sxm5-80gb",
    ),
    ("--gpu A100", "ambiguous: say which of"),
    (
        "--gpu H100 --tensor-parallel-size 3",
        "--tensor-parallel-size 3 does not divide the 32 attention heads",
    ),
    (
        "--gpu T4 --dtype bfloat16",
        "Tesla T4 cannot run bf16 activations; use --dtype half",
    ),
    (
        "--gpu T4 --quantization fp8",
        "cannot run fp8 weights; use an AWQ or GPTQ checkpoint",
    ),
    (
        "--gpu H100 --quantization magic",
        "quantisation method \"magic\" is not known; known are awq",
    ),
    (
        "--gpu H100 --gpu-memory-utilization 2",
        "--gpu-memory-utilization 2: must be",
    ),
    ("--gpu H100 --requests absent.json", "absent.json: "),
    (
        "--gpu H100 --phase decode --input-len 2000",
        "--input-len describes a whole load and has no effect with --phase; give --new-tokens and --context",
    ),
    (
        "--gpu H100 --phase prefill --waves 3",
        "--waves describes a whole load",
    ),
    (
        "--gpu H100 --phase decode --slo-ttft 1s",
        "--slo-ttft describes a whole load",
    ),
    (
        "--gpu H100 --max-model-len 1000 --input-len 900 --output-len 200",
        "--max-model-len 1000: a request of 900 + 200 tokens is longer",
    ),
    (
        "--gpu B200-SXM --vllm-version newest",
        "--vllm-version newest: must be a version such as 0.27",
    ),
    (
        "--gpu none --slo-tpot 10ms",
        "--slo-tpot has no effect with --gpu none",
    ),
    (
        "--gpu H100 --input-len 1000 --cached-len 1000",
        "--cached-len 1000 leaves nothing of a prompt of 1000 tokens",
    ),
    (
        "--gpu none --coefficients absent.yaml",
        "--coefficients has no effect with --gpu none",
    ),
    (
        "--gpu H100 --compilation-config {",
        "--compilation-config {: must be a JSON object",
    ),
];

/// Content of a file, the flag that names it, and part of the error.
const BAD_FILES: [(&str, &str, &str); 5] = [
    ("[]", "--requests", "needs at least one group"),
    (
        r#"[{"count": 0, "new_tokens": 1, "cached_tokens_before": 0, "is_prefill": false}]"#,
        "--requests",
        "each with a positive count",
    ),
    (
        r#"[{"count": 1}]"#,
        "--requests",
        "missing field `new_tokens`",
    ),
    (
        r#"{"colour": 1}"#,
        "--coefficients",
        "unknown field `colour`",
    ),
    (
        r#"{"hbm_fraction": 1.5}"#,
        "--coefficients",
        "hbm_fraction is 1.5; it must be above 0 and at most 1",
    ),
];

fn check(answer: Answer, message: &str) {
    let refusal = answer.refusal();
    assert!(
        refusal.contains(message),
        "{message:?} is not in {refusal:?}"
    );
}

#[test]
fn flags_are_refused_with_the_remedy() {
    let files = Files::with(&llama_3_8b());
    for (line, message) in BAD_FLAGS {
        check(files.predict(line), message);
    }
    check(
        Answer::of(&["static", "--gpu", "H100"]),
        "--model is missing",
    );
    check(files.predict(""), "--gpu is missing: name one of `gpus`");
}

#[test]
fn files_are_refused_by_name() {
    let files = Files::with(&llama_3_8b());
    for (text, flag, message) in BAD_FILES {
        let path = files.write("bad.json", text);
        let answer = files.predict(&format!("--gpu H100 {flag} {path}"));
        check(answer, message);
        check(files.predict(&format!("--gpu H100 {flag} {path}")), &path);
    }
}

#[test]
fn models_are_refused_by_what_they_lack() {
    let mut config = llama_3_8b();
    config
        .as_object_mut()
        .expect("object")
        .remove("num_attention_heads");
    check(
        Files::with(&config).predict("--gpu H100"),
        "lacks num_attention_heads",
    );
    check(
        Files::with(&json!([])).predict("--gpu H100"),
        "holds no JSON object",
    );
    let encoder = json!({"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 64, "vocab_size": 100});
    check(
        Files::with(&encoder).predict("--gpu H100"),
        "is not modelled",
    );
    check(
        Answer::of(&["static", "--gpu", "H100", "--model", "nobody/nothing"]),
        "not in the Hugging Face cache (looked in ",
    );
}
