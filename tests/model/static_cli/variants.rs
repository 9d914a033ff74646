//! Steps beyond the cases: other GPUs, degrees of parallelism and number formats.
//!
//! The expected values come from an independent program that evaluates the formulas layer by layer, and shares no code with this one.

use serde_json::Value;

use crate::static_cli::support::*;

#[test]
fn variants_agree_with_a_calculation_of_their_own() {
    let text = include_str!("../../fixtures/static-variants.json");
    let variants: Vec<Value> = serde_json::from_str(text).expect("valid JSON");
    assert_eq!(variants.len(), 20);
    for variant in variants {
        let files = Files::with(&variant["config"]);
        let requests = files.write("requests.json", &variant["requests"].to_string());
        let text = |name: &str| variant[name].as_str().expect("text").to_owned();
        let tensor = text("flags").replace("-tp", "--tensor-parallel-size");
        let line = format!("--gpu {} {tensor} --requests {requests}", text("gpu"));
        let answer = files.predict_json(&line);
        for (ours, theirs) in [
            ("/step/flops_per_gpu", "/flops"),
            ("/step/bytes_per_gpu", "/bytes"),
            ("/step/bound_seconds", "/bound_seconds"),
        ] {
            let (ours, theirs) = (number(&answer, ours), number(&variant, theirs));
            assert!(
                (ours / theirs - 1.0).abs() < 1e-3,
                "{}: {ours} for {theirs}",
                variant["name"]
            );
        }
        assert_eq!(
            answer["step"]["bound"], variant["bound"],
            "{}",
            variant["name"]
        );
    }
}
