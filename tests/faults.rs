//! What goes wrong around the exporter: each fault has its own name, and the exporter lives on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

mod support;

use support::{Answering, Exporter, ok, value};

/// The reason counted for a server that answers with `answer`.
fn check(answer: impl Into<Vec<u8>>, reason: &str) {
    let server = Answering::with(answer);
    let exporter = Exporter::start(&["serve", "--vllm-url", &server.url, "--gpu-source", "none"]);
    let counted = format!("source=\"vllm\",reason=\"{reason}\"");
    let page = exporter.wait_for("/metrics", 10, |page| {
        value(page, "vllm_roofline_source_errors_total", &counted).is_some_and(|count| count >= 1.0)
    });
    assert_eq!(value(&page, "vllm_roofline_up", ""), Some(0.0), "{reason}");
    let (status, home) = exporter.get("/");
    assert_eq!(status, 200);
    assert!(
        home.contains("class=\"bad\""),
        "{reason} is not told on the page"
    );
    assert_eq!(exporter.get("/-/healthy").0, 200);
    assert_eq!(
        exporter.get("/-/ready").0,
        200,
        "readiness must not depend on vLLM"
    );
}

#[test]
fn answers_that_are_no_page_are_named() {
    check(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "status",
    );
    check("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "status");
    check(
        ok("<!DOCTYPE html><html><body>hello</body></html>\n"),
        "not_metrics",
    );
    check(ok(""), "empty_page");
    check(ok("python_info{version=\"3.12\"} 1.0\n"), "stats_disabled");
    check(
        ok("vllm:healthy_pods_total{server=\"a\"} 1.0\n"),
        "no_engine",
    );
}

#[test]
fn damaged_pages_are_named() {
    let mut not_text = ok("0123456789");
    let end = not_text.len();
    not_text[end - 3] = 0xff;
    check(not_text, "not_utf8");
    check(ok("vllm:num_requests_running{engine=\"0 1\n"), "parse");
    let twice = "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 1.0\n".repeat(2);
    check(ok(&twice), "duplicate_series");
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ncut off",
        "damaged",
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\nConnection: close\r\n\r\n\x1f",
        "damaged",
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n",
        "too_large",
    );
    check(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:1/\r\nContent-Length: 0\r\n\r\n",
        "redirect",
    );
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let exporter = Exporter::start(&[
        "serve",
        "--vllm-url",
        "http://127.0.0.1:1",
        "--gpu-source",
        "none",
    ]);
    let page = exporter.wait_for("/metrics", 10, |page| {
        value(
            page,
            "vllm_roofline_source_errors_total",
            "reason=\"connect\"",
        )
        .is_some_and(|count| count >= 1.0)
    });
    assert_eq!(value(&page, "vllm_roofline_up", ""), Some(0.0));
}

fn page(generated: f64, running: f64) -> Vec<u8> {
    let labels = "{engine=\"0\",model_name=\"m\"}";
    ok(&format!(
        "process_start_time_seconds 1.0\nvllm:num_requests_running{labels} {running:?}\nvllm:num_requests_waiting{labels} 0.0\nvllm:generation_tokens_total{labels} {generated:?}\n"
    ))
}

#[test]
fn a_restart_throws_its_window_away_and_nothing_is_negative() {
    let server = Answering::with(page(1000.0, 1.0));
    let exporter = Exporter::start(&["serve", "--vllm-url", &server.url, "--gpu-source", "none"]);
    exporter.wait_for("/metrics", 10, |page| {
        value(page, "vllm_roofline_up", "") == Some(1.0)
    });
    server.answer(page(2000.0, 1.0));
    exporter.wait_for("/metrics", 10, |page| {
        value(page, "vllm_roofline_tokens_per_second", "phase=\"decode\"")
            .is_some_and(|rate| rate > 0.0)
    });
    server.answer(page(5.0, 1.0));
    let after = exporter.wait_for("/metrics", 10, |page| {
        value(page, "vllm_roofline_window_discards_total", "counter_reset") == Some(1.0)
    });
    assert_eq!(
        value(
            &after,
            "vllm_roofline_tokens_per_second",
            "phase=\"decode\""
        ),
        None
    );
    let negative = after
        .lines()
        .find(|line| !line.starts_with('#') && line.contains(" -"));
    assert_eq!(negative, None);
}

#[test]
fn a_hung_server_is_stalled_and_a_gone_one_unreachable() {
    let server = Answering::with(page(1000.0, 1.0));
    let exporter = Exporter::start(&[
        "serve",
        "--vllm-url",
        &server.url,
        "--gpu-source",
        "none",
        "--stall-after",
        "1s",
    ]);
    let state = |state: &'static str| {
        move |page: &str| {
            value(
                page,
                "vllm_roofline_engine_state",
                &format!("state=\"{state}\""),
            ) == Some(1.0)
        }
    };
    exporter.wait_for("/metrics", 15, state("stalled"));
    server.answer("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let gone = exporter.wait_for("/metrics", 15, state("unreachable"));
    assert_eq!(value(&gone, "vllm_roofline_tokens_per_second", ""), None);
    assert_eq!(
        value(&gone, "vllm_roofline_bound", "bound=\"unknown\""),
        Some(1.0)
    );
}
