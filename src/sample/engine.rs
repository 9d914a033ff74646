//! The running totals of one vLLM engine, as on one page.

use super::metrics::MetricQuantity;
pub use super::metrics::{Counter, Counters, Distribution, Gauge, Gauges, Histograms};
use roofline::units::Seconds;

/// Identifies the engine of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineKey {
    /// vLLM's `model_name`: the first served model name.
    pub model_name: String,
    /// vLLM's `engine`: the data-parallel rank; `"0"` if the page lacks the label. Under Ray, prefixed with the replica, or with the worker
    /// if vLLM names no replica.
    pub engine: String,
}

/// The used labels of `vllm:cache_config_info`. Any release may add or drop labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheConfig {
    /// KV capacity in tokens per engine (vLLM ≥ 0.24).
    pub size_tokens: Option<f64>,
    /// KV blocks of this engine: its share of the page's value, which vLLM sums over the data-parallel engines of a server.
    pub num_gpu_blocks: Option<f64>,
    /// Tokens per block.
    pub block_size: Option<f64>,
    /// `--kv-cache-dtype` as given: `auto`, `fp8`, …
    pub cache_dtype: Option<String>,
    /// `--gpu-memory-utilization`.
    pub gpu_memory_utilization: Option<f64>,
    /// Whether `--num-gpu-blocks-override` sets the number of blocks.
    pub blocks_overridden: bool,
}

/// All values of one engine on one page.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineTotals {
    /// Which engine.
    pub key: EngineKey,
    /// When the page was read, Unix time.
    pub time: Seconds,
    /// Totals that only grow.
    pub counters: Counters,
    /// Current values.
    pub gauges: Gauges,
    /// Distributions since the start.
    pub histograms: Histograms,
    /// KV cache facts.
    pub cache: CacheConfig,
    /// Engines on the same page, this one included.
    pub engines_on_page: usize,
    /// False when several API servers share the page, which makes step counts too high.
    pub single_api_server: bool,
    /// Unix time at which the server's process started, where the page has it.
    pub process_started: Option<Seconds>,
    /// How long the page may show unchanged values while the engine works: Ray publishes periodically, vLLM on every request.
    pub published_every: Seconds,
    /// Use of LoRA adapters, if the server has any.
    pub adapters: Option<AdapterUse>,
    /// The source of the computed prompt tokens.
    pub prompt_count: PromptCount,
    /// Metrics that figures need and the page lacks.
    pub missing: Vec<MissingInput>,
}

/// The newest use of LoRA adapters that a page shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AdapterUse {
    /// Adapters that ran in one step.
    pub running: f64,
    /// Unix time of that step; 0 if none ran yet.
    pub last: Seconds,
}

/// The source of an engine's computed prompt tokens, the most reliable first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PromptCount {
    /// vLLM counted them (0.16 on).
    #[default]
    Counted,
    /// Estimated from its lookups in the prefix cache.
    Estimated,
    /// Estimated from lookups, some of which were repeated.
    Roughly,
    /// Unknown: every prompt token counts as computed.
    Unknown,
}

/// A metric that figures need and that cannot be read from a page, for example after a rename in vLLM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct MissingInput {
    /// Its current name, without prefix.
    pub metric: &'static str,
    /// The figures that are absent without it.
    pub leaves_out: &'static str,
    /// Why it cannot be read although it is on the page.
    pub why: Option<String>,
    /// The unknown metric on the page with the most similar name.
    pub nearest: Option<String>,
}

impl std::fmt::Display for MissingInput {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "leaves out {}", self.leaves_out)?;
        if let Some(why) = &self.why {
            write!(to, ": {why}")?;
        }
        if let Some(nearest) = &self.nearest {
            write!(to, "; is it {nearest} now?")?;
        }
        Ok(())
    }
}

impl EngineTotals {
    /// The totals of an engine without any values, alone on a page that was read at `time`.
    #[must_use]
    pub fn empty(key: EngineKey, time: Seconds) -> Self {
        Self {
            key,
            time,
            counters: Counters::default(),
            gauges: Gauges::default(),
            histograms: Histograms::default(),
            cache: CacheConfig::default(),
            engines_on_page: 1,
            single_api_server: true,
            process_started: None,
            published_every: Seconds::ZERO,
            adapters: None,
            prompt_count: PromptCount::default(),
            missing: Vec::new(),
        }
    }

    /// KV capacity in tokens: the engine's own figure, otherwise blocks × block size.
    ///
    /// The product is wrong for models with several KV groups (sliding window, Mamba); vLLM ≥ 0.24 exports the correct value.
    #[must_use]
    pub fn kv_capacity_tokens(&self) -> Option<f64> {
        let product = || Some(self.cache.num_gpu_blocks? * self.cache.block_size?);
        self.cache.size_tokens.or_else(product)
    }

    /// Whether the page has the metric.
    #[must_use]
    pub fn has(&self, quantity: MetricQuantity) -> bool {
        match quantity {
            MetricQuantity::Counter(counter) => self.counters.get(counter).is_some(),
            MetricQuantity::Gauge(gauge) => self.gauges.get(gauge).is_some(),
            MetricQuantity::Distribution(which) => self.histograms.get(which).is_some(),
            MetricQuantity::CacheConfig => self.cache != CacheConfig::default(),
            MetricQuantity::Adapters => self.adapters.is_some(),
        }
    }

    /// Tokens that running requests hold in the KV cache, rounded up to blocks.
    #[must_use]
    pub(crate) fn resident_tokens(&self) -> Option<f64> {
        Some(self.gauges.get(Gauge::KvCacheUsage)? * self.kv_capacity_tokens()?)
    }
}
