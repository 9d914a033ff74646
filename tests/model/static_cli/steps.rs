//! Single steps: the numeric cases through their command lines, and the output of a step.

use serde_json::{Value, json};

use crate::static_cli::support::*;

/// JSON path of a figure, its name in the cases, the case's unit, and the tolerance.
const FIGURES: [(&str, &str, f64, f64); 11] = [
    ("/model/total_params", "total_params", 1.0, 0.0),
    (
        "/model/active_params",
        "active_params_incl_embeddings",
        1.0,
        0.0,
    ),
    (
        "/model/active_params_excluding_input_embedding",
        "active_params_excl_input_embedding",
        1.0,
        0.0,
    ),
    (
        "/memory/kv_bytes_per_token_per_gpu",
        "kv_bytes_per_token_per_gpu",
        1.0,
        1e-12,
    ),
    (
        "/memory/weights_resident_bytes_per_gpu",
        "weights_resident_bytes_per_gpu",
        1.0,
        0.01,
    ),
    ("/step/flops_per_gpu", "flops_per_gpu_total", 1.0, 0.02),
    ("/step/bytes_per_gpu", "bytes_per_gpu_total", 1.0, 0.03),
    (
        "/step/arithmetic_intensity",
        "arithmetic_intensity",
        1.0,
        0.05,
    ),
    ("/step/compute_seconds", "t_compute_ms", 1e-3, 0.03),
    ("/step/memory_seconds", "t_memory_ms", 1e-3, 0.03),
    ("/step/bound_seconds", "t_lower_bound_ms", 1e-3, 0.03),
];

