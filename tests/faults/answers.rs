//! Invalid and damaged answers: each has its own reason.

use crate::support::{Answering, Exporter, ok, value};

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
        "{reason} is not shown on the page"
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
