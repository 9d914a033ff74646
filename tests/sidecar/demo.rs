//! The demo for a new user: real process, real HTTP, real browser, real promtool.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail that way"
)]

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Answering, Exporter, get, ok, value};
use crate::tools::chromium;

#[test]
fn the_page_shows_a_live_roofline_and_the_metrics_pass_promtool() {
    let demo = Exporter::start(&["demo", "--gpu-hour-price", "2.5"]);
    let metrics = demo.wait_for("/metrics", 20, |page| {
        let measured = "vllm_roofline_measured_bandwidth_utilization_ratio";
        value(page, "vllm_roofline_bound", "bound=\"memory_bandwidth\"") == Some(1.0)
            && value(page, measured, "").is_some()
            // One tick is too short to compare the model with the hardware: the two are read at different times.
            && value(page, "vllm_roofline_window_seconds", "").is_some_and(|length| length > 3.0)
    });
    assert_eq!(value(&metrics, "vllm_roofline_up", ""), Some(1.0));
    let ratio = value(
        &metrics,
        "vllm_roofline_model_bandwidth_utilization_ratio",
        "",
    )
    .unwrap();
    let measured = value(
        &metrics,
        "vllm_roofline_measured_bandwidth_utilization_ratio",
        "",
    )
    .unwrap();
    assert!(
        (ratio / measured - 1.0).abs() < 0.15,
        "modelled {ratio}, measured {measured}"
    );
    assert!(!metrics.contains("NaN") && !metrics.contains(" inf"));
    promtool(&metrics);

    let first = dom(&demo);
    assert!(first.contains("class=\"roofline\""), "{first}");
    assert!(first.contains("data-phase=\"decode\""), "{first}");
    assert_eq!(demo.get("/-/ready").0, 200);
    assert_eq!(demo.get("/nowhere").0, 404);
    assert_eq!(demo.terminate(), Some(0));
}

/// The body keeps its load time; the live parts have the time of the newest tick.
#[test]
fn the_page_follows_the_engine_without_a_reload() {
    let demo = Exporter::start(&["demo"]);
    demo.wait_for("/-/ready", 20, |page| page == "ready\n");
    let page = dom_after(&demo, 60_000);
    let time_of = |element: &str| -> f64 {
        let (_, rest) = page.split_once(element).unwrap();
        let (_, rest) = rest.split_once("data-time=\"").unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    let (loaded, live) = (time_of("<body"), time_of("<main"));
    assert!(live > loaded, "loaded at {loaded}, shows {live}");
}

#[test]
fn one_changed_counter_moves_the_numbers() {
    let demo = Exporter::start(&["demo"]);
    let vllm: std::net::SocketAddr = demo
        .vllm
        .as_deref()
        .unwrap()
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let page = || get(vllm, "/metrics").1;
    let changed = Answering::with(ok(&page()));
    let exporter = Exporter::start(&[
        "serve",
        "--vllm-url",
        &changed.url,
        "--gpu-source",
        "none",
        "--stall-after",
        "2s",
    ]);
    let generated = "vllm:generation_tokens_total";
    for tick in 1..=12 {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let more = f64::from(tick) * 100_000.0;
        let text: String = page()
            .lines()
            .map(|line| match line.rsplit_once(' ') {
                Some((key, value)) if key.starts_with(generated) => {
                    format!("{key} {:?}\n", value.parse::<f64>().unwrap() + more)
                }
                _ => format!("{line}\n"),
            })
            .collect();
        changed.answer(ok(&text));
    }
    let snapshot = exporter.get("/api/v1/snapshot").1;
    let snapshot: serde_json::Value = serde_json::from_str(&snapshot).unwrap();
    let rate = snapshot["engines"][0]["window"]["output_tokens_per_second"]
        .as_f64()
        .unwrap();
    assert!(
        rate > 100_000.0,
        "{rate} tokens/s although 200,000 were added each second"
    );
}

/// The browser's DOM after two seconds of the page's own time.
fn dom(exporter: &Exporter) -> String {
    dom_after(exporter, 2000)
}

/// The browser's DOM after so many milliseconds of its virtual clock, which advances without waiting.
fn dom_after(exporter: &Exporter, milliseconds: u32) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = chromium(profile.path())
        .arg(format!("--virtual-time-budget={milliseconds}"))
        .arg(format!("http://{}/", exporter.address))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn promtool(metrics: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
