//! vLLM's metrics, one row each: names by release, the figures that are absent without it, and the selection of its series.
//!
//! All code that depends on a metric uses its row: the parser, the filter of the scrape, the difference of two pages, the playback of a
//! capture and `missing_input`. A rename in vLLM adds a name to a row.

use roofline::statistics::Histogram;

/// A name without its prefix, and the releases that write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricName {
    /// The name of the sample, including `_total`; for a histogram without `_bucket`, `_sum` and `_count`.
    pub text: &'static str,
    /// Releases of vLLM, such as `0.9 on`; empty for all releases from 0.6 on.
    pub releases: &'static str,
}

/// One of vLLM's metrics.
#[derive(Clone, Copy, Debug)]
pub struct VllmMetric {
    /// The current name.
    pub name: MetricName,
    /// The previous name. Some releases write both; the current one takes precedence where it can be read.
    pub former: Option<MetricName>,
    /// Whether the previous name counts KV blocks, and the current one tokens.
    pub formerly_blocks: bool,
    /// The label and value that select the series of the family.
    pub picked: Option<(&'static str, &'static str)>,
    /// Whether the series of the family are summed.
    pub adds_up: bool,
    /// Whether only sum and count of a histogram are needed.
    pub without_buckets: bool,
    /// Whether it is used only to estimate computed prompt tokens, where vLLM does not count them.
    pub for_estimate: bool,
    /// The figures that are absent without the metric, for those that every vLLM exports.
    pub required_for: Option<&'static str>,
}

impl VllmMetric {
    const fn named(text: &'static str) -> Self {
        Self {
            name: MetricName { text, releases: "" },
            former: None,
            formerly_blocks: false,
            picked: None,
            adds_up: false,
            without_buckets: false,
            for_estimate: false,
            required_for: None,
        }
    }

    const fn in_releases(mut self, releases: &'static str) -> Self {
        self.name.releases = releases;
        self
    }

    const fn formerly(mut self, text: &'static str, releases: &'static str) -> Self {
        self.former = Some(MetricName { text, releases });
        self
    }

    const fn formerly_in_blocks(mut self, text: &'static str, releases: &'static str) -> Self {
        self.formerly_blocks = true;
        self.formerly(text, releases)
    }

    const fn picked(mut self, label: &'static str, value: &'static str) -> Self {
        self.picked = Some((label, value));
        self
    }

    const fn adding_up(mut self) -> Self {
        self.adds_up = true;
        self
    }

    const fn without_buckets(mut self) -> Self {
        self.without_buckets = true;
        self
    }

    const fn for_estimate(mut self) -> Self {
        self.for_estimate = true;
        self
    }

    const fn required_for(mut self, figures: &'static str) -> Self {
        self.required_for = Some(figures);
        self
    }

    /// Its names, the current one first.
    pub fn names(&self) -> impl Iterator<Item = MetricName> {
        std::iter::once(self.name).chain(self.former)
    }
}

