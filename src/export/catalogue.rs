//! All metric families: name, type, labels, help, provenance, stability. A metric exists if and only if it is here.
//!
//! Tests check docs/metrics.md, the dashboards and the rules against this file.

use serde::Serialize;

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FamilyKind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The origin of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FamilyProvenance {
    /// Read from vLLM's counters or the GPU's.
    Measured,
    /// Derived from measured counters by the roofline model.
    Modelled,
    /// From a table, a model's config.json or a setting.
    Specified,
    /// The exporter's own state.
    Own,
}

/// What may change about a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stability {
    /// Frozen, except for new labels; a rename exports both names for one release.
    Stable,
    /// May change in any release.
    Experimental,
}

/// A metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueFamily {
    /// Full name.
    pub name: &'static str,
    /// Type.
    #[serde(rename = "type")]
    pub kind: FamilyKind,
    /// Labels in addition to the engine's.
    pub labels: &'static [&'static str],
    /// Whether the series carry the engine's labels, `model_name` and `engine`.
    pub per_engine: bool,
    /// The help text: meaning, unit, derivation.
    pub help: &'static str,
    /// The origin of the number.
    pub provenance: FamilyProvenance,
    /// Its stability.
    pub stability: Stability,
}

macro_rules! families {
    ($($constant:ident = $name:literal $kind:ident $provenance:ident $stability:ident $scope:ident [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = concat!("`vllm_roofline_", $name, "`")]
            pub const $constant: CatalogueFamily = CatalogueFamily {
                name: concat!("vllm_roofline_", $name),
                kind: FamilyKind::$kind,
                labels: &[$($label),*],
                per_engine: families!(@ $scope),
                help: $help,
                provenance: FamilyProvenance::$provenance,
                stability: Stability::$stability,
            };
        )*

        /// The whole catalogue, in the order of the documentation.
        pub const ALL: &[CatalogueFamily] = &[$($constant),*];
    };
    (@ engine) => { true };
    (@ global) => { false };
}

