//! The page of a simulated server, with the names of its release.

use std::fmt::Write;

use super::server::{BLOCK, Server};

/// A page being written.
struct Page {
    text: String,
    labels: &'static str,
}

impl Page {
    fn add(&mut self, name: &str, value: f64) {
        let labels = self.labels;
        writeln!(self.text, "vllm:{name}{{{labels}}} {value:?}").unwrap();
    }

    fn histogram(&mut self, name: &str, sum: f64, count: f64) {
        self.add(&format!("{name}_sum"), sum);
        self.add(&format!("{name}_count"), count);
        let labels = self.labels;
        writeln!(
            self.text,
            "vllm:{name}_bucket{{{labels},le=\"+Inf\"}} {count:?}"
        )
        .unwrap();
    }
}

impl Server {
    /// Its current `/metrics`.
    pub(super) fn page(&self) -> String {
        let minor = self.minor;
        let counted = &self.counted;
        let mut page = Page {
            text: "process_start_time_seconds 1.0\n".to_owned(),
            labels: if minor < 8 {
                "model_name=\"m\""
            } else {
                "engine=\"0\",model_name=\"m\""
            },
        };
        page.add("num_requests_running", self.running());
        page.add("num_requests_waiting", self.waiting());
        if minor < 12 {
            page.add("gpu_cache_usage_perc", self.kv_usage());
        }
        if minor >= 9 {
            page.add("kv_cache_usage_perc", self.kv_usage());
        }
        page.add("prompt_tokens_total", counted.prompts);
        page.add("generation_tokens_total", counted.generated);
        page.add("num_preemptions_total", counted.preemptions);
        page.add("request_success_total", counted.finished);
        self.add_lookups(&mut page);
        page.histogram(
            "iteration_tokens_total",
            counted.iteration_tokens,
            counted.iterations,
        );
        page.histogram(
            "time_to_first_token_seconds",
            counted.first_token_seconds,
            counted.first_tokens,
        );
        let latencies = [
            (minor < 12).then_some("time_per_output_token_seconds"),
            (minor >= 10).then_some("inter_token_latency_seconds"),
        ];
        for name in latencies.into_iter().flatten() {
            page.histogram(name, counted.decoded * 0.02, counted.decoded);
        }
        self.add_finished(&mut page);
        let blocks = self.load.blocks;
        writeln!(
            page.text,
            "vllm:cache_config_info{{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"{blocks}\"}} 1.0"
        )
        .unwrap();
        page.text
    }

    fn add_lookups(&self, page: &mut Page) {
        let (minor, counted) = (self.minor, &self.counted);
        if (8..12).contains(&minor) {
            let unit = if minor < 9 { BLOCK } else { 1.0 };
            page.add("gpu_prefix_cache_queries_total", counted.queries / unit);
            page.add("gpu_prefix_cache_hits_total", counted.hits / unit);
        }
        if minor >= 9 {
            page.add("prefix_cache_queries_total", counted.queries);
            page.add("prefix_cache_hits_total", counted.hits);
        }
        if minor >= 11 {
            page.add("external_prefix_cache_queries_total", 0.0);
            page.add("external_prefix_cache_hits_total", 0.0);
        }
        if minor >= 16 {
            let labels = page.labels;
            writeln!(
                page.text,
                "vllm:prompt_tokens_by_source_total{{{labels},source=\"local_compute\"}} {:?}",
                counted.computed
            )
            .unwrap();
        }
    }

    fn add_finished(&self, page: &mut Page) {
        let counted = &self.counted;
        let finished = counted.finished;
        page.histogram(
            "request_generation_tokens",
            counted.finished_output,
            finished,
        );
        page.histogram("request_prompt_tokens", counted.finished_prompts, finished);
        if self.minor >= 13 {
            page.histogram(
                "request_prefill_kv_computed_tokens",
                counted.finished_computed,
                finished,
            );
        }
    }
}