#[test]
fn every_case_is_answered_within_its_tolerance() {
    for case in cases() {
        let files = Files::with(&case["config"]);
        let (config, requests) = (
            files.config(),
            files.write("requests.json", &case["requests"].to_string()),
        );
        let arguments: Vec<&str> = case["cli"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .map(|word| match word {
                "CONFIG_JSON" => config.as_str(),
                "REQUESTS_JSON" => requests.as_str(),
                word => word,
            })
            .collect();
        let answer = Answer::of(&arguments).json();
        for (path, field, unit, tolerance) in FIGURES {
            let (found, expected) = (
                number(&answer, path),
                number(&case["expected"], &format!("/{field}")) * unit,
            );
            assert!(
                (found - expected).abs() <= tolerance * expected.abs(),
                "{} {path}: {found} for {expected}",
                case["id"]
            );
        }
        let bound = match case["expected"]["bound"].as_str() {
            Some("memory") => "memory_bandwidth",
            other => other.expect("named"),
        };
        assert_eq!(answer["step"]["bound"], bound, "{}", case["id"]);
        assert!(
            number(&answer, "/step/expected_seconds") >= number(&answer, "/step/bound_seconds")
        );
        assert_eq!(answer["schema"], 1);
    }
}

#[test]
fn a_file_of_requests_is_the_step_that_its_flags_describe() {
    let files = Files::with(&llama_3_8b());
    let groups =
        json!([{"count": 8, "new_tokens": 1, "cached_tokens_before": 1000, "is_prefill": false}]);
    let path = files.write("requests.json", &groups.to_string());
    let from_file = files.predict_json(&format!("--gpu H100 --requests {path}"));
    let from_flags = files.predict_json("--gpu H100 --phase decode --batch 8 --context 1000");
    assert_eq!(from_file, from_flags);
    let mixed = json!([{"count": 8, "new_tokens": 1, "cached_tokens_before": 1000, "is_prefill": false},
                       {"count": 1, "new_tokens": 512, "cached_tokens_before": 0, "is_prefill": true}]);
    files.write("requests.json", &mixed.to_string());
    let mixed = files.predict_json(&format!("--gpu H100 --requests {path}"));
    assert_eq!(mixed["step"]["phase"], "mixed");
    assert!(number(&mixed, "/step/flops_per_gpu") > number(&from_flags, "/step/flops_per_gpu"));
}

#[test]
fn without_a_gpu_there_is_work_but_no_time() {
    let answer = Files::with(&llama_3_8b()).predict_json("--gpu none --phase decode --batch 4");
    assert_eq!(answer["gpu"], Value::Null);
    assert_eq!(answer["limits"], Value::Null);
    for field in [
        "bound",
        "bound_seconds",
        "expected_seconds",
        "bottleneck",
        "time_seconds",
    ] {
        assert_eq!(answer["step"][field], Value::Null, "{field}");
    }
    assert_eq!(answer["memory"]["fits"], Value::Null);
    assert!(number(&answer, "/step/flops_per_gpu") > 0.0);
    assert_eq!(answer["advice"], json!([]));
}

#[test]
fn coefficients_of_a_file_replace_the_defaults() {
    let files = Files::with(&llama_3_8b());
    let path = files.write(
        "fitted.json",
        r#"{"hbm_fraction": {"value": 0.5, "origin": "measured"}, "seconds_per_layer": 3e-5}"#,
    );
    let slow = files.predict_json(&format!("--gpu H100 --phase decode --coefficients {path}"));
    let usual = files.predict_json("--gpu H100 --phase decode");
    assert!(
        number(&slow, "/step/expected_seconds") > 1.4 * number(&usual, "/step/expected_seconds")
    );
    assert_eq!(
        slow["step"]["bound_seconds"],
        usual["step"]["bound_seconds"]
    );
    assert_eq!(slow["origins"]["attainable_hbm"], "measured");
    let coefficients = |name: &str| slow["origins"]["coefficients"][name]["origin"].clone();
    assert_eq!(coefficients("seconds_per_layer"), "stated");
    assert_eq!(coefficients("seconds_per_step"), "fitted");
    assert_eq!(coefficients("engine_seconds_per_step"), "measured");
    assert_eq!(slow["origins"]["overheads"], "stated");
    let t4 = Files::with(&llama_2_7b()).predict_json("--gpu T4 --phase decode");
    assert_eq!(t4["origins"]["attainable_hbm"], "assumed");
    assert_eq!(t4["origins"]["overheads"], "assumed");
}

#[test]
fn a_decode_step_verifies_what_speculation_proposes() {
    let files = Files::with(&llama_3_8b());
    let step = "--gpu H100 --phase decode --batch 8 --context 500";
    let proposing = files.predict_json(&format!(
        r#"{step} --speculative-config {{"num_speculative_tokens":4}}"#
    ));
    let stated = files.predict_json(&format!("{step} --new-tokens 5"));
    let flops = |answer: &Value| number(answer, "/step/flops_by_role/lm_head");
    assert!((flops(&proposing) / flops(&stated) - 1.0).abs() < 1e-12);
}

#[test]
fn limits_are_those_of_the_literature() {
    let dense = Files::with(&llama_3_8b()).predict_json("--gpu H100 --phase decode --context 1024");
    assert_eq!(dense["limits"]["ridge_batch"], 295);
    assert_eq!(dense["limits"]["knee_batch"], 112);
    assert_eq!(dense["limits"]["compute_saturation_batch"], Value::Null);
    let int4 = Files::with(&awq(llama_2_7b())).predict_json("--gpu T4 --dtype half --phase decode");
    let ridge = number(&int4, "/limits/ridge_batch");
    assert!((54.0..58.0).contains(&ridge), "{ridge}");
    let short = Files::with(&llama_3_8b()).predict_json("--gpu H100 --phase decode --context 1");
    assert!(number(&short, "/limits/compute_saturation_batch") >= 295.0);
}

#[test]
fn a_bare_infinity_is_read() {
    let files = Files::with(&llama_3_8b());
    let text = llama_3_8b()
        .to_string()
        .replacen('{', "{\"time_step_limit\": [0.0, Infinity], ", 1);
    files.write("config.json", &text);
    assert_eq!(
        files.predict_json("--gpu H100 --phase decode")["model"]["total_params"],
        8_030_261_248_u64
    );
}
