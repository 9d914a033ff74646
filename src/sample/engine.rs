//! The running totals of one vLLM engine, as one page showed them.

use roofline::statistics::Histogram;
use roofline::units::Seconds;

/// Which engine a series belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineKey {
    /// vLLM's `model_name`: the first served model name.
    pub model_name: String,
    /// vLLM's `engine`: the data-parallel rank; `"0"` where the page has no such label. Under Ray the replica stands before it.
    pub engine: String,
}

/// Declares a closed list of quantities together with the array that holds one value of each.
macro_rules! quantities {
    ($(#[$enum_doc:meta])* $kind:ident, $(#[$table_doc:meta])* $table:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind {
            $($(#[$doc])* $name,)*
        }

        impl $kind {
            /// Every one of them, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }

        $(#[$table_doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $table([Option<f64>; $kind::ALL.len()]);

        impl $table {
            /// The value, or `None` where the page does not have it.
            #[must_use]
            pub const fn get(&self, which: $kind) -> Option<f64> {
                self.0[which as usize]
            }

            /// Sets the value and returns the one it replaces.
            pub const fn set(&mut self, which: $kind, value: f64) -> Option<f64> {
                self.0[which as usize].replace(value)
            }
        }
    };
}

quantities!(
    /// Totals that only grow.
    Counter,
    /// One value of each [`Counter`].
    Counters {
        /// Prompt tokens of requests that got their first token, cached and transferred ones included.
        PromptTokens,
        /// Of these, the tokens this engine computed itself (vLLM ≥ 0.16).
        PromptTokensComputed,
        /// Of these, tokens found in a cache or transferred (vLLM ≥ 0.16).
        PromptTokensCached,
        /// Output tokens, counted as they are sampled.
        GenerationTokens,
        /// Tokens looked up in the prefix cache, at admission.
        PrefixCacheQueries,
        /// Tokens found there.
        PrefixCacheHits,
        /// Tokens a KV connector found.
        ExternalPrefixCacheHits,
        /// Requests pushed out of the KV cache; lags until they resume.
        Preemptions,
        /// Draft tokens sent through the target model for verification.
        DraftTokens,
        /// Draft tokens accepted.
        AcceptedTokens,
        /// Requests that finished, for whatever reason but a client's disconnect.
        FinishedRequests,
        /// vLLM's own FLOP estimate per GPU; stays 0 unless `--enable-mfu-metrics`.
        EstimatedFlops,
        /// vLLM's own estimate of bytes read per GPU.
        EstimatedReadBytes,
        /// vLLM's own estimate of bytes written per GPU.
        EstimatedWriteBytes,
    }
);

quantities!(
    /// Values that go up and down.
    Gauge,
    /// One value of each [`Gauge`].
    Gauges {
        /// Requests in the running batch.
        Running,
        /// Requests waiting for admission.
        Waiting,
        /// Used share of the KV cache, 0..=1; cached but unreferenced blocks count as free.
        KvCacheUsage,
        /// 1 while the engine is awake, 0 while it sleeps.
        Awake,
    }
);

/// The histograms of one engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histograms {
    /// Tokens per engine step that had an output.
    pub iteration_tokens: Option<Histogram>,
    /// Time to first token, seconds.
    pub time_to_first_token: Option<Histogram>,
    /// Seconds between the steps that gave a request tokens: one observation per running request and decode step.
    pub inter_token_latency: Option<Histogram>,
    /// Output lengths of finished requests, sum and count only.
    pub request_generation_tokens: Option<Histogram>,
}

/// What `vllm:cache_config_info` says, as far as it is needed. Any release may add or drop labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheConfig {
    /// KV capacity in tokens per engine (vLLM ≥ 0.24).
    pub size_tokens: Option<f64>,
    /// KV blocks, summed over the data-parallel engines of the page.
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
    /// False when several API servers share the page, which makes step counts too high (no `process_*` series then).
    pub single_api_server: bool,
    /// Unix time at which the server's process started, where the page tells.
    pub process_started: Option<Seconds>,
}

impl EngineTotals {
    /// KV capacity in tokens: the engine's own figure, else blocks × block size shared out over the page's engines.
    ///
    /// The product is wrong for models with several KV groups (sliding window, Mamba); vLLM ≥ 0.24 says it right.
    #[must_use]
    pub fn kv_capacity_tokens(&self) -> Option<f64> {
        self.cache.size_tokens.or_else(|| {
            let blocks = self.cache.num_gpu_blocks? / self.engines_on_page.max(1) as f64;
            Some(blocks * self.cache.block_size?)
        })
    }

    /// The metrics that figures are made of and that the page lacks, by their present names. A rename in vLLM shows here.
    #[must_use]
    pub fn missing_inputs(&self) -> Vec<&'static str> {
        let counter = |which| self.counters.get(which).is_some();
        let gauge = |which| self.gauges.get(which).is_some();
        let histograms = &self.histograms;
        [
            ("num_requests_running", gauge(Gauge::Running)),
            ("num_requests_waiting", gauge(Gauge::Waiting)),
            ("kv_cache_usage_perc", gauge(Gauge::KvCacheUsage)),
            ("prompt_tokens_total", counter(Counter::PromptTokens)),
            (
                "generation_tokens_total",
                counter(Counter::GenerationTokens),
            ),
            (
                "iteration_tokens_total",
                histograms.iteration_tokens.is_some(),
            ),
            (
                "time_to_first_token_seconds",
                histograms.time_to_first_token.is_some(),
            ),
            (
                "inter_token_latency_seconds",
                histograms.inter_token_latency.is_some(),
            ),
        ]
        .into_iter()
        .filter_map(|(metric, found)| (!found).then_some(metric))
        .collect()
    }

    /// Tokens now held in the KV cache by running requests, rounded up to blocks.
    #[must_use]
    pub fn resident_tokens(&self) -> Option<f64> {
        Some(self.gauges.get(Gauge::KvCacheUsage)? * self.kv_capacity_tokens()?)
    }
}