/// Declares the metrics of one kind: the list, and the row of each.
macro_rules! rows {
    ($(#[$enum_doc:meta])* $kind:ident { $($(#[$doc:meta])* $name:ident = $row:expr;)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind {
            $($(#[$doc])* $name,)*
        }

        impl $kind {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
            const ROWS: &[VllmMetric] = &[$($row,)*];

            /// Its row.
            #[must_use]
            pub const fn metric(self) -> &'static VllmMetric {
                &Self::ROWS[self as usize]
            }
        }
    };
}

/// Single-valued metrics, and the array with one value of each.
macro_rules! scalars {
    ($(#[$enum_doc:meta])* $kind:ident, $(#[$table_doc:meta])* $table:ident { $($(#[$doc:meta])* $name:ident = $row:expr;)* }) => {
        rows!($(#[$enum_doc])* $kind { $($(#[$doc])* $name = $row;)* });

        $(#[$table_doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $table([Option<f64>; $kind::ALL.len()]);

        impl $table {
            /// The value, or `None` if the page lacks it.
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

/// Histograms, and the struct with a field for each.
macro_rules! histograms {
    ($(#[$enum_doc:meta])* $kind:ident, $(#[$table_doc:meta])* $table:ident { $($(#[$doc:meta])* $name:ident $field:ident = $row:expr;)* }) => {
        rows!($(#[$enum_doc])* $kind { $($(#[$doc])* $name = $row;)* });

        $(#[$table_doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $table {
            $($(#[$doc])* pub $field: Option<Histogram>,)*
        }

        impl $table {
            /// The histogram, or `None` if the page lacks it.
            #[must_use]
            pub const fn get(&self, which: $kind) -> Option<&Histogram> {
                match which {
                    $($kind::$name => self.$field.as_ref(),)*
                }
            }

            /// The field of the histogram.
            pub const fn slot(&mut self, which: $kind) -> &mut Option<Histogram> {
                match which {
                    $($kind::$name => &mut self.$field,)*
                }
            }
        }
    };
}

scalars!(
    /// Totals that only grow.
    Counter,
    /// One value of each [`Counter`].
    Counters {
        /// Prompt tokens of requests that got their first token, cached and transferred ones included.
        PromptTokens = VllmMetric::named("prompt_tokens_total").required_for("prefill tokens, FLOPs and bytes");
        /// Of these, the tokens this engine computed itself.
        PromptTokensComputed = VllmMetric::named("prompt_tokens_by_source_total")
            .in_releases("0.16 on")
            .picked("source", "local_compute");
        /// Of these, tokens found in a cache or transferred.
        PromptTokensCached = VllmMetric::named("prompt_tokens_cached_total").in_releases("0.16 on");
        /// Output tokens, counted as they are sampled.
        GenerationTokens = VllmMetric::named("generation_tokens_total").required_for("output tokens");
        /// Tokens looked up in the prefix cache, at admission.
        PrefixCacheQueries = VllmMetric::named("prefix_cache_queries_total")
            .in_releases("0.9 on")
            .formerly_in_blocks("gpu_prefix_cache_queries_total", "0.8 to 0.11")
            .for_estimate();
        /// Tokens found there.
        PrefixCacheHits = VllmMetric::named("prefix_cache_hits_total")
            .in_releases("0.9 on")
            .formerly_in_blocks("gpu_prefix_cache_hits_total", "0.8 to 0.11")
            .for_estimate();
        /// Tokens looked up through a KV connector: those not found in the prefix cache.
        ExternalPrefixCacheQueries = VllmMetric::named("external_prefix_cache_queries_total")
            .in_releases("0.11.2 on")
            .for_estimate();
        /// Tokens a KV connector found.
        ExternalPrefixCacheHits = VllmMetric::named("external_prefix_cache_hits_total")
            .in_releases("0.11.2 on")
            .for_estimate();
        /// Requests pushed out of the KV cache; lags until they resume.
        Preemptions = VllmMetric::named("num_preemptions_total");
        /// Draft tokens sent through the target model for verification.
        DraftTokens = VllmMetric::named("spec_decode_num_draft_tokens_total");
        /// Draft tokens accepted.
        AcceptedTokens = VllmMetric::named("spec_decode_num_accepted_tokens_total");
        /// Requests that finished, for whatever reason but a client's disconnect.
        FinishedRequests = VllmMetric::named("request_success_total").adding_up();
        /// vLLM's own FLOP estimate per GPU; stays 0 unless `--enable-mfu-metrics`.
        EstimatedFlops = VllmMetric::named("estimated_flops_per_gpu_total").in_releases("0.17 on");
        /// vLLM's own estimate of bytes read per GPU.
        EstimatedReadBytes = VllmMetric::named("estimated_read_bytes_per_gpu_total").in_releases("0.17 on");
        /// vLLM's own estimate of bytes written per GPU.
        EstimatedWriteBytes = VllmMetric::named("estimated_write_bytes_per_gpu_total").in_releases("0.17 on");
    }
);

scalars!(
    /// Values that go up and down.
    Gauge,
    /// One value of each [`Gauge`].
    Gauges {
        /// Requests in the running batch.
        Running = VllmMetric::named("num_requests_running").required_for("the engine's state, busy time");
        /// Requests waiting for admission.
        Waiting = VllmMetric::named("num_requests_waiting").required_for("admission");
        /// Used share of the KV cache, 0..=1; cached but unreferenced blocks count as free.
        KvCacheUsage = VllmMetric::named("kv_cache_usage_perc")
            .in_releases("0.9 on")
            .formerly("gpu_cache_usage_perc", "0.6 to 0.11")
            .required_for("context length, KV bytes, admission");
        /// Share of prompt blocks found in the prefix cache, of the engine before V1.
        PrefixCacheHitRate = VllmMetric::named("gpu_prefix_cache_hit_rate")
            .in_releases("0.6 to 0.10")
            .for_estimate();
        /// 1 while the engine is awake, 0 while it sleeps.
        Awake = VllmMetric::named("engine_sleep_state")
            .in_releases("0.11.2 on")
            .picked("sleep_state", "awake");
    }
);

histograms!(
    /// Distributions since the start.
    Distribution,
    /// The histograms of one engine.
    Histograms {
        /// Tokens per engine step that had an output.
        IterationTokens iteration_tokens = VllmMetric::named("iteration_tokens_total").required_for("steps, the decode batch");
        /// Time to first token, seconds.
        TimeToFirstToken time_to_first_token = VllmMetric::named("time_to_first_token_seconds").required_for("TTFT, prompts");
        /// Seconds between the steps that gave a request tokens: one observation per running request and decode step.
        InterTokenLatency inter_token_latency = VllmMetric::named("inter_token_latency_seconds")
            .in_releases("0.10.2 on")
            .formerly("time_per_output_token_seconds", "0.6 to 0.14")
            .required_for("TPOT, decode tokens");
        /// Output lengths of finished requests, sum and count only.
        RequestGenerationTokens request_generation_tokens = VllmMetric::named("request_generation_tokens").without_buckets();
        /// Seconds that finished requests took, as the API server saw them, sum and count only.
        RequestLatency request_latency = VllmMetric::named("e2e_request_latency_seconds").without_buckets();
        /// Of these, seconds in the engine from their first step on, sum and count only.
        RequestInference request_inference = VllmMetric::named("request_inference_time_seconds").without_buckets();
        /// Of these, seconds waiting for their first step, sum and count only.
        RequestQueue request_queue = VllmMetric::named("request_queue_time_seconds").without_buckets();
        /// Prompt lengths of finished requests, sum and count only.
        RequestPromptTokens request_prompt_tokens = VllmMetric::named("request_prompt_tokens")
            .without_buckets()
            .for_estimate();
        /// Computed tokens of the prompts of finished requests, sum and count only.
        RequestComputedTokens request_computed_tokens = VllmMetric::named("request_prefill_kv_computed_tokens")
            .in_releases("0.13 on")
            .without_buckets()
            .for_estimate();
    }
);

/// The KV cache's facts, as labels.
pub(super) const CACHE_CONFIG: VllmMetric =
    VllmMetric::named("cache_config_info").required_for("KV capacity, context length");

/// Adapters in use, as labels; there only with `--enable-lora`.
pub(super) const ADAPTERS: VllmMetric = VllmMetric::named("lora_requests_info");

/// A metric of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricQuantity {
    /// A total.
    Counter(Counter),
    /// A current value.
    Gauge(Gauge),
    /// A histogram.
    Distribution(Distribution),
    /// Facts of the KV cache, as labels.
    CacheConfig,
    /// LoRA adapters in use, as labels.
    Adapters,
}

impl MetricQuantity {
    /// All metrics with a row: the gauges, counters, histograms and facts.
    pub fn all() -> impl Iterator<Item = Self> {
        let gauges = Gauge::ALL.iter().map(|&gauge| Self::Gauge(gauge));
        let counters = Counter::ALL.iter().map(|&counter| Self::Counter(counter));
        let distributions = Distribution::ALL
            .iter()
            .map(|&which| Self::Distribution(which));
        gauges
            .chain(counters)
            .chain(distributions)
            .chain([Self::CacheConfig, Self::Adapters])
    }

    /// Its row.
    #[must_use]
    pub const fn metric(self) -> &'static VllmMetric {
        match self {
            Self::Counter(counter) => counter.metric(),
            Self::Gauge(gauge) => gauge.metric(),
            Self::Distribution(which) => which.metric(),
            Self::CacheConfig => &CACHE_CONFIG,
            Self::Adapters => &ADAPTERS,
        }
    }

    /// The kind on its `# TYPE` line.
    #[must_use]
    pub const fn kind(self) -> crate::exposition::ExpositionType {
        use crate::exposition::ExpositionType;
        match self {
            Self::Counter(_) => ExpositionType::Counter,
            Self::Distribution(_) => ExpositionType::Histogram,
            Self::Gauge(_) | Self::CacheConfig | Self::Adapters => ExpositionType::Gauge,
        }
    }
}
