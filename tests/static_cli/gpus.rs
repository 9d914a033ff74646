//! The table of GPUs.

use serde_json::json;

use crate::support::*;

#[test]
fn gpus_are_listed_and_told() {
    let all = Answer::of(&["gpus", "--format", "json"]).json();
    assert_eq!(all["schema"], 1);
    assert!(all["gpus"].as_array().expect("a list").len() >= 65);
    let t4 = Answer::of(&["gpus", "T4", "--format", "json"]).json();
    assert_eq!(t4["gpus"][0]["peak_flops_per_second"]["fp16"], json!(65e12));
    assert_eq!(t4["gpus"][0]["attainable_hbm"]["origin"], "assumed");
    let list = Answer::of(&["gpus"]).out;
    assert!(
        list.contains("h100-sxm5-80gb") && list.contains("3352 GB/s"),
        "{list}"
    );
    let one = Answer::of(&["gpus", "NVIDIA H100 80GB HBM3"]).out;
    assert!(
        one.contains("bf16 compute") && one.contains("measured"),
        "{one}"
    );
    assert!(
        Answer::of(&["gpus", "H1000"])
            .refusal()
            .contains("did you mean")
    );
}
