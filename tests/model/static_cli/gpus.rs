//! The table of GPUs.

use serde_json::json;

use crate::static_cli::support::*;

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

#[test]
fn gpus_targets_and_a_deployment_of_a_file_count() {
    let files = Files::with(&llama_3_8b());
    let settings = files.write(
        "settings.yaml",
        "gpus:\n  - { id: t4, memory_bandwidth_gbs: 160 }\n  - { id: mine, peak_tflops: { bf16: 100 }, memory_bandwidth_gbs: 1000, memory_mib: 40960 }\n\
         gpu: mine\nslo-tpot: 1ms\ndeployment: { max-num-seqs: 7, tensor-parallel-size: 2 }\n",
    );
    let answer = files.predict_json(&format!(
        "--config.file {settings} --tensor-parallel-size 1 --batch 64"
    ));
    assert_eq!(answer["gpu"]["id"], "mine");
    assert_eq!(answer["gpu"]["provenance"], "user");
    assert_eq!(answer["limits"]["slo_batch"], 0);
    assert_eq!(answer["latency"]["running_requests"], 7.0);
    let listed = Answer::of(&["gpus", "T4", "--config.file", &settings, "--format", "json"]).json();
    assert_eq!(listed["gpus"][0]["hbm_bytes_per_second"], 160e9);
    let broken = files.write("broken.yaml", "gpus: [{ id: x }]\n");
    let refusal = Answer::of(&["gpus", "--config.file", &broken]).refusal();
    assert!(
        refusal.contains("entry x: peak_tflops is missing"),
        "{refusal}"
    );
}
