//! The recording of a real H100.

use serde_json::Value;

use crate::dynamic::support::{CAPTURE, Desk, dynamic, fixture, number};

fn runs() -> Vec<Value> {
    let analysis = dynamic(&format!("--capture {CAPTURE}"));
    assert_eq!(analysis["configuration"]["gpu"], "h100-sxm5-80gb");
    analysis["runs"].as_array().unwrap().clone()
}

fn bound_of<'a>(run: &'a Value, phase: &Value) -> Option<&'a str> {
    let found = run["bottlenecks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|found| found["phase"] == *phase)?;
    found["bound"].as_str()
}

#[test]
fn each_phase_has_its_bottleneck_with_evidence() {
    let expected = [
        ("decode_c8", "memory_bandwidth"),
        ("mixed_c64", "compute"),
        ("prefill_c8", "compute"),
        ("starved_c128", "kv_capacity"),
        ("decode_c64", "memory_bandwidth"),
    ];
    let runs = runs();
    assert_eq!(runs.len(), expected.len());
    for (run, (name, bound)) in runs.iter().zip(expected) {
        assert_eq!(run["name"], name);
        assert_eq!(bound_of(run, &Value::Null), Some(bound), "{name}");
        if let Some(decode) = bound_of(run, &"decode".into()) {
            assert_eq!(
                decode, "memory_bandwidth",
                "{name}: decode never has the intensity"
            );
        }
        if let Some(prefill) = bound_of(run, &"prefill".into()) {
            assert_eq!(prefill, "compute", "{name}");
        }
        let evidence = run["bottlenecks"][0]["evidence"].to_string();
        assert!(evidence.contains("measured by GPM"), "{name}: {evidence}");
    }
    let starved = runs[3]["bottlenecks"][0]["evidence"].to_string();
    assert!(starved.contains("room in the KV cache"), "{starved}");
    let advice = runs[3]["advice"].as_array().unwrap();
    assert_eq!(
        advice[0]["bound"], "kv_capacity",
        "first what is against the bottleneck found"
    );
}

#[test]
fn what_is_measured_lies_below_the_bound_and_near_what_is_expected() {
    // The starved stretch was recorded with less memory than this capture's flags say; the capture is assembled from two recordings.
    for run in runs().iter().filter(|run| run["name"] != "starved_c128") {
        for comparison in run["comparisons"].as_array().unwrap() {
            for row in comparison["rows"].as_array().unwrap() {
                let share = number(row, "/share_of_bound");
                assert!(share < 1.0, "{} beats the bound: {row}", run["name"]);
                if row["figure"] == "output_tokens_per_second" {
                    let off = number(row, "/measured_over_expected");
                    assert!((0.8..1.15).contains(&off), "{}: {off}", run["name"]);
                }
            }
        }
    }
}

#[test]
fn the_load_follows_from_vllms_counters() {
    for run in runs() {
        let (input, output) = (
            number(&run, "/load/input_tokens"),
            number(&run, "/load/output_tokens"),
        );
        let rates = &run["measured"];
        let requests = number(rates, "/output_tokens_per_second") / output;
        if run["name"] == "prefill_c8" {
            let prompts = number(rates, "/total_tokens_per_second") / (input + output);
            assert!(
                (requests / prompts - 1.0).abs() < 0.05,
                "{requests} or {prompts} requests/s"
            );
        }
        let name = run["name"].as_str().unwrap();
        let sent: f64 = name.rsplit('c').next().unwrap().parse().unwrap();
        let found = number(&run, "/load/concurrency");
        assert!(
            (found / sent - 1.0).abs() < 0.06,
            "{name}: {found} in flight"
        );
        assert!(run["measured"]["gpu_utilization_source"] == "gpu");
        assert!(
            (0.5..=1.0).contains(&number(rates, "/gpu_utilization")),
            "{}",
            run["name"]
        );
    }
}

#[test]
fn the_timeline_covers_the_phase_and_adds_up() {
    for run in runs() {
        let moments = run["timeline"].as_array().unwrap();
        assert!(moments.len() >= 5, "{}", run["name"]);
        let mut end = 0.0;
        for moment in moments {
            let start = number(moment, "/start_seconds");
            assert!(start >= end - 1e-6, "moments follow each other");
            end = start + number(moment, "/seconds");
            for share in ["gpu_utilization", "hbm_utilization", "mfu", "mbu"] {
                assert!(
                    (0.0..=1.0).contains(&number(moment, &format!("/{share}"))),
                    "{share}: {moment}"
                );
            }
        }
        let roofs: Vec<_> = run["roofs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|roof| roof["level"].as_str().unwrap())
            .collect();
        assert_eq!(roofs, ["datasheet", "attainable", "current_clock"]);
    }
}

#[test]
fn without_a_gpu_there_is_no_roof_and_with_another_model_no_nonsense() {
    let analysis = dynamic(&format!("--capture {CAPTURE} --gpu none"));
    let run = &analysis["runs"][0];
    assert_eq!(run["roofs"], serde_json::json!([]));
    assert_eq!(run["modelled"]["mfu"], Value::Null);
    assert_eq!(run["bottlenecks"], serde_json::json!([]));
    assert!(number(run, "/measured/output_tokens_per_second") > 1000.0);
    assert!(analysis["notes"].to_string().contains("gpu is none"));
}

/// A file of `vllm bench serve` whose run took `seconds` and ended at the Unix time `end`.
fn bench_serve(desk: &Desk, end: f64, seconds: f64) -> String {
    let text = std::fs::read_to_string(fixture("vllm-0.32-bench-serve.json")).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the tool writes whole seconds"
    )]
    let end = jiff::Timestamp::from_second(end as i64).unwrap();
    file["date"] = end.strftime("%Y%m%d-%H%M%S").to_string().into();
    file["duration"] = seconds.into();
    desk.write("bench.json", &file.to_string())
}

#[test]
fn a_capture_explains_the_load_test_of_its_time_and_no_other() {
    let desk = Desk::new();
    let manifest = std::fs::read_to_string(format!("{CAPTURE}/capture.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let phase = &manifest["phases"][0];
    let (start, end) = (number(phase, "/t_start"), number(phase, "/t_load_end"));
    let run_ending = |end: f64| {
        let file = bench_serve(&desk, end, 5.0_f64.min(end - start));
        let analysis = dynamic(&format!("--results {file} --capture {CAPTURE}"));
        analysis["runs"][0].clone()
    };
    let unseen = |run: &Value| {
        let caveats = run["caveats"].as_array().unwrap().iter();
        caveats
            .filter_map(Value::as_str)
            .any(|caveat| caveat.contains("saw nothing of this run"))
    };
    let joined = run_ending(end);
    assert_eq!(joined["source"]["tool"], "vllm bench serve");
    assert_eq!(joined["modelled"]["basis"], "vllm_counters");
    assert!(!joined["timeline"].as_array().unwrap().is_empty());
    assert!(!unseen(&joined), "{}", joined["caveats"]);
    let of_another_day = run_ending(end + 86_400.0);
    assert_ne!(of_another_day["modelled"]["basis"], "vllm_counters");
    assert!(unseen(&of_another_day), "{}", of_another_day["caveats"]);
}
