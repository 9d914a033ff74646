//! Finds the likely new name of a missing metric.

use crate::exposition::{ExpositionType, Line, Lines};
use crate::sample::metrics::MetricQuantity;

use super::names::without_prefix;

/// Less similar names are unrelated.
const ALIKE: f64 = 0.5;

/// vLLM families, up to 0.33, whose meaning differs from every metric that is read, however similar their names.
const OTHERS: [&str; 31] = [
    "admission_rejections_total",
    "avg_generation_throughput_toks_per_s",
    "avg_prompt_throughput_toks_per_s",
    "cpu_cache_usage_perc",
    "cpu_prefix_cache_hit_rate",
    "e2e_request_latency_seconds",
    "kv_offload_cpu_cache_usage_perc",
    "mm_cache_hits_total",
    "mm_cache_queries_total",
    "model_execute_time_milliseconds",
    "model_forward_time_milliseconds",
    "num_requests_kv_fetch_by_stage",
    "num_requests_swapped",
    "num_requests_waiting_by_reason",
    "prompt_tokens_cached_by_source_total",
    "prompt_tokens_recomputed_total",
    "request_decode_time_seconds",
    "request_inference_time_seconds",
    "request_max_num_generation_tokens",
    "request_num_preemptions",
    "request_params_max_tokens",
    "request_params_n",
    "request_prefill_time_seconds",
    "request_queue_time_seconds",
    "request_time_per_output_token_seconds",
    "spec_decode_draft_acceptance_rate",
    "spec_decode_efficiency",
    "spec_decode_num_accepted_tokens_per_pos_total",
    "spec_decode_num_drafts_total",
    "spec_decode_num_emitted_tokens_total",
    "time_in_queue_requests",
];

/// The unknown vLLM family on `page` of the same kind as `wanted` with the most similar name.
pub(super) fn nearest(page: &str, wanted: MetricQuantity) -> Option<String> {
    let own = wanted.metric().name.text;
    Lines::new(page)
        .filter_map(Result::ok)
        .filter_map(|line| match line {
            Line::Type { family, kind } if alike(kind, wanted.kind()) => Some(family),
            _ => None,
        })
        .filter(|family| !family.ends_with("_created"))
        .filter_map(|family| Some((family, without_prefix(family)?.0)))
        .filter(|(_, name)| !is_known(name))
        .map(|(family, name)| (family, strsim::sorensen_dice(name, own)))
        .filter(|&(_, likeness)| likeness >= ALIKE)
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(family, _)| family.to_owned())
}

fn alike(found: ExpositionType, wanted: ExpositionType) -> bool {
    found == wanted || found == ExpositionType::Untyped
}

/// Whether `name` is a family with a known meaning. OpenMetrics names a counter's family without its suffix.
fn is_known(name: &str) -> bool {
    let total = format!("{name}_total");
    let same = |known: &str| known == name || known == total;
    let mut read = MetricQuantity::all().flat_map(|quantity| quantity.metric().names());
    OTHERS.iter().any(|&other| same(other)) || read.any(|known| same(known.text))
}