families! {
    FLOPS_TOTAL = "flops_total" Counter Modelled Stable engine ["phase"]
        "FLOPs of the model's matrix multiplications and attention, all GPUs of the engine. Modelled from vLLM's token counters and the model's config.json.";
    HBM_BYTES_TOTAL = "hbm_bytes_total" Counter Modelled Stable engine ["phase", "kind"]
        "Bytes read from and written to HBM, all GPUs of the engine. Modelled from vLLM's token counters and the model's config.json.";
    MEASURED_HBM_BYTES_TOTAL = "measured_hbm_bytes_total" Counter Measured Stable engine ["gpu"]
        "Bytes read from and written to HBM of one GPU. Measured: GPM DRAM utilization x bus width / 8 x memory clock x 2.";
    INTERCONNECT_BYTES_TOTAL = "interconnect_bytes_total" Counter Modelled Experimental engine ["phase"]
        "Bytes that the GPUs of the engine send to each other: all-reduces, logits, expert tokens, pipeline stages. Absent with one GPU. Modelled; compare with gpu_link_bytes_total, link nvlink, direction sent.";
    FORWARD_TOKENS_TOTAL = "forward_tokens_total" Counter Measured Stable engine ["phase"]
        "Tokens through the model: computed prompt tokens, and one per request and decode step with its draft tokens. Measured by vLLM's counters.";
    STEPS_TOTAL = "steps_total" Counter Modelled Stable engine []
        "Engine steps. Modelled from vLLM's iteration histogram, which misses steps that only compute a chunk of a prompt.";
    ENERGY_JOULES_TOTAL = "energy_joules_total" Counter Measured Stable engine ["gpu"]
        "Energy used by one GPU since the exporter started. Measured by the GPU's energy counter, read through NVML at most every two seconds.";
    GPU_BUSY_SECONDS_TOTAL = "gpu_busy_seconds_total" Counter Measured Stable engine ["gpu"]
        "Seconds with any kernel running on one GPU since the exporter started. Measured by the GPU; says that it ran, not how well.";
    COST_DOLLARS_TOTAL = "cost_dollars_total" Counter Specified Stable engine []
        "Price of the engine's GPUs for the time observed: price per GPU-hour x GPUs x hours. The price is gpu-hour-price, else the list price of the GPU, where the table has one: see gpu_hour_price_dollars.";
    PHASE_COST_DOLLARS_TOTAL = "phase_cost_dollars_total" Counter Modelled Experimental engine ["phase"]
        "cost_dollars_total by what the seconds were spent on: prefill, decode, or idle, where no request ran or moved. One tick behind while requests run; divide by forward_tokens_total for dollars per token.";
    WASTED_DOLLARS_TOTAL = "wasted_dollars_total" Counter Modelled Experimental engine ["component"]
        "The part of cost_dollars_total for time in which neither arithmetic, memory traffic nor links limited: host, kernel_latency, overhead, idle, stalled, as in time_seconds_total.";
    PHASE_ENERGY_JOULES_TOTAL = "phase_energy_joules_total" Counter Modelled Experimental engine ["phase"]
        "Energy of all GPUs of the engine by what their seconds were spent on: prefill, decode, or idle. The energy is measured by the GPUs' counters, the split is modelled; compare over a minute or more, since the counters are read every two seconds at most.";
    BOUND_SECONDS_TOTAL = "bound_seconds_total" Counter Modelled Stable engine ["bound"]
        "Seconds by bound, every span under its own; those in which vLLM could not be read are unknown. One tick behind while requests run.";
    TIME_SECONDS_TOTAL = "time_seconds_total" Counter Modelled Stable engine ["component"]
        "Wall seconds by component; the components add up to the time observed. Modelled: each step's time goes to its larger roofline component at the attainable ceiling of the current clock; the rest of busy time is host where no kernel ran, kernel_latency where one did, by the GPU's own activity (GPM), and overhead where nothing measures that. One tick behind while requests run.";
    PHASE_SECONDS_TOTAL = "phase_seconds_total" Counter Modelled Experimental engine ["phase"]
        "Busy wall seconds by the phase that took them, where they ran: compare with flops_total, which counts a prompt at its first token, over a minute or more.";
    WINDOW_DISCARDS_TOTAL = "window_discards_total" Counter Own Stable global ["reason"]
        "Spans of time discarded because their two readings could not be compared.";

    ARITHMETIC_INTENSITY = "arithmetic_intensity_flops_per_byte" Gauge Modelled Stable engine ["phase"]
        "FLOPs per HBM byte over the window. Modelled.";
    ACHIEVED_FLOPS = "achieved_flops_per_second" Gauge Modelled Stable engine ["phase"]
        "FLOPs per second of wall time over the window, all GPUs of the engine. Modelled.";
    BUSY_FLOPS = "busy_flops_per_second" Gauge Modelled Experimental engine ["phase"]
        "FLOPs per second of the phase's own busy time over the window, all GPUs of the engine: the height of its point on the roofline. Modelled.";
    ACHIEVED_HBM_BYTES = "achieved_hbm_bytes_per_second" Gauge Modelled Stable engine ["phase"]
        "HBM bytes per second of wall time over the window, all GPUs of the engine. Modelled.";
    MFU = "model_flops_utilization_ratio" Gauge Modelled Stable engine []
        "Model FLOPs utilization (MFU): achieved FLOPs over the dense datasheet peak of all GPUs, over the window. Modelled.";
    MBU = "model_bandwidth_utilization_ratio" Gauge Modelled Stable engine []
        "Model bandwidth utilization (MBU): achieved HBM bytes over the peak bandwidth of all GPUs, over the window. Modelled.";
    MEASURED_MBU = "measured_bandwidth_utilization_ratio" Gauge Measured Experimental engine []
        "HBM bytes that GPM measured over the peak bandwidth of all GPUs, over the window. Measured.";
    ROOFLINE_EFFICIENCY = "roofline_efficiency_ratio" Gauge Modelled Stable engine []
        "Share of busy time that the roofline explains at the attainable ceilings, over the window. Modelled.";
    MODEL_TO_REFERENCE = "model_to_reference_ratio" Gauge Modelled Experimental engine ["quantity", "reference"]
        "The modelled quantity over the reference's value for the window; 1 is agreement. References: gpm (measured bytes), vllm (its own estimate, where enabled), tensor_pipe (FLOPs that active tensor pipes had cycles for, padding included), nvlink (measured bytes sent).";
    IMPOSSIBLE_EFFICIENCY = "impossible_efficiency" Gauge Modelled Experimental engine ["ceiling"]
        "1 where the modelled work of the window lies above what the GPUs can do in its busy time, else 0: the GPU, the model, its quantization or its parallelism differs from what the exporter assumes.";
    TOKENS_PER_SECOND = "tokens_per_second" Gauge Measured Stable engine ["phase"]
        "Tokens through the model per second of wall time, over the window. Measured by vLLM's counters.";
    DECODE_BATCH_SIZE = "decode_batch_size" Gauge Modelled Stable engine []
        "Mean requests per step that decodes, over the window. Modelled from vLLM's inter-token and iteration counts.";
    CONTEXT_TOKENS = "context_tokens" Gauge Modelled Stable engine []
        "Mean tokens that a decoding request attends to, over the window. Modelled from KV cache usage and running requests.";
    ROUTED_EXPERTS_EFFECTIVE = "routed_experts_effective" Gauge Modelled Experimental engine []
        "Mean distinct experts of a layer that a step read, over the window: as many as explain the bytes that GPM measured while decoding. Modelled; absent for dense models and without GPM.";
    ROUTED_EXPERTS_UNIFORM = "routed_experts_uniform" Gauge Modelled Experimental engine []
        "The same under uniform routing, which reaches the most. Modelled; absent for dense models.";
    BOUND = "bound" Gauge Modelled Stable engine ["bound"]
        "1 for what bounds the engine over the window, 0 for the rest: compute, memory_bandwidth, interconnect, host (the GPU waits for the CPU), kernel_latency (kernels that neither arithmetic nor traffic explains), overhead (both, where the GPU's activity is not measured), idle, unknown.";
    FINDING = "finding" Gauge Modelled Experimental engine ["finding", "severity"]
        "1 for the finding that the first sentence of the verdict states. Modelled from measured waiting and time; /api/v1/verdict has the sentences and the other findings.";
    ADVICE_GAIN = "advice_gain_ratio" Gauge Modelled Experimental engine ["remedy", "figure"]
        "Predicted value over the measured one of what users see, for the first three remedies of the verdict: above 1 is better for output_tokens_per_second, below 1 for the others. Modelled, for the load as measured.";
    ADMISSION = "admission" Gauge Modelled Stable engine ["state"]
        "1 for what keeps waiting requests out over the window, 0 for the rest: open (nothing), kv_capacity (the KV cache is full), max_num_seqs, token_budget (--max-num-batched-tokens), unknown.";
    ENGINE_STATE = "engine_state" Gauge Measured Stable engine ["state"]
        "1 for what the engine is doing now, 0 for the rest: running, idle, stalled (requests, no progress), sleeping, unreachable.";
    POWER_LIMITED = "power_limited_ratio" Gauge Measured Stable engine []
        "Share of GPU readings in the window with the SM clock held down by a power limit. Measured by NVML's clock event reasons.";

    GPU_SM_CLOCK = "gpu_sm_clock_hertz" Gauge Measured Experimental engine ["gpu"]
        "SM clock of one GPU, now. Measured by NVML or the dcgm-exporter.";
    GPU_MEMORY_CLOCK = "gpu_memory_clock_hertz" Gauge Measured Experimental engine ["gpu"]
        "Memory clock of one GPU, now. Measured by NVML or the dcgm-exporter.";
    GPU_POWER = "gpu_power_watts" Gauge Measured Experimental engine ["gpu"]
        "Power of one GPU, a mean over about a second. Measured by NVML or the dcgm-exporter; energy_joules_total is exact.";
    GPU_TEMPERATURE = "gpu_temperature_celsius" Gauge Measured Experimental engine ["gpu"]
        "Temperature of one GPU. Measured by NVML or the dcgm-exporter.";
    GPU_MEMORY_USED = "gpu_memory_used_bytes" Gauge Measured Experimental engine ["gpu"]
        "Memory in use on one GPU; vLLM takes its share at the start and keeps it. Measured by NVML or the dcgm-exporter.";
    GPU_UTILIZATION = "gpu_utilization_ratio" Gauge Measured Experimental engine ["gpu"]
        "Share of time with any kernel running on one GPU: 1 says nothing of how far it is used. Measured by NVML or the dcgm-exporter.";
    GPU_TENSOR_ACTIVE = "gpu_tensor_active_ratio" Gauge Measured Experimental engine ["gpu"]
        "Share of cycles with a busy tensor pipe on one GPU since the reading before; padding counts, so it is no utilization by FLOPs. Measured by GPM.";
    GPU_SM_ACTIVE = "gpu_sm_active_ratio" Gauge Measured Experimental engine ["gpu"]
        "Share of SMs with at least one warp on one GPU since the reading before. Measured by GPM.";
    GPU_SM_OCCUPANCY = "gpu_sm_occupancy_ratio" Gauge Measured Experimental engine ["gpu"]
        "Warps over the most that the SMs of one GPU can hold, since the reading before. Measured by GPM.";
    GPU_ENGINE_ACTIVE = "gpu_engine_active_ratio" Gauge Measured Experimental engine ["gpu"]
        "Share of time with the compute or graphics engine of one GPU active, since the reading before. Measured by GPM or the dcgm-exporter.";
    GPU_LINK_BYTES_TOTAL = "gpu_link_bytes_total" Counter Measured Experimental engine ["gpu", "link", "direction"]
        "Bytes of one GPU over PCIe and NVLink since the exporter started; sent is from the GPU. Measured by GPM.";

    GPU_HOUR_PRICE = "gpu_hour_price_dollars" Gauge Specified Experimental engine ["origin", "as_of"]
        "Price of one GPU of the engine for an hour. origin is configured (gpu-hour-price), or the seller whose list price the GPU table has, of the day as_of.";
    PEAK_FLOPS = "peak_flops_per_second" Gauge Specified Stable engine ["precision"]
        "Dense datasheet peak, all GPUs of the engine. From the GPU table, or derived from NVML.";
    ATTAINABLE_FLOPS = "attainable_flops_per_second" Gauge Specified Stable engine ["precision"]
        "Peak that large matrix multiplications reach, all GPUs of the engine. From the GPU table; see gpu_info for whether it was measured or is assumed.";
    CURRENT_CLOCK_FLOPS = "current_clock_flops_per_second" Gauge Measured Experimental engine ["precision"]
        "Dense peak at the SM clock of the window, all GPUs of the engine.";
    PEAK_HBM = "peak_hbm_bytes_per_second" Gauge Specified Stable engine []
        "Peak HBM bandwidth, all GPUs of the engine. From the GPU table, or derived from NVML.";
    ATTAINABLE_HBM = "attainable_hbm_bytes_per_second" Gauge Specified Stable engine []
        "HBM bandwidth that copies reach, all GPUs of the engine. From the GPU table.";
    PEAK_INTERCONNECT = "peak_interconnect_bytes_per_second" Gauge Specified Experimental engine []
        "What the links between the GPUs of the engine carry one way, summed over its GPUs: NVLink where the part has it, else PCIe. Absent with one GPU. From the GPU table.";
    CALIBRATED = "calibrated_coefficient" Gauge Modelled Experimental engine ["coefficient"]
        "Only with --calibrate: what was seen in place of the table's hbm_fraction (share of bandwidth), clock_fraction (share of the peak at the current clock) and the assumed seconds_per_step.";
    RIDGE = "ridge_flops_per_byte" Gauge Specified Stable engine []
        "Arithmetic intensity at which the datasheet roof bends: peak FLOPs over peak bandwidth.";
    ROOF_INTENSITY = "roof_intensity_flops_per_byte" Gauge Specified Experimental engine ["level", "point"]
        "Corner points of the roof, x: arithmetic intensity. Join with roof_flops_per_second.";
    ROOF_FLOPS = "roof_flops_per_second" Gauge Specified Experimental engine ["level", "point"]
        "Corner points of the roof, y: FLOPs per second.";
    BATCH_LIMIT = "batch_limit" Gauge Modelled Stable engine ["limit"]
        "Decode batch at which a limit is reached at the context of the window: ridge (weights become compute-bound), knee (KV traffic equals weight traffic), kv_capacity (KV cache is full).";
    WEIGHTS_BYTES = "weights_bytes" Gauge Specified Stable engine []
        "Resident weights, all GPUs of the engine. From the model's config.json and quantization.";
    KV_BYTES_PER_TOKEN = "kv_bytes_per_token" Gauge Specified Stable engine []
        "KV cache of one token, all GPUs of the engine. From the model's config.json and the KV cache dtype.";
    KV_CAPACITY_TOKENS = "kv_capacity_tokens" Gauge Measured Stable engine []
        "Tokens that the KV cache holds, as vLLM's cache_config_info says.";
    MODEL_INFO = "model_info" Gauge Specified Stable engine ["architecture", "dtype", "quantization", "kv_cache_dtype", "source"]
        "What is known of the model; source says where from. Absent while the model is unknown.";
    GPU_INFO = "gpu_info" Gauge Specified Stable engine ["gpu", "name", "spec", "provenance", "attainable"]
        "A GPU of the engine, the entry of the GPU table it was matched with, and whether the attainable ceilings were measured or are assumed.";
    DEPLOYMENT_INFO = "deployment_info" Gauge Specified Stable engine ["tensor_parallel_size", "pipeline_parallel_size", "gpus", "max_num_seqs", "max_num_batched_tokens"]
        "How the engine is deployed; an empty label is not known.";
    MISSING_FACT = "missing_fact" Gauge Own Experimental engine ["fact"]
        "1 for each fact of the engine that could not be found; see the landing page or `check` for what it leaves out and the remedy.";
    MISSING_INPUT = "missing_input" Gauge Own Experimental engine ["metric", "nearest"]
        "1 for each of vLLM's metrics, without its prefix, that figures are made of and that its page lacks: renamed, or not there yet; nearest is the most similar name on the page that is not known, if any.";
    SLO = "slo_seconds" Gauge Specified Experimental global ["slo"]
        "The configured targets for time to first token and time per output token.";

    UP = "up" Gauge Own Stable global []
        "Whether the last read of vLLM's metrics succeeded.";
    SOURCE_SUCCESS = "source_success" Gauge Own Stable global ["source"]
        "Whether the last read of a source succeeded.";
    SOURCE_LAST_SUCCESS = "source_last_success_timestamp_seconds" Gauge Own Stable global ["source"]
        "Unix time of the last successful read of a source.";
    SOURCE_READ_SECONDS = "source_read_seconds" Gauge Own Stable global ["source"]
        "How long the last read of a source took.";
    SOURCE_ERRORS_TOTAL = "source_errors_total" Counter Own Stable global ["source", "reason"]
        "Failed reads of a source.";
    WINDOW_SECONDS = "window_seconds" Gauge Own Stable engine []
        "Measured length of the window that the gauges refer to.";
    RELOAD_SUCCESSFUL = "config_last_reload_successful" Gauge Own Stable global []
        "Whether the configuration, web configuration and certificates that were last read are in force; 0 where they could not be used, and the old ones stay.";
    RELOAD_LAST_SUCCESS = "config_last_reload_success_timestamp_seconds" Gauge Own Stable global []
        "Unix time at which configuration, web configuration or certificates last came into force; the start counts.";
    BUILD_INFO = "build_info" Gauge Own Stable global ["version", "revision", "rustc"]
        "The exporter's version.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for family in ALL {
            let name = family.name;
            assert!(name.starts_with("vllm_roofline_"), "{name}");
            assert_eq!(
                name.ends_with("_total"),
                family.kind == FamilyKind::Counter,
                "{name}"
            );
            assert!(
                !["_count", "_sum", "_bucket"]
                    .iter()
                    .any(|suffix| name.ends_with(suffix)),
                "{name}"
            );
            assert!(family.help.ends_with('.'), "{name}: {}", family.help);
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{name}"
            );
            for label in family.labels {
                assert!(
                    !["le", "quantile", "job", "instance", "pod"].contains(label),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<_> = ALL.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
