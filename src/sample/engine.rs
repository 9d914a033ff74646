//! The running totals of one vLLM engine, as one page showed them.

use super::metrics::MetricQuantity;
pub use super::metrics::{Counter, Counters, Distribution, Gauge, Gauges, Histograms};
use roofline::units::Seconds;

/// Which engine a series belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineKey {
    /// vLLM's `model_name`: the first served model name.
    pub model_name: String,
    /// vLLM's `engine`: the data-parallel rank; `"0"` where the page has no such label. Under Ray the replica stands before it, or the
    /// worker where vLLM names no replica.
    pub engine: String,
}

/// What `vllm:cache_config_info` says, as far as it is needed. Any release may add or drop labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheConfig {
    /// KV capacity in tokens per engine (vLLM ≥ 0.24).
    pub size_tokens: Option<f64>,
    /// KV blocks of this engine: its part of what the page says, which vLLM sums over the data-parallel engines of a server.
    pub num_gpu_blocks: Option<f64>,
    /// Tokens per block.
    pub block_size: Option<f64>,
    /// `--kv-cache-dtype` as given: `auto`, `fp8`, …
    pub cache_dtype: Option<String>,
    /// `--gpu-memory-utilization`.
    pub gpu_memory_utilization: Option<f64>,
}

/// Everything one page says of one engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineTotals {
    /// Which engine.
    pub key: EngineKey,
    /// When the page was read, Unix time.
    pub time: Seconds,
    /// Totals that only grow.
    pub counters: Counters,
    /// Values of the moment.
    pub gauges: Gauges,
    /// Distributions since the start.
    pub histograms: Histograms,
    /// KV cache facts.
    pub cache: CacheConfig,
    /// Engines on the same page, this one included.
    pub engines_on_page: usize,
    /// False when several API servers share the page, which makes step counts too high.
    pub single_api_server: bool,
    /// Unix time at which the server's process started, where the page tells.
    pub process_started: Option<Seconds>,
    /// How long the page may show the same values while the engine works: Ray publishes from time to time, vLLM always.
    pub published_every: Seconds,
    /// Whether requests with LoRA adapters run, or have run.
    pub adapters: bool,
    /// How the computed prompt tokens are known.
    pub prompt_count: PromptCount,
    /// What figures are made of and the page lacks.
    pub missing: Vec<MissingInput>,
}

/// How the prompt tokens that an engine computed are known, the surest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PromptCount {
    /// vLLM counted them (0.16 on).
    #[default]
    Counted,
    /// By its lookups in the prefix cache.
    Estimated,
    /// By lookups, some of which were repeated.
    Roughly,
    /// Not at all: every prompt token counts as computed.
    Unknown,
}

/// A metric that figures are made of and that cannot be read of a page. A rename in vLLM shows here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct MissingInput {
    /// Its present name, without prefix.
    pub metric: &'static str,
    /// What is left out without it.
    pub leaves_out: &'static str,
    /// Why it cannot be read though it is there.
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
    /// The totals of an engine that shows nothing yet, alone on a page that was read at `time`.
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
            adapters: false,
            prompt_count: PromptCount::default(),
            missing: Vec::new(),
        }
    }

    /// KV capacity in tokens: the engine's own figure, else blocks × block size.
    ///
    /// The product is wrong for models with several KV groups (sliding window, Mamba); vLLM ≥ 0.24 says it right.
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
            MetricQuantity::Adapters => self.adapters,
        }
    }

    /// Tokens now held in the KV cache by running requests, rounded up to blocks.
    #[must_use]
    pub fn resident_tokens(&self) -> Option<f64> {
        Some(self.gauges.get(Gauge::KvCacheUsage)? * self.kv_capacity_tokens()?)
    }
}
