//! Servers whose page may be mistaken for vLLM's, and the URL to use instead.

use crate::exposition::Lines;

/// Name prefix of another server's page, what the server is, and what to do.
const OTHERS: &[(&str, &str, &str)] = &[
    (
        "vllm_roofline_",
        "this exporter's own page",
        "point --vllm-url at vLLM",
    ),
    (
        "sglang",
        "SGLang's page",
        "this exporter reads vLLM only; SGLang counts other things under other names",
    ),
    (
        "trtllm_",
        "TensorRT-LLM's page",
        "this exporter reads vLLM only",
    ),
    (
        "nv_trt_llm_",
        "the page of Triton with TensorRT-LLM",
        "this exporter reads vLLM only",
    ),
    (
        "nv_inference_",
        "Triton's page",
        "with the vLLM backend, add `REPORT_CUSTOM_METRICS` to the model's config.pbtxt so that it shows vllm: series",
    ),
    (
        "tgi_",
        "Text Generation Inference's page",
        "this exporter reads vLLM only",
    ),
    (
        "llamacpp:",
        "llama.cpp's page",
        "this exporter reads vLLM only",
    ),
    (
        "lmdeploy:",
        "LMDeploy's page",
        "this exporter reads vLLM only",
    ),
    (
        "dynamo_",
        "a page of NVIDIA Dynamo without vLLM's series",
        "start the worker with DYN_SYSTEM_PORT=8081 and point --vllm-url at that port, with --model",
    ),
    (
        "inference_pool_",
        "the page of an inference gateway's endpoint picker",
        "point --vllm-url at a vLLM pod behind it; run one exporter beside each",
    ),
    (
        "litellm_",
        "LiteLLM's page",
        "point --vllm-url at the vLLM behind it",
    ),
    (
        "DCGM_FI_",
        "a dcgm-exporter's page",
        "give its URL as --dcgm-url, and vLLM's as --vllm-url",
    ),
    (
        "ray_",
        "Ray's metrics agent without vLLM's series",
        "set `log_engine_metrics: true` in the LLMConfig, and scrape the node on which a replica runs",
    ),
];

/// Metrics specific to vLLM's engine, which NIM 1 writes without a prefix.
const BARE: [&str; 3] = [
    "num_requests_running",
    "gpu_cache_usage_perc",
    "iteration_tokens_total_count",
];

/// A page that is not vLLM's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// The server that it belongs to.
    pub what: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

impl std::fmt::Display for Other {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "this is {}, not vLLM's: {}", self.what, self.instead)
    }
}

/// Recognises the server of a page by the names on it.
pub(super) fn recognise(page: &str) -> Option<Other> {
    let named = |prefix: &str| {
        Lines::new(page)
            .only(&[prefix])
            .filter_map(Result::ok)
            .next()
            .is_some()
    };
    if let Some(&(_, what, instead)) = OTHERS.iter().find(|(prefix, ..)| named(prefix)) {
        return Some(Other { what, instead });
    }
    BARE.iter().any(|name| named(name)).then_some(Other {
        what: "NVIDIA NIM 1's page, which has vLLM's metrics without their prefix and under old meanings",
        instead: "NIM 2 has vLLM's own page at /v1/metrics: use --vllm-url http://HOST:8000/v1/metrics --model DIR",
    })
}
