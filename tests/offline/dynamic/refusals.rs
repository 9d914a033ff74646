//! Unusable input is named, with the remedy; then nothing is printed.

use crate::dynamic::support::{Answer, CAPTURE, Desk, FIXTURES, MODEL, fixture};

fn refusal(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    Answer::of(&words).refusal()
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let desk = Desk::new();
    let good = fixture(FIXTURES[0]);
    let page = desk.write("page.html", "<html>");
    let other = desk.write("other.json", r#"{"a": 1}"#);
    let future = desk.write("future.json", r#"{"schema": 7, "tool": "vllm-roofline-exporter", "version": "9", "configuration": {"model": null, "architecture": null, "total_params": null, "gpu": null, "gpu_name": null, "gpus": null, "deployment": {}}, "targets": {"throughput_good": 1, "throughput_bad": 1, "ttft_good_seconds": 1, "ttft_bad_seconds": 1, "tpot_good_seconds": 1, "tpot_bad_seconds": 1, "gpu_utilization_good": 1, "gpu_utilization_good_up_to": 1, "gpu_utilization_bad": 1, "gpu_utilization_full": 1}, "runs": [], "notes": []}"#);
    let missing = desk.name("missing.json");
    for (line, expected) in [
        (format!("dynamic --results {missing}"), "missing.json"),
        (format!("dynamic --results {page}"), "vllm bench serve"),
        (
            format!("dynamic --results {good} --baseline {other}"),
            "dynamic --format json",
        ),
        (
            format!("dynamic --results {good} --baseline {missing}"),
            "missing.json",
        ),
        (
            format!("dynamic --results {good} --baseline {future}"),
            "schema 7",
        ),
        (
            format!("dynamic --results {good} --static {good}"),
            "static --format json",
        ),
        (
            format!("dynamic --results {good} --model {missing} --gpu H100"),
            "missing.json",
        ),
        (format!("dynamic --results {good} --gpu H9000"), "H9000"),
        (
            format!("dynamic --results {good} --throughput-good 1"),
            "--throughput-bad",
        ),
        (format!("dynamic --capture {missing}"), "capture.json"),
        (format!("dynamic --capture {CAPTURE} --gpu H9000"), "H9000"),
        (
            format!("report --dynamic {page} --output {missing}"),
            "page.html",
        ),
        (
            format!("report --static {other} --output {missing}"),
            "other.json",
        ),
    ] {
        let message = refusal(&line);
        assert!(message.contains(expected), "{line}: {message}");
    }
}

#[test]
fn a_prediction_of_another_model_is_refused() {
    let desk = Desk::new();
    let small = std::fs::read_to_string(MODEL)
        .unwrap()
        .replace("\"num_hidden_layers\": 32", "\"num_hidden_layers\": 4");
    let config = desk.write("config.json", &small);
    let answer = Answer::of(&[
        "static", "--model", &config, "--gpu", "H100", "--format", "json",
    ]);
    answer.end.unwrap();
    let prediction = desk.write("static.json", &answer.out);
    let message = refusal(&format!(
        "dynamic --capture {CAPTURE} --static {prediction}"
    ));
    assert!(message.contains("8030261248"), "{message}");

    let analysis = desk.name("dynamic.json");
    Answer::of(&["dynamic", "--capture", CAPTURE, "--output", &analysis])
        .end
        .unwrap();
    let page = desk.name("page.html");
    let message = refusal(&format!(
        "report --static {prediction} --dynamic {analysis} --output {page}"
    ));
    assert!(message.contains("one model"), "{message}");
}

#[test]
fn a_run_of_nothing_but_failures_is_told_and_fails() {
    let desk = Desk::new();
    let text = std::fs::read_to_string(fixture(FIXTURES[0])).unwrap();
    let text = text.replace(
        "\"completed\": 6, \"failed\": 0",
        "\"completed\": 0, \"failed\": 6",
    );
    let results = desk.write("failed.json", &text);
    let answer = Answer::of(&["dynamic", "--results", &results]);
    let error = answer.end.unwrap_err().to_string();
    assert!(error.contains("no request was completed"), "{error}");
    assert!(answer.out.contains("nothing to measure"), "{}", answer.out);
}
