//! Pages that the stat logger of every release wrote after the same three requests (tests/real-vllm/logger_page.py).

use std::sync::LazyLock;

use vllm_roofline_exporter::sample::engine::{Counter, Gauge};

use super::{read, text_of};

pub(super) struct Release {
    pub(super) version: String,
    pub(super) page: String,
}

impl Release {
    /// Whether the page is of the engine before V1.
    pub(super) fn is_old_engine(&self) -> bool {
        self.version.ends_with("-v0")
    }
}

/// All pages, unsorted.
pub(super) fn releases() -> &'static [Release] {
    static RELEASES: LazyLock<Vec<Release>> = LazyLock::new(|| {
        let files = std::fs::read_dir("tests/fixtures/vllm/releases").unwrap();
        let read = files.map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            Release {
                version: name.trim_end_matches(".prom.gz").to_owned(),
                page: text_of(&path),
            }
        });
        read.collect()
    });
    &RELEASES
}

/// The page of `version`, such as `0.12.0`.
pub(super) fn release(version: &str) -> &'static str {
    let found = releases().iter().find(|release| release.version == version);
    &found.unwrap().page
}

#[test]
fn every_minor_version_from_0_8_on_has_a_page() {
    for minor in 8..=32 {
        let of_it = format!("0.{minor}.");
        let found = releases()
            .iter()
            .any(|release| release.version.starts_with(&of_it));
        assert!(found, "0.{minor}");
    }
}

/// Three requests of 1,000 tokens, 600 of them cached, got ten tokens each in ten steps; one finished, two run, one waits.
#[test]
fn every_release_says_the_same_of_the_same_requests() {
    for Release { version, page } in releases() {
        let engines = read(page);
        let [engine] = &engines[..] else {
            panic!("{version}: {} engines", engines.len())
        };
        assert_eq!(engine.missing, [], "{version}");
        assert!(engine.single_api_server, "{version}");
        assert_eq!(
            (engine.key.model_name.as_str(), engine.key.engine.as_str()),
            ("tiny", "0")
        );
        assert_eq!(engine.kv_capacity_tokens(), Some(320_000.0), "{version}");
        let gauges = [Gauge::Running, Gauge::Waiting, Gauge::KvCacheUsage];
        assert_eq!(
            gauges.map(|gauge| engine.gauges.get(gauge)),
            [Some(2.0), Some(1.0), Some(0.25)],
            "{version}"
        );
        let counters = [
            Counter::PromptTokens,
            Counter::GenerationTokens,
            Counter::Preemptions,
            Counter::FinishedRequests,
        ];
        assert_eq!(
            counters.map(|counter| engine.counters.get(counter)),
            [3000.0, 30.0, 0.0, 1.0].map(Some),
            "{version}"
        );
        let histograms = &engine.histograms;
        let counts = [
            &histograms.iteration_tokens,
            &histograms.time_to_first_token,
            &histograms.inter_token_latency,
        ];
        assert_eq!(
            counts.map(|histogram| histogram.as_ref().map(|histogram| histogram.count)),
            [10.0, 3.0, 27.0].map(Some),
            "{version}"
        );
        let share = found(engine);
        assert!(
            (share - expected_share(version)).abs() < 1e-9,
            "{version}: {share}"
        );
    }
}

/// The found share of the lookups, or of the prompts where vLLM counts it.
fn found(engine: &vllm_roofline_exporter::sample::engine::EngineTotals) -> f64 {
    let counter = |which| engine.counters.get(which);
    let computed = counter(Counter::PromptTokensComputed);
    let of_prompts = computed
        .zip(counter(Counter::PromptTokens))
        .map(|(computed, all)| 1.0 - computed / all);
    let of_lookups = counter(Counter::PrefixCacheHits)
        .zip(counter(Counter::PrefixCacheQueries))
        .map(|(hits, queries)| hits / queries);
    of_prompts
        .or(of_lookups)
        .or(engine.gauges.get(Gauge::PrefixCacheHitRate))
        .unwrap()
}

fn expected_share(version: &str) -> f64 {
    // 62 whole blocks of 1,000 tokens, 37 of 600.
    if version == "0.8.5" {
        111.0 / 186.0
    } else {
        0.6
    }
}
