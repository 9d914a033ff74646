//! The basis of an engine's numbers: its facts, and the status of the exporter.

use serde_json::{Value, json};

use super::panel::Panel;

/// Internal columns.
fn hidden() -> Value {
    json!({"Time": true, "Value": true, "job": true, "namespace": true, "pod": true, "instance": true, "__name__": true})
}

pub(crate) fn facts() -> Panel {
    Panel::table(
        "Model and deployment",
        "What is known of the model and of how it is deployed; an empty cell is not known.",
    )
    .column("model", "group by (model_name, engine, target, architecture, dtype, quantization, kv_cache_dtype, source) (vllm_roofline_model_info{ENGINE})")
    .column("deployment", "group by (model_name, engine, target, tensor_parallel_size, pipeline_parallel_size, gpus, max_num_seqs, max_num_batched_tokens) (vllm_roofline_deployment_info{ENGINE})")
    .transformation("organize", &json!({"excludeByName": {"Time": true, "Value #model": true, "Value #deployment": true}}))
}

pub(crate) fn gpus() -> Panel {
    Panel::table(
        "GPUs",
        "Each GPU of the engine, the entry of the GPU table it was matched with, and whether its attainable ceilings were measured or are assumed.",
    )
    .column("gpu", "group by (gpu, name, spec, provenance, attainable) (vllm_roofline_gpu_info{ENGINE})")
    .transformation("organize", &json!({"excludeByName": hidden()}))
}

pub(crate) fn exporter() -> Panel {
    Panel::timeseries("Sources", "Whether the last read of each source succeeded.")
        .line(
            "{{source}}",
            "min by (source) (vllm_roofline_source_success{TARGET})",
        )
        .line("vLLM up", "min(vllm_roofline_up{TARGET})")
        .unit("bool_yes_no")
        .range(0.0, 1.0)
}

pub(crate) fn reads() -> Panel {
    Panel::timeseries("Reading time", "How long a read of each source takes.")
        .line(
            "{{source}}",
            "max by (source) (vllm_roofline_source_read_seconds{TARGET})",
        )
        .unit("s")
        .min(0.0)
        .no_value("nothing is read: a recording is played")
}

pub(crate) fn missing() -> Panel {
    Panel::timeseries(
        "What is missing",
        "Facts of the engine that could not be found, failed reads and spans of time thrown away. The exporter's page says why and what to do.",
    )
    .line("missing facts", "count(vllm_roofline_missing_fact{ENGINE}) or vector(0)")
    .line("failed reads/s", "sum(rate(vllm_roofline_source_errors_total{TARGET}[$__rate_interval]))")
    .line("discards/s", "sum(rate(vllm_roofline_window_discards_total{TARGET}[$__rate_interval])) or vector(0)")
    .unit("short")
    .min(0.0)
}
