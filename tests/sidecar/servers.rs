//! Several vLLM servers on one node: each with its own facts and failures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::net::TcpListener;

use crate::reload::Configured;
use crate::support::{Answering, Exporter, ok, value};
use serde_json::Value;

/// A vLLM with one engine of model `m`, at rest.
fn vllm() -> Answering {
    vllm_with(0, 0)
}

/// The same with requests.
fn vllm_with(running: u32, waiting: u32) -> Answering {
    let labels = "{engine=\"0\",model_name=\"m\"}";
    Answering::with(ok(&format!(
        "process_start_time_seconds 1.0\nvllm:num_requests_running{labels} {running}.0\nvllm:num_requests_waiting{labels} {waiting}.0\nvllm:generation_tokens_total{labels} 1.0\n"
    )))
}

fn target(url: &str) -> String {
    format!("target=\"{url}\"")
}

fn up(page: &str, url: &str) -> Option<f64> {
    value(page, "vllm_roofline_up", &target(url))
}

/// The targets of the engines in `answer`, in order of their names.
fn targets(answer: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let engines = answer["engines"].as_array().unwrap();
    let targets = engines.iter().map(|engine| engine["target"].as_str());
    let mut targets: Vec<_> = targets.map(|target| target.unwrap().to_owned()).collect();
    targets.sort();
    targets
}

#[test]
fn engines_of_one_name_are_told_apart_by_their_server() {
    let (one, two) = (vllm(), vllm());
    let urls = ["--vllm-url", &one.url, "--vllm-url", &two.url];
    let exporter = Exporter::start(&[&["serve", "--gpu-source", "none"], &urls[..]].concat());
    let both = |page: &str| up(page, &one.url) == Some(1.0) && up(page, &two.url) == Some(1.0);
    let page = exporter.wait_for("/metrics", 20, both);
    for url in [&one.url, &two.url] {
        exporter.wait_for_log(&format!("msg=\"source is up\" source=vllm url={url}"));
    }
    let mut series: Vec<_> = page
        .lines()
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .filter(|series| !series.starts_with('#'))
        .collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all, "a series stands there twice:\n{page}");
    for series in series.iter().filter(|series| series.contains("engine=")) {
        assert!(series.contains("target="), "{series}");
    }
    let mut urls = [one.url.clone(), two.url.clone()];
    urls.sort();
    for path in ["/api/v1/snapshot", "/api/v1/verdict", "/api/v1/history"] {
        assert_eq!(targets(&exporter.get(path).1), urls, "{path}");
    }
    let home = exporter.get("/").1;
    for url in &urls {
        assert!(home.contains(&format!("m engine 0 at {url}")), "{home}");
    }
}

#[test]
fn one_that_hangs_takes_only_its_own_series_along() {
    // It accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let well = vllm();
    let urls = ["--vllm-url", &silent_url, "--vllm-url", &well.url];
    let exporter = Exporter::start(&[&["serve", "--gpu-source", "none"], &urls[..]].concat());
    let timeouts = |page: &str| {
        let of_silent = format!("reason=\"timeout\",{}", target(&silent_url));
        value(page, "vllm_roofline_source_errors_total", &of_silent)
    };
    let page = exporter.wait_for("/metrics", 20, |page| timeouts(page) >= Some(3.0));
    assert_eq!(up(&page, &silent_url), Some(0.0));
    assert_eq!(up(&page, &well.url), Some(1.0));
    let state = |state: &str| {
        let labels = format!("{},state=\"{state}\"", target(&well.url));
        value(&page, "vllm_roofline_engine_state", &labels)
    };
    assert_eq!(state("idle"), Some(1.0), "{page}");
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(exporter.get(path).0, 200, "{path}");
    }
}

#[test]
fn a_reload_takes_up_a_server_and_lets_go_of_one() {
    let (one, two) = (vllm(), vllm());
    let list = |urls: &[&str]| format!("vllm-url: [{}]\n", urls.join(", "));
    let serve = Configured::start(&["serve", "--gpu-source", "none"], &list(&[&one.url]));
    let alone =
        |page: &str| value(page, "vllm_roofline_up", "") == Some(1.0) && !page.contains("target=");
    serve.exporter.wait_for("/metrics", 10, alone);
    serve.reloaded(&list(&[&one.url, &two.url]), |page| {
        up(page, &one.url) == Some(1.0) && up(page, &two.url) == Some(1.0)
    });
    serve.reloaded(&list(&[&two.url]), alone);
    let log = serve.exporter.log();
    assert!(!log.contains("not reloaded"), "{log}");
    serve.refused(&list(&[&two.url, &two.url]));
    assert!(serve.exporter.log().contains("twice"));
}

#[test]
fn a_replica_with_a_queue_of_its_own_is_named() {
    let (well, slow) = (vllm_with(8, 1), vllm_with(8, 60));
    let urls = ["--vllm-url", &well.url, "--vllm-url", &slow.url];
    let settings = [
        "serve",
        "--gpu-source",
        "none",
        "--gpu",
        "H100",
        "--stall-after",
        "10m",
    ];
    let exporter = Exporter::start(&[&settings, &urls[..]].concat());
    let named = |answer: &str| -> Vec<String> {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let engines = answer["engines"].as_array().unwrap().iter();
        let differs = |engine: &&Value| {
            let verdict = engine["verdict"].as_array().unwrap();
            verdict.iter().any(|finding| finding["id"] == "replica")
        };
        engines
            .filter(differs)
            .map(|engine| engine["target"].as_str().unwrap().to_owned())
            .collect()
    };
    let answer = exporter.wait_for("/api/v1/verdict", 20, |answer| {
        answer.starts_with('{') && !named(answer).is_empty()
    });
    assert_eq!(named(&answer), std::slice::from_ref(&slow.url));
}
